"""Windows in Polars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from dataflow.expr.nodes import Aggregate, Literal, Ranking, Window
from dataflow.expr.types import INT64, DType, Schema
from dataflow.expr.typing import type_of
from dataflow.kernels.aggregates import aggregate, sorted_by
from dataflow.kernels.lowered import Lowered, Walk, as_type
from dataflow.kernels.types import to_polars

__all__ = ["RANKING_KERNELS", "window"]


def window(node: Window, lower: Walk, schema: Schema) -> Lowered:
    kind = type_of(node, schema)
    partition = [lower(expr).expr for expr in node.partition] or [pl.lit(1)]
    if isinstance(node.function, Ranking):
        return Lowered(RANKING_KERNELS[node.function.function](node, node.function, partition, schema, kind), kind)
    inner = aggregate(node.function, schema)
    if not node.order and node.frame is None:
        return Lowered(inner.expr.over(partition), kind)
    return Lowered(_framed(node, node.function, partition, schema, kind), kind)


def _in_order(build: Callable[[Callable[[pl.Expr], pl.Expr]], pl.Expr], node: Window, partition: list[pl.Expr], lower: Walk, schema: Schema) -> pl.Expr:
    """``build`` makes a value for every row of a partition whose columns it sorts with the function it is given."""
    order = sorted_by(pl.int_range(pl.len()), node.order, schema)
    return build(lambda expr: expr.gather(order)).gather(order.arg_sort()).over(partition)


def _peers(sort: Callable[[pl.Expr], pl.Expr], node: Window, lower: Walk, schema: Schema) -> pl.Expr:
    """For sorted rows, the number of the run of rows with equal order keys."""
    keys = pl.struct([lower(key.expr).expr.alias(f"k{i}") for i, key in enumerate(node.order)])
    return sort(keys).rle_id()


def _framed(node: Window, function: Aggregate, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    frame = node.frame
    arg = lower(function.args[0]) if function.args else Lowered(pl.lit(1), INT64)
    value = arg.expr
    if function.where is not None:
        value = pl.when(lower(function.where).expr).then(value)
        if function.function == "len":
            function = Aggregate("count", (Literal(1),), None)
    if frame is None or (frame.unit == "range" and frame.start is None and frame.end == 0):
        if not node.order:
            return aggregate(Aggregate(function.function, function.args, function.where, function.order, function.options), schema).expr.over(partition)

        def peers(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
            running = _running(function.function, sort(value), arg.type, kind)
            return _last_of_run(running, _peers(sort, node, schema))

        return _in_order(peers, node, partition, schema)
    if frame.unit == "rows" and frame.start is None and frame.end == 0:
        return _in_order(lambda sort: _running(function.function, sort(value), arg.type, kind), node, partition, schema)
    if frame.unit == "rows":
        return _in_order(lambda sort: _rows_frame(function.function, sort(value), arg.type, kind, frame.start, frame.end), node, partition, schema)
    raise NotImplementedError("range frames with values")


def _last_of_run(running: pl.Expr, run: pl.Expr) -> pl.Expr:
    """Each row's value taken from the last row of its run."""
    ends = run.rle().struct.field("len").cum_sum() - 1
    return running.gather(ends.gather(run))


def _running(function: str, value: pl.Expr, have: DType, kind: DType) -> pl.Expr:
    target = to_polars(kind)
    match function:
        case "sum":
            return value.cast(target).fill_null(0).cum_sum()
        case "count":
            return value.is_not_null().cast(pl.Int64).cum_sum()
        case "len":
            return pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        case "mean":
            known = value.is_not_null().cast(pl.Int64).cum_sum()
            return pl.when(known > 0).then(value.cast(pl.Float64).fill_null(0).cum_sum() / known)
        case "min":
            return value.cum_min().forward_fill()
        case "max":
            return value.cum_max().forward_fill()
        case "first":
            return value.first()
        case "last":
            return value
        case _:
            raise NotImplementedError(f"{function} over an order")


