"""What every expression is built on: its node, and Python values made into nodes and sort keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dataflow.expr.nodes import Aggregate, Call, Column, ExprNode, Literal, SortKey

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Built", "Sorted", "as_node", "as_nodes", "sort_keys"]


class Built:
    """A node that methods make further nodes of."""

    __slots__ = ("node",)
    _made: ClassVar[type[Expr]]  # what methods give: set where `Expr` is

    def __init__(self, node: ExprNode) -> None:
        self.node = node

    def _new(self, node: ExprNode) -> Expr:
        return self._made(node)

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        for name, value in options.items():
            if isinstance(value, Built):
                raise TypeError(f"{operation}: {name} is a constant, and not an expression")
        return self._new(Call(operation, (self.node, *map(as_node, args)), tuple(options.items())))

    def _aggregate(self, function: str, *args: Any, **options: Any) -> Expr:
        return self._new(Aggregate(function, (self.node, *map(as_node, args)), options=tuple(options.items())))


class Sorted(Built):
    """An expression that knows its direction, good as a sort key only."""

    __slots__ = ("key",)

    def __init__(self, key: SortKey) -> None:
        super().__init__(key.expr)
        self.key = key


def as_node(value: Any) -> ExprNode:
    """An expression's node; any other value is a literal."""
    if isinstance(value, Built):
        return value.node
    if isinstance(value, ExprNode):
        return value
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set is no value of a column; is_in takes one")
    return Literal(value)


def as_nodes(values: Any) -> tuple[ExprNode, ...]:
    """Expressions where strings are names of columns: ``"a"``, ``["a", col("b") + 1]``."""
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, (list, tuple)) else [value])
    return tuple(Column(value) if isinstance(value, str) else as_node(value) for value in flat)


def sort_keys(by: Any, descending: bool | Sequence[bool] = False, nulls_last: bool | Sequence[bool] = False) -> tuple[SortKey, ...]:
    """Sort keys from names, expressions and ``.desc()``; ``descending`` and ``nulls_last`` for all or one by one."""
    given = list(by) if isinstance(by, (list, tuple)) else [by]
    down = [descending] * len(given) if isinstance(descending, bool) else list(descending)
    last = [nulls_last] * len(given) if isinstance(nulls_last, bool) else list(nulls_last)
    if not len(given) == len(down) == len(last):
        raise ValueError(f"{len(given)} sort keys, {len(down)} in descending, {len(last)} in nulls_last")
    return tuple(
        one.key if isinstance(one, Sorted) else SortKey(as_nodes([one])[0], d, n) for one, d, n in zip(given, down, last, strict=True)
    )
