"""Windows in Polars: a partition's rows are sorted, every row gets its value, and goes back to its place."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from dataflow.expr.nodes import Ranking, Window, columns_of
from dataflow.expr.types import INT64, DType
from dataflow.expr.typing import type_of
from dataflow.kernels.aggregates import aggregate, sorted_by
from dataflow.kernels.frames import bounds, over_frame
from dataflow.kernels.lowered import Lowered, Walk, as_condition, as_type, divided, in_every_row

__all__ = ["RANKING_KERNELS", "window"]

_ORDERED = ("first", "last", "nth", "collect", "join")


def window(node: Window, lower: Walk) -> Lowered:
    """A value for every row."""
    kind = type_of(node, lower.schema)
    partition = [lower.rows(expr).expr for expr in node.partition] or [pl.lit(1)]
    if isinstance(node.function, Ranking):
        return Lowered(RANKING_KERNELS[node.function.function](node, node.function, partition, lower, kind), kind)
    whole = node.frame is not None and node.frame.start is None and node.frame.end is None
    if (not node.order and node.frame is None) or (whole and node.function.function not in _ORDERED):
        return Lowered(aggregate(node.function, lower).expr.over(partition), kind)
    return Lowered(_framed(node, partition, lower, kind), kind)


def _in_order(build: Callable[[Callable[[pl.Expr], pl.Expr]], pl.Expr], node: Window, partition: list[pl.Expr], lower: Walk) -> pl.Expr:
    """``build`` makes a value for every row of a partition whose columns it sorts with the function it is given."""
    if not node.order:
        return build(lambda expr: expr).over(partition)
    order = sorted_by(pl.int_range(pl.len()), node.order, lower)
    return build(lambda expr: expr.gather(order)).gather(order.arg_sort()).over(partition)


def _peers(sort: Callable[[pl.Expr], pl.Expr], node: Window, lower: Walk) -> pl.Expr:
    """For sorted rows, the number of the run of rows with equal order keys; without an order all are equal."""
    if not node.order:
        return in_every_row(pl.lit(0))
    keys = pl.struct([lower.rows(key.expr).expr.alias(f"k{i}") for i, key in enumerate(node.order)])
    return sort(keys).rle_id()


def _framed(node: Window, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    function = node.function
    assert not isinstance(function, Ranking)
    every = pl.int_range(pl.len(), dtype=pl.Int64)  # what len counts
    value = lower.rows(function.args[0]) if function.args else Lowered(every, INT64)
    keep = as_condition(lower.rows(function.where)) if function.where is not None else None
    key = lower.rows(node.order[0].expr) if node.order else None

    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        sorted_key = Lowered(sort(key.expr), key.type) if key is not None else None
        frame = bounds(node.frame, node.order, sorted_key, _peers(sort, node, lower) if node.order else None)
        return over_frame(
            function.function,
            dict(function.options),
            Lowered(sort(value.expr), value.type),
            sort(keep) if keep is not None else None,
            frame,
            kind,
            function.distinct,
        )

    return _in_order(build, node, partition, lower)


def _row_number(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: pl.int_range(1, pl.len() + 1, dtype=pl.Int64), node, partition, lower)


def _rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _rank_of(_peers(sort, node, lower)), node, partition, lower)


def _rank_of(run: pl.Expr) -> pl.Expr:
    lengths = run.rle().struct.field("len").cast(pl.Int64)
    return (lengths.cum_sum() - lengths + 1).gather(run)


def _dense_rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _peers(sort, node, lower).cast(pl.Int64) + 1, node, partition, lower)


def _percent_rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        rank = _rank_of(_peers(sort, node, lower))
        return (
            pl.when(pl.len() > 1)
            .then(divided((rank - 1).cast(pl.Float64), (pl.len().cast(pl.Int64) - 1).cast(pl.Float64)))
            .otherwise(0.0)
            .cast(pl.Float64)
        )

    return _in_order(build, node, partition, lower)


def _cume_dist(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        run = _peers(sort, node, lower)
        upto = run.rle().struct.field("len").cast(pl.Int64).cum_sum().gather(run)
        return divided(upto.cast(pl.Float64), pl.len().cast(pl.Float64))

    return _in_order(build, node, partition, lower)


def _ntile(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
    n = dict(function.options)["n"]

    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        place, size = pl.int_range(pl.len(), dtype=pl.Int64), pl.len().cast(pl.Int64)
        small, longer = size // n, size % n  # the first `longer` parts have one row more
        head = longer * (small + 1)
        return (
            pl.when(place < head).then(place // (small + 1)).otherwise(longer + (place - head) // pl.max_horizontal(small, pl.lit(1))) + 1
        )

    return _in_order(build, node, partition, lower)


def _shift(direction: int) -> Callable[..., pl.Expr]:
    def kernel(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, kind: DType) -> pl.Expr:
        n = direction * dict(function.options).get("n", 1)
        value = as_type(lower.typed(function.args[0], kind), kind)
        value = value if columns_of(function.args[0]) else in_every_row(value)
        fill = as_type(lower.typed(function.args[1], kind), kind) if len(function.args) > 1 else None
        if fill is None:
            return _in_order(lambda sort: sort(value).shift(n), node, partition, lower)
        there = pl.int_range(pl.len(), dtype=pl.Int64) - n
        inside = (there >= 0) & (there < pl.len())
        return _in_order(lambda sort: pl.when(inside).then(sort(value).shift(n)).otherwise(fill), node, partition, lower)

    return kernel


RANKING_KERNELS: dict[str, Callable[..., pl.Expr]] = {
    "row_number": _row_number, "rank": _rank, "dense_rank": _dense_rank, "percent_rank": _percent_rank, "cume_dist": _cume_dist,
    "ntile": _ntile, "lag": _shift(1), "lead": _shift(-1),
}  # fmt: skip
