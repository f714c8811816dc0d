"""Conditions: which of them must all hold, and one of them all, whether one may be checked elsewhere, and what it is under other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.expr.nodes import Call, Column, ExprNode, has_apply, has_window, transform

__all__ = ["conjunction", "conjuncts", "is_movable", "renamed"]


def conjuncts(predicate: ExprNode) -> list[ExprNode]:
    """The conditions that must all hold.

    >>> a, b, c = Column("a"), Column("b"), Column("c")
    >>> conjuncts(Call("and", (Call("and", (a, b)), c))) == [a, b, c]
    True
    """
    found: list[ExprNode] = []
    stack = [predicate]
    while stack:
        one = stack.pop()
        if isinstance(one, Call) and one.operation == "and":
            stack.extend(reversed(one.args))
        else:
            found.append(one)
    return found


def conjunction(conditions: Sequence[ExprNode]) -> ExprNode:
    """The one condition that several, or one, must all hold.

    >>> conjunction(conjuncts(Call("and", (Column("a"), Column("b"))))) == Call("and", (Column("a"), Column("b")))
    True
    """
    return conditions[0] if len(conditions) == 1 else Call("and", tuple(conditions))


def is_movable(condition: ExprNode) -> bool:
    """Whether a condition may be checked elsewhere: not a Python function, whose errors and effects have their place, nor a window,
    which is over all the rows there.

    >>> is_movable(Call("is_null", (Column("a"),)))
    True
    """
    return not has_apply(condition) and not has_window(condition)


def renamed(expr: ExprNode, names: Mapping[str, str]) -> ExprNode:
    """An expression of columns that are called otherwise.

    >>> renamed(Call("is_null", (Column("a"),)), {"a": "b"}) == Call("is_null", (Column("b"),))
    True
    """
    return transform(expr, lambda one: Column(names[one.name]) if isinstance(one, Column) else one)
