"""Separate resources: a step that asks for resources runs in passes of its own, so that only it holds them.

read ─> map decode ─> map embed (1 gpu) ─> map store     ──>   read ─> map decode │ map embed (1 gpu) │ map store
                                                                          (kept)              (kept)
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Node, ParallelDo, TaggedOutput
from dataflow.plan.steps import Resources
from dataflow.plan.traversal import rewrite


def separate_resources(plan: Plan, remarks: Remarks) -> Plan:
    """Mark each ParallelDo whose resources are not those of what feeds it."""

    def separate(node: Node) -> Node:
        if not isinstance(node, ParallelDo) or node.alone:
            return node
        own, given = node.step.resources, _resources(node.input)
        if own == given:
            return node
        wanted = str(own) if own is not None else "no resources of its own"
        remarks.say(f"separate: {node.label} asks for {wanted}, and what feeds it for {given or 'none'}")
        return replace(node, alone=f"asks for {wanted}")

    return rewrite(plan, separate)


def _resources(node: Node) -> Resources | None:
    """The resources of the pass that gives a collection."""
    while isinstance(node, TaggedOutput):
        node = node.input
    return node.step.resources if isinstance(node, ParallelDo) else None
