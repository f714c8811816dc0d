"""Lift combine values: an aggregation right after a grouping is begun before the shuffle.

    group_by_key ─> combine_values(A)   ──>   group_by_key [combine: A] ─> merge(A)

Not lifted where the grouped values have other readers, which need them all, or a given order of values.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import CombineValues, GroupByKey, Node, ParallelDo
from dataflow.plan.steps import Step
from dataflow.plan.traversal import consumers, rewrite


def lift_combine_values(plan: Plan, remarks: Remarks) -> Plan:
    """Turn every CombineValues into a step, and where it can be lifted, its grouping into a combining one."""
    readers = {node.label: len(found) for node, found in _by_node(plan)}

    def lift(node: Node) -> Node:
        if not isinstance(node, CombineValues):
            return node
        group, merges = node.input, False
        if isinstance(group, GroupByKey):
            if readers.get(group.label, 1) > 1:
                remarks.say(f"not lifted: {node.label}, because others read the values of {group.label} too")
            elif group.sort_values:
                remarks.say(f"not lifted: {node.label}, because {group.label} orders its values")
            else:
                remarks.say(f"lifted: {node.label} starts before the shuffle of {group.label}")
                group, merges = replace(group, combiner=node.aggregator, combined_by=node.label), True
        step = Step("merge" if merges else "combine", node.label, node.origin, arg=node.aggregator)
        return ParallelDo(label=node.label, origin=node.origin, element=node.element, input=group, step=step)

    return rewrite(plan, lift)


def _by_node(plan: Plan) -> list[tuple[Node, list[Node]]]:
    from dataflow.plan.traversal import topological

    found = consumers(plan)
    return [(node, found[id(node)]) for node in topological(plan)]
