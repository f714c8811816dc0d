"""Small things done to expressions: cut at AND, put together again, replaced from the top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from dataflow.expr.nodes import Call, Case, ExprNode, Literal, SortKey
from dataflow.expr.types import BOOL

__all__ = ["both", "chained", "conjuncts", "disjuncts", "flattened", "if_any", "rewritten"]


def flattened(expr: ExprNode, operation: str) -> list[ExprNode]:
    """The operands of a chain of one operation, left to right; the expression itself if it is none."""
    found: list[ExprNode] = []
    stack = [expr]
    while stack:
        one = stack.pop()
        if isinstance(one, Call) and one.operation == operation:
            stack.extend(reversed(one.args))
        else:
            found.append(one)
    return found


def conjuncts(expr: ExprNode) -> list[ExprNode]:
    """What must all be true for the expression to be. What all branches of an OR have in common is taken out of it.

    (a AND b) OR (a AND c)  ->  a, (b OR c)
    """
    found: list[ExprNode] = []
    for one in flattened(expr, "and"):
        if not (isinstance(one, Call) and one.operation == "or"):
            found.append(one)
            continue
        branches = [flattened(branch, "and") for branch in disjuncts(one)]
        common = set(branches[0]).intersection(*branches[1:])
        shared = [part for part in dict.fromkeys(branches[0]) if part in common]
        found.extend(shared)
        rests = [[part for part in branch if part not in common] for branch in branches]
        if all(rests):
            found.append(chained("or", [both(rest) for rest in rests]) if shared else one)
    return list(dict.fromkeys(found))


def disjuncts(expr: ExprNode) -> list[ExprNode]:
    return flattened(expr, "or")


def chained(operation: str, parts: Sequence[ExprNode]) -> ExprNode:
    """``a op b op c …`` as a balanced tree, so that a chain of thousands is a dozen deep."""
    level = list(parts)
    while len(level) > 1:
        pairs = [Call(operation, (level[i], level[i + 1])) for i in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else list(pairs)
    return level[0]


def both(parts: Sequence[ExprNode]) -> ExprNode:
    """All of them; true if there are none."""
    return chained("and", parts) if parts else Literal(True, BOOL)


def if_any(count: ExprNode, found: ExprNode) -> ExprNode:
    """What was found of some values; null if there were none."""
    return Case(((Call("greater", (count, Literal(0))), found),), Literal(None))


def rewritten(expr: ExprNode, change: Callable[[ExprNode], ExprNode | None]) -> ExprNode:
    """The tree with every topmost node for which ``change`` gives another replaced by it; None looks further down."""
    new = change(expr)
    return new if new is not None else _below(expr, change)


def _below(value: Any, change: Callable[[ExprNode], ExprNode | None]) -> Any:
    updates = {}
    for field in fields(value):
        old = getattr(value, field.name)
        new = _value(old, change)
        if new is not old:
            updates[field.name] = new
    return replace(value, **updates) if updates else value


def _value(value: Any, change: Callable[[ExprNode], ExprNode | None]) -> Any:
    if isinstance(value, ExprNode):
        return rewritten(value, change)
    if isinstance(value, SortKey):
        return _below(value, change)
    if isinstance(value, tuple) and any(isinstance(item, (ExprNode, SortKey, tuple)) for item in value):
        new = tuple(_value(item, change) for item in value)
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new
    return value
