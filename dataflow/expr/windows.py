"""Windows, as methods of expressions: aggregates beside every row, running totals, and the rows before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.expr.aggregation import Aggregation
from dataflow.expr.built import as_node, as_nodes, sort_keys
from dataflow.expr.nodes import Aggregate, Frame, Ranking, Window

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Windows"]


class Windows(Aggregation):
    """A value for every row, of the rows around it."""

    __slots__ = ()

    def over(
        self, *partition_by: Any, order_by: Any = None, rows: tuple[int | None, int | None] | None = None,
        range: tuple[Any, Any] | None = None,
    ) -> Expr:  # fmt: skip
        """An aggregate or ranking for every row, over the rows with the same ``partition_by``, in ``order_by``.

        ``rows=(-2, 0)``: from two rows before to the current one; None is unbounded. ``range``: the same in values.

        >>> from dataflow import Pipeline, col
        >>> rows = Pipeline().create([{"k": "a", "x": 1}, {"k": "a", "x": 3}, {"k": "b", "x": 4}])
        >>> shares = rows.select("x", share=col("x") / col("x").sum().over("k"), pair=col("x").sum().over(order_by="x", rows=(-1, 0)))
        >>> shares.sort("x").collect()
        [{'x': 1, 'share': 0.25, 'pair': 1}, {'x': 3, 'share': 0.75, 'pair': 4}, {'x': 4, 'share': 1.0, 'pair': 7}]
        """
        if not isinstance(self.node, (Aggregate, Ranking)):
            raise TypeError("over() follows an aggregate or a ranking: col('x').sum().over('k')")
        keys = sort_keys(order_by) if order_by is not None else ()
        frame = _frame(rows, range, bool(keys))
        return self._new(Window(self.node, as_nodes(partition_by), keys, frame))

    def cum_sum(self, order_by: Any, over: Any = ()) -> Expr:
        """The sum of the rows up to the current one, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 3}]).select("x", total=col("x").cum_sum(order_by="x")).collect()
        [{'x': 1, 'total': 1}, {'x': 2, 'total': 3}, {'x': 3, 'total': 6}]
        """
        return self.sum().over(over, order_by=order_by, rows=(None, 0))

    def cum_count(self, order_by: Any, over: Any = ()) -> Expr:
        """How many up to the current row are not null, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}]).select("x", n=col("x").cum_count(order_by="x")).collect()
        [{'x': 1, 'n': 1}, {'x': 2, 'n': 2}]
        """
        return self.count().over(over, order_by=order_by, rows=(None, 0))

    def cum_min(self, order_by: Any, over: Any = ()) -> Expr:
        """The least up to the current row, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": 5}, {"t": 2, "x": 3}, {"t": 3, "x": 4}]).select(
        ...     "t", low=col("x").cum_min(order_by="t")).collect()
        [{'t': 1, 'low': 5}, {'t': 2, 'low': 3}, {'t': 3, 'low': 3}]
        """
        return self.min().over(over, order_by=order_by, rows=(None, 0))

    def cum_max(self, order_by: Any, over: Any = ()) -> Expr:
        """The greatest up to the current row, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": 5}, {"t": 2, "x": 3}, {"t": 3, "x": 9}]).select(
        ...     "t", high=col("x").cum_max(order_by="t")).collect()
        [{'t': 1, 'high': 5}, {'t': 2, 'high': 5}, {'t': 3, 'high': 9}]
        """
        return self.max().over(over, order_by=order_by, rows=(None, 0))

    def diff(self, order_by: Any, over: Any = (), n: int = 1) -> Expr:
        """What the value is more than that ``n`` rows before, in an order; null for the first.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": 5}, {"t": 2, "x": 8}]).select("t", more=col("x").diff(order_by="t")).collect()
        [{'t': 1, 'more': None}, {'t': 2, 'more': 3}]
        """
        return self - self.shift(n).over(over, order_by=order_by)

    def is_duplicated(self) -> Expr:
        """Whether another row has the same value.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 1}]).select("x", twice=col("x").is_duplicated()).collect()
        [{'x': 1, 'twice': True}, {'x': 2, 'twice': False}, {'x': 1, 'twice': True}]
        """
        return self.len().over(self) > 1

    def is_unique(self) -> Expr:
        """Whether no other row has the same value.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 1}]).select("x", once=col("x").is_unique()).collect()
        [{'x': 1, 'once': False}, {'x': 2, 'once': True}, {'x': 1, 'once': False}]
        """
        return self.len().over(self) == 1

    def shift(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows before (after, if negative) in the window that ``over`` gives it.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": "a"}, {"t": 2, "x": "b"}]).select(
        ...     "t", before=col("x").shift(1, fill="-").over(order_by="t")).collect()
        [{'t': 1, 'before': '-'}, {'t': 2, 'before': 'a'}]
        """
        function = "lag" if n >= 0 else "lead"
        args = (self.node,) if fill is None else (self.node, as_node(fill))
        return self._new(Ranking(function, args, (("n", abs(n)),)))

    def lag(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows before: `shift`, as SQL calls it.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": "a"}, {"t": 2, "x": "b"}]).select("t", before=col("x").lag().over(order_by="t")).collect()
        [{'t': 1, 'before': None}, {'t': 2, 'before': 'a'}]
        """
        return self.shift(n, fill)

    def lead(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows after.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": 1, "x": "a"}, {"t": 2, "x": "b"}]).select("t", next=col("x").lead().over(order_by="t")).collect()
        [{'t': 1, 'next': 'b'}, {'t': 2, 'next': None}]
        """
        return self.shift(-n, fill)


def _frame(rows: tuple[Any, Any] | None, values: tuple[Any, Any] | None, ordered: bool) -> Frame | None:
    if rows is not None and values is not None:
        raise ValueError("a window has a frame of rows or a range of values, not both")
    ends = rows if rows is not None else values
    if ends is None:
        return None
    start, end = ends
    if not ordered and (start is not None or end is not None):
        raise ValueError("rows before and after the current one are those of an order: over(…, order_by=…)")
    if rows is not None and start is not None and end is not None and start > end:
        raise ValueError(f"a frame from {start} to {end} ends before it starts: rows before the current one are negative, rows=(-2, 0)")
    return Frame("rows" if rows is not None else "range", start, end)
