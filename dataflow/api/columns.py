"""The verbs on columns: select, with_columns, group_by, join and the rest, spelled as Polars users spell them.

A collection of records is a table: these verbs and the Python verbs mix freely. A column that is not there, or a type that does
not fit, is an error at the line that names it, as far as columns are known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.api.building import plan_error
from dataflow.api.reshaping import Reshaping, names_of, relation
from dataflow.errors import column_meant
from dataflow.plan.origin import Origin, caller

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.expr.expression import Expr
    from dataflow.expr.nodes import ExprNode
    from dataflow.expr.types import DType
    from dataflow.plan.steps import OnError

__all__ = ["Columns", "Grouping"]

T = TypeVar("T")
Record = dict[str, Any]


def nodes_of(verb: str, values: Sequence[Any], more: Mapping[str, Any], origin: Origin) -> tuple[ExprNode, ...]:
    """Expressions from names, expressions and ``name=expression``, where a text is the name of a column, too; other values are literals
    only under a name."""
    from dataflow.expr.expression import Expr, as_nodes
    from dataflow.expr.nodes import Alias

    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, (list, tuple)) else [value])
    for value in flat:
        if not isinstance(value, (str, Expr)):
            raise plan_error(
                f"{verb} takes names of columns and expressions, not {type(value).__name__}", origin, "col('name'), lit(value)"
            )
    return (*as_nodes(flat), *(Alias(node, name) for name, node in zip(more, as_nodes(more.values()), strict=True)))


class Columns(Reshaping[T]):
    """The part of `PCollection` that works on the columns of records."""

    @property
    def schema(self) -> dict[str, DType] | None:
        """Names and types of the columns, None where only the data will tell.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": 1}]).select("a").schema
        {'a': DType('int64')}
        """
        return self.pipeline.columns(self.node)

    def select(self, *exprs: Any, label: str | None = None, **named: Any) -> PCollection[Record]:
        """Records of these columns: names, expressions, and ``name=expression``.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"a": 1, "b": 2}]).select("a", c=col("a") + col("b")).collect()
        [{'a': 1, 'c': 3}]
        """
        from dataflow.plan.relational import Project

        nodes = nodes_of("select", exprs, named, caller())
        if not nodes:
            raise plan_error("select needs at least one column")
        return relation(self, Project, "select", label, {"input": self.node}, exprs=self._aggregated(nodes))

    def _aggregated(self, nodes: tuple[ExprNode, ...]) -> tuple[ExprNode, ...]:
        from dataflow.expr.nodes import has_aggregate, show

        for node in nodes:
            if has_aggregate(node):
                hint = "group_by().agg(…) gives one record of the whole collection; .over(…) the aggregate beside every record"
                raise plan_error(f"select makes a record for every record, and {show(node)} is one value of many", hint=hint)
        return nodes

    def with_columns(self, *exprs: Any, label: str | None = None, **named: Any) -> PCollection[Record]:
        """The records with more columns; one of an existing name replaces it.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"a": 1}]).with_columns(b=col("a") * 2).collect()
        [{'a': 1, 'b': 2}]
        """
        from dataflow.plan.relational import Project

        nodes = nodes_of("with_columns", exprs, named, caller())
        return relation(self, Project, "with_columns", label, {"input": self.node}, exprs=self._aggregated(nodes), keep=True)

    def drop(self, *columns: str, label: str | None = None) -> PCollection[Record]:
        """The records without these columns.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": 1, "b": 2}]).drop("b").collect()
        [{'a': 1}]
        """
        from dataflow.expr.nodes import AllColumns
        from dataflow.plan.relational import Project

        return relation(self, Project, "drop", label, {"input": self.node}, exprs=(AllColumns(names_of("drop", columns)),))

    def rename(self, names: Mapping[str, str], label: str | None = None) -> PCollection[Record]:
        """The records with columns renamed, old name to new.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": 1, "b": 2}]).rename({"a": "x"}).collect()
        [{'x': 1, 'b': 2}]
        """
        from dataflow.expr.nodes import Alias, Column
        from dataflow.plan.relational import Project

        have = self.schema
        if have is None:
            raise plan_error(
                "rename needs to know the columns, and they are not known yet", hint="select them with their new names instead"
            )
        for name in names:
            if name not in have:
                raise plan_error(f"there is no column {name!r}", hint=column_meant(name, have))
        exprs = tuple(Alias(Column(name), names[name]) if name in names else Column(name) for name in have)
        return relation(self, Project, "rename", label, {"input": self.node}, exprs=exprs)

    def where(self, *predicates: Any, label: str | None = None) -> PCollection[Record]:
        """The records for which the expression, or each of several, is true; null is not true. ``filter(expression)`` is the same.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"a": 1}, {"a": 2}]).where(col("a") > 1).collect()
        [{'a': 2}]
        """
        from dataflow.expr.nodes import Call
        from dataflow.plan.relational import Where

        nodes = nodes_of("filter", predicates, {}, caller())
        if not nodes:
            raise plan_error("filter needs a condition")
        predicate = nodes[0] if len(nodes) == 1 else Call("and", nodes)
        return relation(self, Where, "filter", label, {"input": self.node}, predicate=predicate)

    def group_by(self, *keys: Any, **named: Any) -> Grouping:
        """Groups of equal keys, of which ``agg`` makes one record each; without keys, one group of everything.

        >>> from dataflow import Pipeline, col
        >>> rows = Pipeline().create([{"k": "a", "x": 1}, {"k": "a", "x": 2}])
        >>> rows.group_by("k").agg(col("x").sum(), n=col("x").count()).collect()
        [{'k': 'a', 'x': 3, 'n': 2}]
        """
        return Grouping(self, nodes_of("group_by", keys, named, caller()))

    def limit(self, n: int, offset: int = 0, label: str | None = None) -> PCollection[Record]:
        """The first ``n`` records behind a sort, any ``n`` else.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": 2}, {"a": 1}]).sort("a").limit(1).collect()
        [{'a': 1}]
        """
        from dataflow.plan.relational import Limit

        try:
            n, offset = index(n), index(offset)
        except TypeError:
            raise plan_error(f"limit takes whole numbers, not {n!r}{f' and {offset!r}' if offset else ''}") from None
        if n < 0 or offset < 0:
            raise plan_error("limit and offset must not be negative")
        return relation(self, Limit, "limit", label, {"input": self.node}, count=n, offset=offset)

    def join(
        self,
        other: Columns[Any],
        on: Any = None,
        how: str = "inner",
        *,
        left_on: Any = None,
        right_on: Any = None,
        null_equal: bool = False,
        suffix: str = "_right",
        where: Expr | None = None,
        label: str | None = None,
    ) -> PCollection[Record]:
        """Records of both sides whose keys are equal: names or expressions ``on``, or ``left_on`` and ``right_on``.

        ``how``: "inner", "left", "right", "full", "semi", "anti", "cross". Null equals nothing unless ``null_equal``. Right
        columns whose names the left has too get the ``suffix``. ``where``: a further condition on the pair.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> people, cities = p.create([{"id": 1, "city": 7}]), p.create([{"city": 7, "name": "Ulm"}])
        >>> people.join(cities, "city").collect()
        [{'id': 1, 'city': 7, 'name': 'Ulm'}]
        """
        from dataflow.expr.expression import as_node, as_nodes
        from dataflow.plan.relational import Join

        kinds = ("inner", "left", "right", "full", "semi", "anti", "cross")
        if how not in kinds:
            raise plan_error(f"there is no {how!r} join; there are {', '.join(kinds)}")
        self._check_others("join", other)
        if on is not None and (left_on is not None or right_on is not None):
            raise plan_error("a join takes either on, or left_on and right_on")
        left, right = (on, on) if on is not None else (left_on, right_on)
        if (left is None or right is None) and how != "cross" and where is None:
            raise plan_error("a join needs on, or left_on and right_on", hint='how="cross" pairs every record with every other')
        keys = [as_nodes(side if isinstance(side, (list, tuple)) else [side]) if side is not None else () for side in (left, right)]
        if len(keys[0]) != len(keys[1]):
            raise plan_error(f"a join needs as many keys on the left as on the right: {len(keys[0])} and {len(keys[1])}")
        if how == "cross" and keys[0]:
            raise plan_error("a cross join has no keys")
        residual = as_node(where) if where is not None else None
        inputs = {"left": self.node, "right": other.node}
        fields = {"how": how, "left_on": keys[0], "right_on": keys[1], "null_equal": null_equal, "suffix": suffix, "residual": residual}
        return relation(self, Join, f"join {how}", label, inputs, **fields)

    def join_asof(
        self, other: Columns[Any], on: str | None = None, *, left_on: str | None = None, right_on: str | None = None,
        by: str | Sequence[str] = (), strategy: str = "backward", tolerance: Any = None, suffix: str = "_right", label: str | None = None,
    ) -> PCollection[Record]:  # fmt: skip
        """For every record the one of the other side with equal ``by`` and nearest ``on``: the last not after it ("backward"),
        the first not before ("forward"), or the "nearest"; null where none is, or none within ``tolerance``.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> trades, quotes = p.create([{"t": 5}]), p.create([{"t": 3, "bid": 1}, {"t": 9, "bid": 2}])
        >>> trades.join_asof(quotes, "t").collect()
        [{'t': 5, 'bid': 1}]
        """
        from dataflow.plan.relational import AsOfJoin

        self._check_others("join_asof", other)
        one, two = (on, on) if on is not None else (left_on, right_on)
        if one is None or two is None:
            raise plan_error("join_asof needs on, or left_on and right_on")
        if strategy not in ("backward", "forward", "nearest"):
            raise plan_error(f'strategy is "backward", "forward" or "nearest", not {strategy!r}')
        names = (by,) if isinstance(by, str) else tuple(by)
        fields = {"left_on": one, "right_on": two, "left_by": names, "right_by": names, "strategy": strategy, "tolerance": tolerance}
        return relation(self, AsOfJoin, "join_asof", label, {"left": self.node, "right": other.node}, suffix=suffix, **fields)

    def concat(self, *others: Columns[Any], by: str = "name", fill: bool = False, label: str | None = None) -> PCollection[Record]:
        """The records of this and the others, columns matched by name; ``fill``: a column that one lacks is null there. ``by="position"``:
        the first column of each is the first, whatever its name, and so on; the names are those of this collection.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"a": 1}]).concat(p.create([{"a": 2}])).sort("a").collect()
        [{'a': 1}, {'a': 2}]
        >>> p.create([{"a": 1}]).concat(p.create([{"b": 2}]), by="position").sort("a").collect()
        [{'a': 1}, {'a': 2}]
        """
        from dataflow.plan.relational import Union

        self._check_others("concat", *others)
        if by not in ("name", "position"):
            raise plan_error(f'concat matches columns by "name" or by "position", not by {by!r}')
        if by == "position":
            if fill:
                raise plan_error("fill is for columns matched by name: by position there is none that one lacks")
            others = tuple(self._named_alike(other) for other in others)
        return relation(self, Union, "concat", label, {"parts": (self.node, *(other.node for other in others))}, fill=fill)

    def _named_alike(self, other: Columns[Any]) -> Columns[Any]:
        """The records of another collection, its columns called as those of this in the same place."""
        mine, theirs = self.schema, other.schema
        if mine is None or theirs is None:
            raise plan_error("concat by position needs to know the columns, and they are not known yet", hint="select them first")
        if len(mine) != len(theirs):
            raise plan_error(f"concat by position of {len(mine)} columns with {len(theirs)}", hint="select as many of both")
        return other if list(mine) == list(theirs) else other.select(**dict(zip(mine, theirs, strict=True)))

    def _mapped_columns(self, fn: Any, sides: Sequence[Any], columns: Sequence[str], rule: OnError, label: str | None) -> PCollection[Any]:
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        have = self.schema
        for name in names:
            if have is not None and name not in have:
                raise plan_error(f"there is no column {name!r}", hint=column_meant(name, have))
        return self._collection(self._step("map_columns", "map", fn, sides, None, label, rule, arg=names))

    def _ordered(self, by: Any, descending: Any, nulls_last: Any, limit: int | None, label: str | None) -> PCollection[Record]:
        from dataflow.expr.expression import sort_keys
        from dataflow.plan.relational import OrderBy

        try:
            keys = sort_keys(by, descending, nulls_last)
        except ValueError as error:
            raise plan_error(str(error)) from None
        return relation(self, OrderBy, "sort", label, {"input": self.node}, keys=keys, limit=limit)

    def _distinct_by(self, columns: Sequence[Any], label: str | None) -> PCollection[Record]:
        from dataflow.plan.relational import Distinct

        names = names_of("distinct", columns) if columns else None
        if names == ():
            raise plan_error("distinct([]) names no column", caller(), hint="distinct() goes by all of them")
        return relation(self, Distinct, "distinct", label, {"input": self.node}, columns=names)


class Grouping:
    """Groups that wait for their aggregates: see `Columns.group_by`."""

    def __init__(self, of: Columns[Any], keys: tuple[ExprNode, ...], sets: tuple[tuple[int, ...], ...] | None = None) -> None:
        self.of, self.keys, self.sets = of, keys, sets

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            from dataflow.api.elsewhere import said_here

            raise said_here(self, name, "group")

    def agg(self, *exprs: Any, label: str | None = None, **named: Any) -> PCollection[Record]:
        """One record for every group: its keys and these aggregates."""
        from dataflow.expr.nodes import columns_of, has_aggregate, show
        from dataflow.plan.relational import GroupAggregate

        aggs = nodes_of("agg", exprs, named, caller())
        for node in aggs:
            if not has_aggregate(node) and columns_of(node):
                raise plan_error(
                    f"agg makes one record of many, and {show(node)} is a value for each", hint="aggregate it: .sum(), .first(), .collect()"
                )
        if not aggs and not self.keys:
            raise plan_error("group_by() of nothing with no aggregates gives nothing")
        return relation(self.of, GroupAggregate, "aggregate", label, {"input": self.of.node}, keys=self.keys, aggs=aggs, sets=self.sets)

    def rollup(self) -> Grouping:
        """Groups of all keys, of all but the last, and so on down to one of everything; keys left out are null."""
        count = len(self.keys)
        return Grouping(self.of, self.keys, tuple(tuple(range(n)) for n in range(count, -1, -1)))

    def cube(self) -> Grouping:
        """Groups of every subset of the keys."""
        import itertools

        places = range(len(self.keys))
        return Grouping(
            self.of, self.keys, tuple(chosen for n in range(len(self.keys), -1, -1) for chosen in itertools.combinations(places, n))
        )
