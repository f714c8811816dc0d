"""What holds of every plan, checked after each optimizer rule."""

from __future__ import annotations

from dataflow.plan.nodes import CombineValues, Flatten, Fused, Node, ParallelDo, Pipe, Port, TaggedOutput, Write
from dataflow.plan.traversal import topological

__all__ = ["BrokenPlan", "verify"]


class BrokenPlan(AssertionError):
    """A rule of ours made a plan that means nothing. Never the user's fault."""


def verify(outputs: tuple[Node, ...]) -> None:
    """Raise `BrokenPlan` unless the plan is whole."""
    labels: dict[str, Node] = {}
    for node in topological(outputs):
        if labels.setdefault(node.label, node) is not node:
            raise BrokenPlan(f"two nodes are labelled {node.label!r}")
        for child in node.inputs:
            if isinstance(child, Write):
                raise BrokenPlan(f"{node.label} reads {child.label}, a sink")
            if isinstance(child, Fused) and not isinstance(node, Port):
                raise BrokenPlan(f"{node.label} reads the fused {child.label} other than through a port")
        if isinstance(node, Flatten) and not node.parts:
            raise BrokenPlan(f"{node.label} flattens nothing")
        if isinstance(node, TaggedOutput):
            source = node.input
            if not isinstance(source, ParallelDo) or node.tag not in source.step.tags:
                raise BrokenPlan(f"{node.label} reads tag {node.tag!r} of {source.label}, which has none")
        if isinstance(node, CombineValues) and node.aggregator is None:
            raise BrokenPlan(f"{node.label} has no aggregator")
        if isinstance(node, Port) and (not isinstance(node.input, Fused) or node.index not in _ports(node.input.pipe)):
            raise BrokenPlan(f"{node.label} reads port {node.index} of {node.input.label}, which has none")


def _ports(pipe: Pipe) -> set[int]:
    own = {pipe.port} if pipe.port is not None else set[int]()
    return own.union(*(_ports(branch) for branch in pipe.branches))
