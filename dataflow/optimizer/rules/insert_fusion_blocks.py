"""Insert fusion blocks: mark the steps that must start a pass of their own.

In FlumeJava the block decides on which side of a materialization a step between two groupings runs. Here a
step after a grouping always runs in the grouping's reduce tasks and writes straight into the next shuffle, so
one reason is left: a step whose side input is computed from the very pass that would feed it cannot run in
that pass, because the side input is whole only when the pass has ended.

    read ─> map f ─┬──────────────────> map h(·, total)     h gets a pass of its own over f's output
                   └─> combine ─> total ──┘
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Flatten, Node, ParallelDo, TaggedOutput
from dataflow.plan.traversal import rewrite, topological


def insert_fusion_blocks(plan: Plan, remarks: Remarks) -> Plan:
    """Mark each ParallelDo that has to wait for a side input made by its own producer's pass."""

    def block(node: Node) -> Node:
        if not isinstance(node, ParallelDo) or not node.sides or node.alone:
            return node
        pass_roots = _roots(node.input)
        for side in node.sides:
            if any(id(before) in pass_roots for before in topological((side,))):
                remarks.say(f"blocked: {node.label} waits for {side.label}, which comes from the same pass")
                return replace(node, alone=f"waits for {side.label}")
        return node

    return rewrite(plan, block)


def _roots(node: Node) -> set[int]:
    """The nodes whose pass produces this collection: up through steps, to the first node that is not one."""
    found: set[int] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if (isinstance(one, ParallelDo) and not one.alone) or isinstance(one, TaggedOutput):
            todo.append(one.input)
        elif isinstance(one, Flatten):
            todo.extend(one.parts)
        else:
            found.add(id(one))
    return found
