"""Sink flattens: h(f(a) + g(b)) becomes h(f(a)) + h(g(b)), so that producers and consumers meet and can fuse.

    a ─┐                       a ─> do h ─┐
       ├─ flatten ─> do h ──>             ├─ flatten
    b ─┘                       b ─> do h ─┘

Flattens of flattens become one, and a flatten of one collection vanishes.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Flatten, Node, ParallelDo, TaggedOutput
from dataflow.plan.traversal import rewrite


def sink_flattens(plan: Plan, remarks: Remarks) -> Plan:
    """Apply the rule everywhere, inputs first; a chain of ParallelDos lets a flatten sink all the way."""

    def copy(node: Node, part: Node, index: int) -> Node:
        return replace(node.with_inputs((part, *node.inputs[1:])), label=f"{node.label}@{index}")

    def sink(node: Node) -> Node:
        match node:
            case Flatten():
                parts: list[Node] = []
                for part in node.parts:
                    parts.extend(part.parts if isinstance(part, Flatten) else (part,))
                return parts[0] if len(parts) == 1 else node.with_inputs(tuple(parts))
            case ParallelDo() | TaggedOutput() if isinstance(node.input, Flatten) and not _limited(node):
                flat = node.input
                remarks.say(f"sunk: {flat.label} below {node.label}")
                parts = [copy(node, part, index) for index, part in enumerate(flat.parts)]
                return Flatten(label=f"{node.label}+", origin=node.origin, element=node.element, parts=tuple(parts))
            case _:
                return node

    return rewrite(plan, sink)


def _limited(node: ParallelDo | TaggedOutput) -> bool:
    return isinstance(node, ParallelDo) and bool(node.alone)
