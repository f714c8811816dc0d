"""The one traversal of a plan, and rewriting on top of it. Iterative: a plan may be deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dataflow.plan.nodes import Node

__all__ = ["consumers", "read_twice", "rewrite", "topological"]


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Every node reachable from the outputs, each after its inputs, in an order that depends on the plan alone."""
    order: list[Node] = []
    done: set[int] = set()
    stack = list(outputs)[::-1]
    while stack:
        node = stack[-1]
        waiting = [] if id(node) in done else [child for child in node.inputs if id(child) not in done]
        if waiting:
            stack.extend(waiting[::-1])
            continue
        if id(node) not in done:
            done.add(id(node))
            order.append(node)
        stack.pop()
    return order


def consumers(outputs: Iterable[Node]) -> dict[int, list[Node]]:
    """For each node's id, the nodes that read it, in plan order. Never stored in nodes: it would go stale."""
    found: dict[int, list[Node]] = {}
    for node in topological(outputs):
        found.setdefault(id(node), [])
        for child in dict.fromkeys(node.inputs):
            found.setdefault(id(child), []).append(node)
    return found


def read_twice(outputs: Iterable[Node]) -> set[int]:
    """The ids of nodes that are read more than once: by several others, or, as in a join with itself, twice by one. A rule that
    changes such a node for one place makes two of it."""
    seen: set[int] = set()
    twice: set[int] = set()
    for node in topological(outputs):
        for child in map(id, node.inputs):
            (twice if child in seen else seen).add(child)
    return twice


def rewrite(outputs: tuple[Node, ...], change: Callable[[Node], Node]) -> tuple[Node, ...]:
    """The plan with ``change`` applied to every node once, inputs first; a node's new inputs are already in place."""
    new: dict[int, Node] = {}
    for node in topological(outputs):
        new[id(node)] = change(node.with_inputs(tuple(new[id(child)] for child in node.inputs)))
    return tuple(new[id(node)] for node in outputs)
