"""Where expressions begin: `col`, `lit`, `when`, and functions of several columns.

>>> when(col("x") > 0).then(1).otherwise(-1)
<Expr when(col('x') > 0).then(1).otherwise(-1)>
"""

from __future__ import annotations

from typing import Any

from dataflow.expr.expression import Expr, as_node, as_nodes
from dataflow.expr.nodes import Aggregate, AllColumns, Call, Case, Cast, Column, ExprNode, Literal, Ranking, name_of
from dataflow.expr.types import type_from

__all__ = [
    "all_columns", "all_horizontal", "any_horizontal", "coalesce", "col", "concat_list", "concat_str", "cume_dist", "dense_rank",
    "duration", "len_", "lit", "max_horizontal", "min_horizontal", "ntile", "percent_rank", "rank", "row_number", "struct",
    "sum_horizontal", "when",
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
    """Every column, but those excluded.

    >>> from dataflow import Pipeline, all_columns
    >>> Pipeline().create([{"a": 1, "b": 2, "c": 3}]).select(all_columns(exclude=["b"])).collect()
    [{'a': 1, 'c': 3}]
    """
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
        """The value where the condition is true.

        >>> from dataflow import Pipeline, col, when
        >>> Pipeline().create([{"x": 5}, {"x": -5}]).select(y=when(col("x") > 0).then("up")).collect()
        [{'y': 'up'}, {'y': None}]
        """
        return Then((*self.branches, (self.condition, as_node(value))))


class Then(Expr):
    """An expression by cases; null where none holds, unless `otherwise` follows."""

    __slots__ = ("branches",)

    def __init__(self, branches: tuple[tuple[ExprNode, ExprNode], ...]) -> None:
        super().__init__(Case(branches, Literal(None)))
        self.branches = branches

    def when(self, condition: Any) -> When:
        """A further case, looked at where none before holds.

        >>> from dataflow import Pipeline, col, when
        >>> Pipeline().create([{"x": 5}, {"x": 0}]).select(y=when(col("x") > 0).then("up").when(col("x") == 0).then("even")).collect()
        [{'y': 'up'}, {'y': 'even'}]
        """
        return When(self.branches, as_node(condition))

    def otherwise(self, value: Any) -> Expr:
        """The value where no condition is true.

        >>> from dataflow import Pipeline, col, when
        >>> Pipeline().create([{"x": 5}, {"x": -5}]).select(y=when(col("x") > 0).then("up").otherwise("down")).collect()
        [{'y': 'up'}, {'y': 'down'}]
        """
        return Expr(Case(self.branches, as_node(value)))


def when(condition: Any) -> When:
    """The beginning of ``when(…).then(…).otherwise(…)``.

    >>> from dataflow import Pipeline, col, when
    >>> Pipeline().create([{"x": 5}, {"x": None}]).select(y=when(col("x") > 0).then(1).otherwise(-1)).collect()
    [{'y': 1}, {'y': -1}]
    """
    return When((), as_node(condition))


def coalesce(*values: Any) -> Expr:
    """The first that is not null; strings are names of columns.

    >>> from dataflow import Pipeline, coalesce
    >>> Pipeline().create([{"a": 1, "b": None}, {"a": 2, "b": 5}]).select(y=coalesce("b", "a", 0)).collect()
    [{'y': 1}, {'y': 5}]
    """
    return Expr(Call("coalesce", as_nodes(values)))


def min_horizontal(*columns: Any) -> Expr:
    """The least of several columns in a row, null ones left out.

    >>> from dataflow import Pipeline, min_horizontal
    >>> Pipeline().create([{"a": 1, "b": None}, {"a": 2, "b": 5}]).select(y=min_horizontal("a", "b")).collect()
    [{'y': 1}, {'y': 2}]
    """
    return Expr(Call("min_horizontal", as_nodes(columns)))


def max_horizontal(*columns: Any) -> Expr:
    """The greatest of several columns in a row, null ones left out.

    >>> from dataflow import Pipeline, col, max_horizontal
    >>> Pipeline().create([{"a": 1, "b": None}, {"a": 2, "b": 5}]).select(y=max_horizontal("a", "b", col("a") * 3)).collect()
    [{'y': 3}, {'y': 6}]
    """
    return Expr(Call("max_horizontal", as_nodes(columns)))


def sum_horizontal(*columns: Any) -> Expr:
    """The sum of several columns in a row, null ones left out; 0 of nothing.

    >>> from dataflow import Pipeline, sum_horizontal
    >>> Pipeline().create([{"a": 1, "b": None}, {"a": 2, "b": 5}]).select(y=sum_horizontal("a", "b")).collect()
    [{'y': 1}, {'y': 7}]
    """
    return Expr(Call("sum_horizontal", as_nodes(columns)))


def all_horizontal(*columns: Any) -> Expr:
    """Whether all are true; null if none is false but one is null. As ``a & b & c``.

    >>> from dataflow import Pipeline, all_horizontal
    >>> Pipeline().create([{"a": True, "b": None}, {"a": False, "b": None}]).select(y=all_horizontal("a", "b")).collect()
    [{'y': None}, {'y': False}]
    """
    return _chain("and", columns, True)


def any_horizontal(*columns: Any) -> Expr:
    """Whether one is true; null if none is but one is null. As ``a | b | c``.

    >>> from dataflow import Pipeline, any_horizontal
    >>> Pipeline().create([{"a": True, "b": None}, {"a": False, "b": None}]).select(y=any_horizontal("a", "b")).collect()
    [{'y': True}, {'y': None}]
    """
    return _chain("or", columns, False)


def _chain(operation: str, columns: tuple[Any, ...], nothing: bool) -> Expr:
    nodes = as_nodes(columns)
    return Expr(Call(operation, nodes) if len(nodes) > 1 else nodes[0] if nodes else Literal(nothing))


def concat_str(*columns: Any, separator: str = "", ignore_nulls: bool = False) -> Expr:
    """Texts of several columns put together, with a text between them; null if one is null, unless nulls are left out.

    >>> from dataflow import Pipeline
    >>> Pipeline().create([{"a": "x", "b": None}]).select(s=concat_str("a", "b", lit("z"), separator="-", ignore_nulls=True)).collect()
    [{'s': 'x-z'}]
    """
    return Expr(Call("concat_str", as_nodes(columns), (("separator", separator), ("ignore_nulls", ignore_nulls))))


def concat_list(*columns: Any) -> Expr:
    """One list of several values of a row: names and expressions. Of a list among them its items; a null one makes all null.

    >>> from dataflow import Pipeline
    >>> Pipeline().create([{"a": 1, "b": None, "l": [7, 8]}]).select(x=concat_list("a", "b"), y=concat_list("l", "a")).collect()
    [{'x': [1, None], 'y': [7, 8, 1]}]
    """
    if not columns:
        raise ValueError("a list needs a column: concat_list('a', 'b')")
    return Expr(Call("concat_list", as_nodes(columns)))


def struct(*columns: Any, **named: Any) -> Expr:
    """One column of several: names, expressions, and ``name=expression``.

    >>> from dataflow import Pipeline
    >>> Pipeline().create([{"a": 1, "b": 2}]).select(s=struct("a", c=col("b") * 2)).collect()
    [{'s': {'a': 1, 'c': 4}}]
    """
    nodes = as_nodes(columns)
    fields = {**{name_of(node): node for node in nodes}, **{name: as_nodes([value])[0] for name, value in named.items()}}
    if len(fields) < len(nodes) + len(named):
        raise ValueError(f"two fields have one name: {', '.join([*map(name_of, nodes), *named])}")
    return Expr(Call("struct", tuple(fields.values()), (("names", tuple(fields)),)))


def duration(
    *, weeks: Any = None, days: Any = None, hours: Any = None, minutes: Any = None, seconds: Any = None, milliseconds: Any = None,
    microseconds: Any = None,
) -> Expr:  # fmt: skip
    """A duration of whole numbers of these; strings are names of columns.

    >>> import datetime as dt
    >>> from dataflow import Pipeline
    >>> Pipeline().create([{"d": dt.date(2024, 2, 28), "n": 2}]).select(d=col("d") + duration(days="n")).collect()
    [{'d': datetime.date(2024, 3, 1)}]
    """
    given = {
        "weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds, "milliseconds": milliseconds,
        "microseconds": microseconds,
    }  # fmt: skip
    parts = {name: as_nodes([value])[0] for name, value in given.items() if value is not None}
    if not parts:
        raise ValueError("a duration needs a part: duration(days=1)")
    return Expr(Call("duration", tuple(parts.values()), (("parts", tuple(parts)),)))


def len_() -> Expr:
    """The number of rows, as an aggregate.

    >>> from dataflow import Pipeline, len_
    >>> Pipeline().create([{"k": 1}, {"k": None}]).group_by().agg(n=len_()).collect()
    [{'n': 2}]
    """
    return Expr(Aggregate("len"))


def row_number() -> Expr:
    """1, 2, 3 … in the window's order.

    >>> from dataflow import Pipeline, row_number
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 5}, {"x": 9}]).select("x", n=row_number().over(order_by="x")).collect()
    [{'x': 3, 'n': 1}, {'x': 5, 'n': 2}, {'x': 5, 'n': 3}, {'x': 9, 'n': 4}]
    """
    return Expr(Ranking("row_number"))


def rank() -> Expr:
    """The place in the window's order; equals share the least, and leave a gap behind.

    >>> from dataflow import Pipeline, rank
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 5}, {"x": 9}]).select("x", n=rank().over(order_by="x")).collect()
    [{'x': 3, 'n': 1}, {'x': 5, 'n': 2}, {'x': 5, 'n': 2}, {'x': 9, 'n': 4}]
    """
    return Expr(Ranking("rank"))


def dense_rank() -> Expr:
    """As `rank`, without gaps.

    >>> from dataflow import Pipeline, dense_rank
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 5}, {"x": 9}]).select("x", n=dense_rank().over(order_by="x")).collect()
    [{'x': 3, 'n': 1}, {'x': 5, 'n': 2}, {'x': 5, 'n': 2}, {'x': 9, 'n': 3}]
    """
    return Expr(Ranking("dense_rank"))


def percent_rank() -> Expr:
    """(rank - 1) / (rows - 1), 0 for a single row.

    >>> from dataflow import Pipeline, percent_rank
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 9}]).select("x", p=percent_rank().over(order_by="x")).collect()
    [{'x': 3, 'p': 0.0}, {'x': 5, 'p': 0.5}, {'x': 9, 'p': 1.0}]
    """
    return Expr(Ranking("percent_rank"))


def cume_dist() -> Expr:
    """The share of rows up to the current one and its equals.

    >>> from dataflow import Pipeline, cume_dist
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 5}, {"x": 9}]).select("x", p=cume_dist().over(order_by="x")).collect()
    [{'x': 3, 'p': 0.25}, {'x': 5, 'p': 0.75}, {'x': 5, 'p': 0.75}, {'x': 9, 'p': 1.0}]
    """
    return Expr(Ranking("cume_dist"))


def ntile(n: int) -> Expr:
    """The number, from 1, of the row's part when the window is cut into ``n`` equal parts.

    >>> from dataflow import Pipeline, ntile
    >>> Pipeline().create([{"x": 3}, {"x": 5}, {"x": 5}, {"x": 9}]).select("x", part=ntile(2).over(order_by="x")).collect()
    [{'x': 3, 'part': 1}, {'x': 5, 'part': 1}, {'x': 5, 'part': 2}, {'x': 9, 'part': 2}]
    """
    if n < 1:
        raise ValueError(f"ntile cuts into at least 1 part, not {n}")
    return Expr(Ranking("ntile", (), (("n", n),)))
