"""Aggregates and windows, as methods of expressions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.expr.built import Built, as_node, as_nodes, sort_keys
from dataflow.expr.nodes import Aggregate, Call, Frame, Ranking, Window

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Aggregation"]


class Aggregation(Built):
    """One value of many rows, and such values beside every row."""

    __slots__ = ()

    # -- aggregates

    def sum(self) -> Expr:
        """The sum, 0 of nothing. An integer sum beyond 64 bits fails the run."""
        return self._aggregate("sum")

    def mean(self) -> Expr:
        """The mean, null of nothing."""
        return self._aggregate("mean")

    def min(self) -> Expr:
        """The least value, null of nothing."""
        return self._aggregate("min")

    def max(self) -> Expr:
        """The greatest value, null of nothing."""
        return self._aggregate("max")

    def count(self) -> Expr:
        """How many are not null."""
        return self._aggregate("count")

    def len(self) -> Expr:
        """How many rows, null ones too."""
        return self._new(Aggregate("len"))

    def n_unique(self) -> Expr:
        """How many different values; null is not counted."""
        return self._aggregate("n_unique")

    def first(self, order_by: Any = None) -> Expr:
        """The value of the first row, in an order."""
        return self._ordered("first", order_by)

    def last(self, order_by: Any = None) -> Expr:
        """The value of the last row, in an order."""
        return self._ordered("last", order_by)

    def collect(self, order_by: Any = None) -> Expr:
        """All values as a list, null ones too."""
        return self._ordered("collect", order_by)

    def nth(self, n: int, order_by: Any = None) -> Expr:
        """The value of the row number ``n``, from 0 (from the end if negative); null if there are not so many rows."""
        return self._ordered("nth", order_by, n=n)

    def _ordered(self, function: str, order_by: Any, **options: Any) -> Expr:
        keys = sort_keys(order_by) if order_by is not None else ()
        return self._new(Aggregate(function, (self.node,), order=keys, options=tuple(options.items())))

    def min_by(self, by: Any) -> Expr:
        """The value of the row where ``by`` is least; rows where it is null are left out.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "a", "n": 2}, {"x": "b", "n": 1}]).group_by().agg(x=col("x").min_by("n")).collect()
        [{'x': 'b'}]
        """
        return self._ordered("first", self._new(as_nodes([by])[0]).asc()).filter(self._new(as_nodes([by])[0]).is_not_null())

    def max_by(self, by: Any) -> Expr:
        """The value of the row where ``by`` is greatest; rows where it is null are left out."""
        return self._ordered("first", self._new(as_nodes([by])[0]).desc()).filter(self._new(as_nodes([by])[0]).is_not_null())

    def product(self) -> Expr:
        """The product as float64, 1 of nothing."""
        return self._aggregate("product")

    def approx_n_unique(self) -> Expr:
        """About how many different values; null is not counted.

        Of a query that is cut in pieces every piece keeps 4,096 hashes: then the standard error is 1.6% from 4,096 values on, and
        what goes between machines is little. A query that runs whole counts exactly.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": n % 7} for n in range(100)]).group_by().agg(n=col("x").approx_n_unique()).collect()
        [{'n': 7}]
        """
        return self._aggregate("approx_n_unique")

    def approx_quantile(self, q: float) -> Expr:
        """About the least value up to which a share ``q`` of the values lies; one of the values, of any type that has an order.

        Of a query that is cut in pieces every piece keeps 1,000 values: then the result lies up to a thousandth of all rows away
        from its place in their order. A query that runs whole is exact.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": n} for n in range(100)]).group_by().agg(
        ...     half=col("x").approx_quantile(0.5), most=col("x").approx_quantile(0.99)).collect()
        [{'half': 49, 'most': 98}]
        """
        return self._aggregate("approx_quantile", q=q)

    def any(self) -> Expr:
        """Whether one is true."""
        return self._aggregate("any")

    def all(self) -> Expr:
        """Whether none is false."""
        return self._aggregate("all")

    def std(self, ddof: int = 1) -> Expr:
        """The standard deviation; ``ddof=0`` of the whole population."""
        return self._aggregate("std", ddof=ddof)

    def var(self, ddof: int = 1) -> Expr:
        """The variance; ``ddof=0`` of the whole population."""
        return self._aggregate("var", ddof=ddof)

    def median(self) -> Expr:
        """The value in the middle, between the two there if their number is even."""
        return self._aggregate("median")

    def quantile(self, q: float, interpolation: str = "linear") -> Expr:
        """The value below which a share ``q`` of the values lies; ``interpolation`` as in NumPy."""
        return self._aggregate("quantile", q=q, interpolation=interpolation)

    def filter(self, predicate: Expr) -> Expr:
        """The aggregate of only those rows for which ``predicate`` is true: ``col("x").sum().filter(col("y") > 1)``."""
        if not isinstance(self.node, Aggregate):
            raise TypeError("filter() on an expression follows an aggregate; a collection's rows are filtered by its own filter()")
        node = self.node
        both = predicate.node if node.where is None else Call("and", (node.where, predicate.node))
        return self._new(replace(node, where=both))

    def distinct(self) -> Expr:
        """The aggregate of different values only, each counted once.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 3}, {"x": 3}, {"x": 4}]).group_by().agg(s=col("x").sum(), d=col("x").sum().distinct()).collect()
        [{'s': 10, 'd': 7}]
        """
        if not isinstance(self.node, Aggregate) or not self.node.args:
            raise TypeError("distinct() on an expression follows an aggregate of values: col('x').sum().distinct()")
        return self._new(replace(self.node, distinct=True))

    # -- windows

    def over(
        self, *partition_by: Any, order_by: Any = None, rows: tuple[int | None, int | None] | None = None,
        range: tuple[Any, Any] | None = None,
    ) -> Expr:  # fmt: skip
        """An aggregate or ranking for every row, over the rows with the same ``partition_by``, in ``order_by``.

        ``rows=(-2, 0)``: from two rows before to the current one; None is unbounded. ``range``: the same in values.
        """
        if not isinstance(self.node, (Aggregate, Ranking)):
            raise TypeError("over() follows an aggregate or a ranking: col('x').sum().over('k')")
        frame = Frame("rows", *rows) if rows is not None else Frame("range", *range) if range is not None else None
        keys = sort_keys(order_by) if order_by is not None else ()
        return self._new(Window(self.node, as_nodes(partition_by), keys, frame))

    def cum_sum(self, order_by: Any, over: Any = ()) -> Expr:
        """The sum of the rows up to the current one, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 3}]).select("x", total=col("x").cum_sum(order_by="x")).collect()
        [{'x': 1, 'total': 1}, {'x': 2, 'total': 3}, {'x': 3, 'total': 6}]
        """
        return self.sum().over(over, order_by=order_by, rows=(None, 0))

    def cum_count(self, order_by: Any, over: Any = ()) -> Expr:
        """How many up to the current row are not null, in an order."""
        return self.count().over(over, order_by=order_by, rows=(None, 0))

    def cum_min(self, order_by: Any, over: Any = ()) -> Expr:
        """The least up to the current row, in an order."""
        return self.min().over(over, order_by=order_by, rows=(None, 0))

    def cum_max(self, order_by: Any, over: Any = ()) -> Expr:
        """The greatest up to the current row, in an order."""
        return self.max().over(over, order_by=order_by, rows=(None, 0))

    def diff(self, order_by: Any, over: Any = (), n: int = 1) -> Expr:
        """What the value is more than that ``n`` rows before, in an order; null for the first."""
        return self - self.shift(n).over(over, order_by=order_by)

    def is_duplicated(self) -> Expr:
        """Whether another row has the same value."""
        return self.len().over(self) > 1

    def is_unique(self) -> Expr:
        """Whether no other row has the same value."""
        return self.len().over(self) == 1

    def shift(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows before (after, if negative) in the window that ``over`` gives it."""
        function = "lag" if n >= 0 else "lead"
        args = (self.node,) if fill is None else (self.node, as_node(fill))
        return self._new(Ranking(function, args, (("n", abs(n)),)))

    lag = shift

    def lead(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows after."""
        return self.shift(-n, fill)
