"""Conditions: which of them must all hold, and one of them all, whether one may be checked elsewhere (it may fail, or tell equal values
apart), and what it is under other names and in the place of columns that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.expr.nodes import Call, Cast, Column, ExprNode, Literal, children, has_apply, has_window, transform, walk
from dataflow.expr.types import STRING, DType, Schema, promoted
from dataflow.expr.typing import ExprError, is_loose, type_of

__all__ = ["conjunction", "conjuncts", "is_movable", "may_fail", "meant", "renamed", "tells_equals_apart"]

_LONG = ("str.repeat", "str.pad_start", "str.pad_end")  # a text may become too long
_AS_VALUES = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "equal_missing", "not_equal_missing", "is_in",
              "is_between", "is_null", "is_not_null", "is_nan")  # fmt: skip


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


def may_fail(condition: ExprNode, schema: Schema) -> bool:
    """Whether a condition is an error for some values, so that it must not be asked of records that another step leaves out.

    >>> may_fail(Cast(Column("s"), DType("int64")), {"s": STRING}), may_fail(Cast(Column("s"), DType("int64"), strict=False), {"s": STRING})
    (True, False)
    """
    for one in walk(condition):
        match one:
            case Cast(inner, to, True):
                try:
                    have = type_of(inner, schema)
                except ExprError:  # a column of one side that is not in the join's result
                    return True
                if to != STRING and promoted(have, to) != to:
                    return True
            case Call(operation, _, options):
                if operation in _LONG or ("strict", True) in options:
                    return True
            case _:
                continue
    return False


def tells_equals_apart(condition: ExprNode) -> bool:
    """Whether a condition may differ for values that are equal: 0.0 and -0.0 are where they are only compared.

    >>> above = Call("greater", (Column("x"), Literal(0)))
    >>> tells_equals_apart(above), tells_equals_apart(Call("greater", (Call("divide", (Literal(1.0), Column("x"))), Literal(0))))
    (False, True)
    """
    if isinstance(condition, Column):
        return True
    if isinstance(condition, Call) and condition.operation in _AS_VALUES:
        return any(tells_equals_apart(one) for one in condition.args if not isinstance(one, Column))
    return any(map(tells_equals_apart, children(condition)))


def meant(exprs: Mapping[str, ExprNode], schema: Mapping[str, DType] | None) -> dict[str, ExprNode]:
    """What columns are, to be written in their place: a number without a type would take that of what it meets there.

    >>> meant({"x": Literal(1), "y": Column("a")}, {"x": DType("int64"), "y": STRING}) == {
    ...     "x": Literal(1, DType("int64")), "y": Column("a")}
    True
    """
    kinds = schema or {}
    return {
        name: Literal(one.value, kinds[name]) if is_loose(one) and isinstance(one, Literal) and name in kinds else one
        for name, one in exprs.items()
    }


def renamed(expr: ExprNode, names: Mapping[str, str]) -> ExprNode:
    """An expression of columns that are called otherwise.

    >>> renamed(Call("is_null", (Column("a"),)), {"a": "b"}) == Call("is_null", (Column("b"),))
    True
    """
    return transform(expr, lambda one: Column(names[one.name]) if isinstance(one, Column) else one)
