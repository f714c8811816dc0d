"""Where expressions begin: `col`, `lit`, `when`, and functions of several columns.

>>> when(col("x") > 0).then(1).otherwise(-1)
<Expr when(col('x') > 0).then(1).otherwise(-1)>
"""

from __future__ import annotations

from typing import Any

from dataflow.expr.expression import Expr, as_node, as_nodes
from dataflow.expr.nodes import Aggregate, AllColumns, Call, Case, Cast, Column, ExprNode, Literal, Ranking
from dataflow.expr.types import type_from

__all__ = [
    "all_columns", "coalesce", "col", "dense_rank", "len_", "lit", "max_horizontal", "min_horizontal", "ntile", "percent_rank", "rank",
    "row_number", "when",
]  # fmt: skip


def col(name: str) -> Expr:
    """The column of that name. ``col("*")`` is every column.

    >>> col("x") + 1
    <Expr col('x') + 1>
    """
    if not isinstance(name, str):
        raise TypeError(f"a column's name is a string, not {type(name).__name__}")
    return Expr(AllColumns() if name == "*" else Column(name))


def all_columns(exclude: tuple[str, ...] | list[str] = ()) -> Expr:
    """Every column, but those excluded."""
    return Expr(AllColumns(tuple(exclude)))


def lit(value: Any, type: Any = None) -> Expr:
    """A value; ``type`` states its column type.

    >>> lit("1995-03-15", "date")
    <Expr '1995-03-15'.cast('date')>
    """
    if type is None:
        return Expr(as_node(value))
    kind = type_from(type)
    if isinstance(value, str) and kind.name != "string":
        return Expr(Cast(Literal(value), kind))
    return Expr(Literal(value, kind))


class When:
    """The conditions of `when` so far; ``then`` gives the last its value."""

    def __init__(self, branches: tuple[tuple[ExprNode, ExprNode], ...], condition: ExprNode) -> None:
        self.branches, self.condition = branches, condition

    def then(self, value: Any) -> Then:
        """The value where the condition is true."""
        return Then((*self.branches, (self.condition, as_node(value))))


class Then(Expr):
    """An expression by cases; null where none holds, unless `otherwise` follows."""

    __slots__ = ("branches",)

    def __init__(self, branches: tuple[tuple[ExprNode, ExprNode], ...]) -> None:
        super().__init__(Case(branches, Literal(None)))
        self.branches = branches

    def when(self, condition: Any) -> When:
        """A further case, looked at where none before holds."""
        return When(self.branches, as_node(condition))

    def otherwise(self, value: Any) -> Expr:
        """The value where no condition is true."""
        return Expr(Case(self.branches, as_node(value)))


def when(condition: Any) -> When:
    """The beginning of ``when(…).then(…).otherwise(…)``."""
    return When((), as_node(condition))


def coalesce(*values: Any) -> Expr:
    """The first that is not null; strings are names of columns."""
    return Expr(Call("coalesce", as_nodes(values)))


def min_horizontal(*columns: Any) -> Expr:
    """The least of several columns in a row, null ones left out."""
    return Expr(Call("min_horizontal", as_nodes(columns)))


def max_horizontal(*columns: Any) -> Expr:
    """The greatest of several columns in a row, null ones left out."""
    return Expr(Call("max_horizontal", as_nodes(columns)))


def len_() -> Expr:
    """The number of rows, as an aggregate."""
    return Expr(Aggregate("len"))


def row_number() -> Expr:
    """1, 2, 3 … in the window's order."""
    return Expr(Ranking("row_number"))


def rank() -> Expr:
    """The place in the window's order; equals share the least, and leave a gap behind."""
    return Expr(Ranking("rank"))


def dense_rank() -> Expr:
    """As `rank`, without gaps."""
    return Expr(Ranking("dense_rank"))


def percent_rank() -> Expr:
    """(rank - 1) / (rows - 1), 0 for a single row."""
    return Expr(Ranking("percent_rank"))


def ntile(n: int) -> Expr:
    """The number, from 1, of the row's part when the window is cut into ``n`` equal parts."""
    return Expr(Ranking("ntile", (), (("n", n),)))
