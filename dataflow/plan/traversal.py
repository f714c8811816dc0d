"""The one traversal of a plan, and rewriting on top of it. Iterative: a plan may be deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dataflow.plan.nodes import Node

__all__ = ["consumers", "rewrite", "topological"]


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Every node reachable from the outputs, each after its inputs, in an order that depends on the plan alone."""
    order: list[Node] = []
    done: set[int] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.inputs) if id(child) not in done)
    return order


def consumers(outputs: Iterable[Node]) -> dict[int, list[Node]]:
    """For each node's id, the nodes that read it, in plan order. Never stored in nodes: it would go stale."""
    found: dict[int, list[Node]] = {}
    for node in topological(outputs):
        found.setdefault(id(node), [])
        for child in dict.fromkeys(node.inputs):
            found.setdefault(id(child), []).append(node)
    return found


def rewrite(outputs: tuple[Node, ...], change: Callable[[Node], Node]) -> tuple[Node, ...]:
    """The plan with ``change`` applied to every node once, inputs first; a node's new inputs are already in place."""
    new: dict[int, Node] = {}
    for node in topological(outputs):
        new[id(node)] = change(node.with_inputs(tuple(new[id(child)] for child in node.inputs)))
    return tuple(new[id(node)] for node in outputs)
