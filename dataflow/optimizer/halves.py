"""Aggregations in two halves: one for any part of a collection, one for the results of the first.

sum(x), mean(y) by k       ──>   sum(#0), sum(#1) / sum(#2) by k   of   ( sum(x) #0, sum(y) #1, count(y) #2 by k )
n_unique(x) by k           ──>   count(x) by k                     of   ( by k, x )
approx_quantile(x) by k    ──>   quantile_of_sketches(#0) by k     of   ( quantile_sketch(x) #0 by k )
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.expr.nodes import Aggregate, Alias, Call, Cast, Column, ExprNode, Literal, Window, rebuilt, transform, walk
from dataflow.expr.types import FLOAT64, Schema, decimal_of
from dataflow.expr.typing import type_of
from dataflow.plan.columns_out import aggregates_of, named, schema_of
from dataflow.plan.relational import GroupAggregate
from dataflow.record import record

__all__ = ["Finals", "distinct_first", "halves"]


@record(eq=True)
class Finals:
    """How partial aggregates become results: merged values over the partials, by name, and the results over those."""

    merges: tuple[tuple[str, Aggregate], ...]
    results: tuple[ExprNode, ...]


_SKETCHES = {"approx_n_unique": ("distinct_sketch", "distinct_of_sketches"), "approx_quantile": ("quantile_sketch", "quantile_of_sketches")}
_MERGE = {"sum": "sum", "count": "sum", "len": "sum", "min": "min", "max": "max", "any": "any", "all": "all"}


def halves(node: GroupAggregate, schema: Schema) -> tuple[tuple[ExprNode, ...], tuple[ExprNode, ...], Finals] | None:
    """An aggregation as one of parts and one of their results; None if some aggregate needs all values at once."""
    partials: dict[Aggregate, str] = {}
    merges: dict[Aggregate, str] = {}
    keys = named(node.keys, tuple(schema))
    taken = set(keys)

    def fresh(found: dict[Aggregate, str], one: Aggregate) -> Column:
        name = f"#{len(found)}"
        while name in taken:
            name += "#"
        return Column(found.setdefault(one, name))

    def partial(one: Aggregate) -> Column:
        return fresh(merges, Aggregate(_MERGE[one.function], (fresh(partials, one),)))

    def halve(one: ExprNode) -> ExprNode:
        if not isinstance(one, Aggregate):
            return one
        if one.function in _SKETCHES:
            sketch, merge = _SKETCHES[one.function]
            return fresh(merges, Aggregate(merge, (fresh(partials, Aggregate(sketch, one.args, one.where)),), options=one.options))
        if one.order or one.distinct or one.function not in (*_MERGE, "mean"):
            raise _Whole
        if one.function != "mean":
            return partial(one)
        kind = type_of(one.args[0], schema)
        if kind.is_temporal:
            raise _Whole
        number = one.args[0] if kind.is_numeric else Cast(one.args[0], FLOAT64)
        if kind.name in ("int64", "uint64"):  # their sum may be beyond 64 bits, and their mean is not
            number = Cast(number, decimal_of(20, 0))
        total = partial(Aggregate("sum", (number,), one.where))
        count = partial(Aggregate("count", one.args, one.where))
        return _mean(total, count)

    results = []
    try:
        for name, expr in aggregates_of(node, tuple(schema)).items():
            if any(isinstance(w, Window) for w in walk(expr)):
                return None
            results.append(Alias(transform(_by_name(expr, keys), halve), name))
    except _Whole:
        return None
    finals = Finals(tuple((name, one) for one, name in merges.items()), tuple(results))
    return node.keys, tuple(Alias(one, name) for one, name in partials.items()), finals


def distinct_first(node: GroupAggregate, schema: Schema) -> tuple[GroupAggregate, GroupAggregate] | None:
    """An aggregation of the different values of one expression, as two that can begin before their exchange.

    n_unique(x), sum(y) by k   ──>   count(x), sum(y) by k  of  ( sum(y) by k, x )
    """
    found = [one for expr in node.aggs for one in walk(expr) if isinstance(one, Aggregate) and _of_different(one)]
    if not found or any(one.args != found[0].args or one.where is not None or one.order for one in found):
        return None
    names = named(node.keys, tuple(schema))
    value = "#value"
    while value in schema or value in names:
        value += "#"
    partials: dict[Aggregate, str] = {}

    def outer(one: ExprNode) -> ExprNode:
        if not isinstance(one, Aggregate):
            return one
        if _of_different(one):
            return replace(one, function="count" if one.function == "n_unique" else one.function, args=(Column(value),), distinct=False)
        if one.order or one.function not in _MERGE:
            raise _Whole
        return Aggregate(_MERGE[one.function], (Column(partials.setdefault(one, f"{value} {len(partials)}")),))

    try:
        results = tuple(Alias(transform(_by_name(expr, names), outer), name) for name, expr in named(node.aggs, tuple(schema)).items())
    except _Whole:
        return None
    first = replace(node, keys=(*node.keys, Alias(found[0].args[0], value)), aggs=tuple(Alias(one, name) for one, name in partials.items()))
    first = replace(first, schema=schema_of(first, (schema,)))
    second = replace(node, keys=tuple(Column(name) for name in names), aggs=results)
    assert first.schema is not None
    return first, replace(second, schema=schema_of(second, (first.schema,)))


def _by_name(expr: ExprNode, keys: Mapping[str, ExprNode]) -> ExprNode:
    """An expression of aggregates in which the keys stand under the names that they have behind the first half."""
    names = {key: name for name, key in keys.items() if key != Column(name) and not isinstance(key, Literal)}
    if not names:
        return expr

    def told(one: ExprNode) -> ExprNode:
        if one in names:
            return Column(names[one])
        return one if isinstance(one, Aggregate) else rebuilt(one, told)

    try:
        return told(expr)
    except RecursionError:
        raise _Whole from None


def _of_different(one: Aggregate) -> bool:
    return one.function == "n_unique" or one.distinct


def _mean(total: ExprNode, count: ExprNode) -> ExprNode:
    """The mean of a sum and a count; null of nothing."""
    return Call("divide", (Cast(total, FLOAT64), Call("null_if", (count, Literal(0)))))


class _Whole(Exception):
    """An aggregate has no halves."""
