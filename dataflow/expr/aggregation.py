"""Aggregates, as methods of expressions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.expr.built import Built, as_nodes, sort_keys
from dataflow.expr.nodes import Aggregate, Call

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Aggregation"]


class Aggregation(Built):
    """One value of many rows."""

    __slots__ = ()

    def sum(self) -> Expr:
        """The sum, 0 of nothing. An integer sum beyond 64 bits fails the run.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(s=col("x").sum()).collect()
        [{'s': 3}]
        """
        return self._aggregate("sum")

    def mean(self) -> Expr:
        """The mean, null of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(m=col("x").mean()).collect()
        [{'m': 1.5}]
        """
        return self._aggregate("mean")

    def min(self) -> Expr:
        """The least value, null of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(m=col("x").min()).collect()
        [{'m': 1}]
        """
        return self._aggregate("min")

    def max(self) -> Expr:
        """The greatest value, null of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(m=col("x").max()).collect()
        [{'m': 2}]
        """
        return self._aggregate("max")

    def count(self) -> Expr:
        """How many are not null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(n=col("x").count()).collect()
        [{'n': 2}]
        """
        return self._aggregate("count")

    def len(self) -> Expr:
        """How many rows, null ones too.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).group_by().agg(n=col("x").len()).collect()
        [{'n': 3}]
        """
        return self._new(Aggregate("len"))

    def n_unique(self) -> Expr:
        """How many different values; null is not counted.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 1}, {"x": None}]).group_by().agg(n=col("x").n_unique()).collect()
        [{'n': 1}]
        """
        return self._aggregate("n_unique")

    def first(self, order_by: Any = None) -> Expr:
        """The value of the first row, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "b", "day": 2}, {"x": "a", "day": 1}]).group_by().agg(x=col("x").first(order_by="day")).collect()
        [{'x': 'a'}]
        """
        return self._ordered("first", order_by)

    def last(self, order_by: Any = None) -> Expr:
        """The value of the last row, in an order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "b", "day": 2}, {"x": "a", "day": 1}]).group_by().agg(x=col("x").last(order_by="day")).collect()
        [{'x': 'b'}]
        """
        return self._ordered("last", order_by)

    def collect(self, order_by: Any = None) -> Expr:
        """All values as a list, null ones too.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 2}, {"x": 1}, {"x": None}]).group_by().agg(x=col("x").collect(order_by="x")).collect()
        [{'x': [None, 1, 2]}]
        """
        return self._ordered("collect", order_by)

    def nth(self, n: int, order_by: Any = None) -> Expr:
        """The value of the row number ``n``, from 0 (from the end if negative); null if there are not so many rows.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "b", "day": 2}, {"x": "a", "day": 1}]).group_by().agg(x=col("x").nth(1, order_by="day")).collect()
        [{'x': 'b'}]
        """
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
        """The value of the row where ``by`` is greatest; rows where it is null are left out.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "a", "n": 2}, {"x": "b", "n": 1}]).group_by().agg(x=col("x").max_by("n")).collect()
        [{'x': 'a'}]
        """
        return self._ordered("first", self._new(as_nodes([by])[0]).desc()).filter(self._new(as_nodes([by])[0]).is_not_null())

    def product(self) -> Expr:
        """The product as float64, 1 of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 2}, {"x": 3}]).group_by().agg(p=col("x").product()).collect()
        [{'p': 6.0}]
        """
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
        """Whether one is true.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": True}, {"x": None}]).group_by().agg(y=col("x").any()).collect()
        [{'y': True}]
        """
        return self._aggregate("any")

    def all(self) -> Expr:
        """Whether none is false.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": True}, {"x": None}]).group_by().agg(y=col("x").all()).collect()
        [{'y': True}]
        """
        return self._aggregate("all")

    def std(self, ddof: int = 1) -> Expr:
        """The standard deviation; ``ddof=0`` of the whole population.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 3}]).group_by().agg(sample=col("x").std(), whole=col("x").std(ddof=0)).collect()
        [{'sample': 1.4142135623730951, 'whole': 1.0}]
        """
        return self._aggregate("std", ddof=ddof)

    def var(self, ddof: int = 1) -> Expr:
        """The variance; ``ddof=0`` of the whole population.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 3}]).group_by().agg(sample=col("x").var(), whole=col("x").var(ddof=0)).collect()
        [{'sample': 2.0, 'whole': 1.0}]
        """
        return self._aggregate("var", ddof=ddof)

    def median(self) -> Expr:
        """The value in the middle, between the two there if their number is even.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 7}, {"x": 9}]).group_by().agg(m=col("x").median()).collect()
        [{'m': 4.5}]
        """
        return self._aggregate("median")

    def quantile(self, q: float, interpolation: str = "linear") -> Expr:
        """The value below which a share ``q`` of the values lies; ``interpolation`` as in NumPy.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": 4}]).group_by().agg(
        ...     q=col("x").quantile(0.25), low=col("x").quantile(0.25, "lower")).collect()
        [{'q': 1.5, 'low': 1.0}]
        """
        return self._aggregate("quantile", q=q, interpolation=interpolation)

    def filter(self, predicate: Expr) -> Expr:
        """The aggregate of only those rows for which ``predicate`` is true: ``col("x").sum().filter(col("y") > 1)``.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]).group_by().agg(a=col("x").sum().filter(col("y") == "a")).collect()
        [{'a': 1}]
        """
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
