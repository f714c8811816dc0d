"""The one traversal of a plan, and rewriting on top of it. Iterative: a plan may be deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from dataflow.plan.nodes import Node

__all__ = ["consumers", "orders_remembered", "read_twice", "rewrite", "topological"]


_Orders = dict[tuple[int, ...], tuple[Node, ...]]  # by the identities of the outputs, which stand in their order
_orders: ContextVar[_Orders | None] = ContextVar("orders", default=None)


@contextmanager
def orders_remembered() -> Generator[None]:
    """Within this context a plan is put in order once: the rules of the optimizer ask fifty times for the order of ten plans, which
    was a fifth of their time."""
    token = _orders.set({})
    try:
        yield
    finally:
        _orders.reset(token)


def topological(outputs: Iterable[Node]) -> Sequence[Node]:
    """Every node reachable from the outputs, each after its inputs, in an order that depends on the plan alone."""
    outputs = tuple(outputs)
    known = _orders.get()
    if known is None:
        return _ordered(outputs)
    at = tuple(map(id, outputs))
    if at not in known:
        known[at] = tuple(_ordered(outputs))
    return known[at]


def _ordered(outputs: tuple[Node, ...]) -> list[Node]:
    order: list[Node] = []
    done: set[int] = set()
    stack = list(outputs[::-1])
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