def _rows_frame(function: str, value: pl.Expr, have: DType, kind: DType, start: int | None, end: int | None) -> pl.Expr:
    """Sliding rows, by differences of running sums for sums and counts; else by slices."""
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    low = pl.lit(0, dtype=pl.Int64) if start is None else (place + start).clip(lower_bound=0)
    high = pl.len().cast(pl.Int64) - 1 if end is None else pl.min_horizontal(place + end, pl.len().cast(pl.Int64) - 1)
    length = pl.max_horizontal(high - low + 1, pl.lit(0, dtype=pl.Int64))

    def between(running: pl.Expr) -> pl.Expr:
        """The running total at the frame's end less that before its start."""
        size = pl.len().cast(pl.Int64)
        upto = running.gather(pl.max_horizontal(pl.min_horizontal(high, size - 1), pl.lit(0, dtype=pl.Int64)))
        before = pl.when(low > 0).then(running.gather(pl.min_horizontal(pl.max_horizontal(low - 1, pl.lit(0, dtype=pl.Int64)), size - 1))).otherwise(0)
        return pl.when((length > 0) & (high >= 0) & (low < size)).then(upto - before).otherwise(0)

    count = between(value.is_not_null().cast(pl.Int64).cum_sum())
    match function:
        case "count":
            return count
        case "len":
            return between(pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        case "sum" if not kind.is_float:
            return between(value.cast(to_polars(kind)).fill_null(0).cum_sum())
        case "mean" if have.is_integer:
            return pl.when(count > 0).then(between(value.cast(pl.Int64).fill_null(0).cum_sum()).cast(pl.Float64) / count)
    if start is None or end is None:
        raise NotImplementedError(f"{function} over rows ({start}, {end})")
    width = end - start + 1
    moved = value.shift(-end) if end else value
    rolling = {"sum": "rolling_sum", "mean": "rolling_mean", "min": "rolling_min", "max": "rolling_max"}[function]
    found = getattr(moved.cast(to_polars(kind)), rolling)(window_size=width, min_samples=1)
    return found.fill_null(0) if function == "sum" else found


def _row_number(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: pl.int_range(1, pl.len() + 1, dtype=pl.Int64), node, partition, schema)


def _rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _rank_of(_peers(sort, node, schema)), node, partition, schema)


def _rank_of(run: pl.Expr) -> pl.Expr:
    lengths = run.rle().struct.field("len").cast(pl.Int64)
    return (lengths.cum_sum() - lengths + 1).gather(run)


def _dense_rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _peers(sort, node, schema).cast(pl.Int64) + 1, node, partition, schema)


def _percent_rank(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        rank = _rank_of(_peers(sort, node, schema))
        return pl.when(pl.len() > 1).then((rank - 1) / (pl.len() - 1)).otherwise(0.0).cast(pl.Float64)

    return _in_order(build, node, partition, schema)


def _cume_dist(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        run = _peers(sort, node, schema)
        return run.rle().struct.field("len").cast(pl.Int64).cum_sum().gather(run) / pl.len()

    return _in_order(build, node, partition, schema)


def _ntile(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
    n = dict(function.options)["n"]

    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        place, size = pl.int_range(pl.len(), dtype=pl.Int64), pl.len().cast(pl.Int64)
        small, longer = size // n, size % n  # the first `longer` parts have one row more
        head = longer * (small + 1)
        return pl.when(place < head).then(place // (small + 1)).otherwise(longer + (place - head) // pl.max_horizontal(small, pl.lit(1))) + 1

    return _in_order(build, node, partition, schema)


def _shift(direction: int) -> Callable[..., pl.Expr]:
    def kernel(node: Window, function: Ranking, partition: list[pl.Expr], lower: Walk, schema: Schema, kind: DType) -> pl.Expr:
        n = direction * dict(function.options).get("n", 1)
        value = as_type(typed(function.args[0], kind, schema), kind)
        fill = as_type(typed(function.args[1], kind, schema), kind) if len(function.args) > 1 else None
        if fill is None:
            return _in_order(lambda sort: sort(value).shift(n), node, partition, schema)
        there = pl.int_range(pl.len(), dtype=pl.Int64) - n
        inside = (there >= 0) & (there < pl.len())
        return _in_order(lambda sort: pl.when(inside).then(sort(value).shift(n)).otherwise(fill), node, partition, schema)

    return kernel


RANKING_KERNELS: dict[str, Callable[..., pl.Expr]] = {
    "row_number": _row_number, "rank": _rank, "dense_rank": _dense_rank, "percent_rank": _percent_rank, "cume_dist": _cume_dist,
    "ntile": _ntile, "lag": _shift(1), "lead": _shift(-1),
}  # fmt: skip
