"""Share common sub-plans: two nodes that do the same to the same inputs become one.

    read a ─> map f ─> x        read a ─> map f ─┬─> x
    read a ─> map f ─> y   ──>                   └─> y

Functions are the same when they are the same object; sources, when their identity (kind, paths, options) is.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import CombineValues, Flatten, GroupByKey, Node, ParallelDo, Read, Redistribute, Relation, Sort, TaggedOutput, View
from dataflow.plan.traversal import rewrite


def share_subplans(plan: Plan, remarks: Remarks) -> Plan:
    """Apply the rule once to every node, inputs first, so that sharing spreads downstream."""
    known: dict[Any, Node] = {}

    def share(node: Node) -> Node:
        key = _identity(node)
        if key is None:
            return node
        first = known.setdefault(key, node)
        if first is not node:
            remarks.say(f"shared: {node.label} is the same as {first.label}")
        return first

    return rewrite(plan, share)


def _identity(node: Node) -> Any:
    """What makes a node the same as another; None where it never is (functions with state, sinks)."""
    inputs = tuple(id(child) for child in node.inputs)
    match node:
        case Read(source=source):
            return ("read", source.identity())
        case ParallelDo(step=step) if step.kind != "do":
            arg = step.arg if isinstance(step.arg, (str, int, type(None))) else id(step.arg)
            return ("do", inputs, step.kind, id(step.fn), arg, step.batch_size, step.on_error, step.resources, node.alone)
        case TaggedOutput(tag=tag):
            return ("tag", inputs, tag)
        case GroupByKey():
            return ("group", inputs, node.sort_values, id(node.sort_key), id(node.partitioner), node.partitions, id(node.combiner))
        case CombineValues(aggregator=aggregator):
            return ("combine", inputs, id(aggregator))
        case Flatten():
            return ("flatten", inputs)
        case Sort():
            return ("sort", inputs, id(node.key), node.descending)
        case Redistribute():
            return ("redistribute", inputs, node.partitions)
        case View():
            return ("view", inputs, node.kind, id(node.default), node.limit)
        case Relation():
            own = (f.name for f in fields(node) if f.name not in ("label", "origin", "element", "schema"))
            values = ((name, getattr(node, name)) for name in own)
            return ("relation", type(node).__name__, inputs, *(pair for pair in values if not _holds_nodes(pair[1])))
        case _:
            return None


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, Node) or (isinstance(value, tuple) and any(isinstance(item, Node) for item in value))
