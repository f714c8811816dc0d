"""Aggregates over frames of sorted rows, in Polars: each row sees the rows from ``low`` to ``high`` of its partition.

    frame ──bounds──> low, high for every row ──┬─ sums, counts: the running total at high less that before low
                                                ├─ from the first row, or to the last: the running value there
                                                ├─ least and greatest of n rows: Polars' rolling ones
                                                └─ else: the list of the frame's values, aggregated (memory: rows x frame)

A filter behind the aggregate leaves rows out: then values are those that stay, and low and high are counted in them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import polars as pl

from dataflow.expr.nodes import Frame, SortKey
from dataflow.expr.types import DType
from dataflow.kernels.aggregates import AGGREGATE_KERNELS
from dataflow.kernels.lowered import Lowered, divided
from dataflow.kernels.types import to_polars
from dataflow.record import record

__all__ = ["Bounds", "bounds", "over_frame"]


@record(eq=True)
class Bounds:
    """The first and last place of every row's frame, which may be outside of the partition; ``rows``: the same for all, in rows."""

    low: pl.Expr
    high: pl.Expr
    rows: tuple[int | None, int | None] | None = None
    from_first: bool = False
    to_last: bool = False


def bounds(frame: Frame | None, order: tuple[SortKey, ...], key: Lowered | None, run: pl.Expr | None) -> Bounds:
    """``key``: the sorted first order key; ``run``: the number of each row's run of equal keys."""
    place, last = pl.int_range(pl.len(), dtype=pl.Int64), pl.len().cast(pl.Int64) - 1
    zero = place * 0
    if frame is None:
        if run is None:
            return Bounds(zero, zero + last, from_first=True, to_last=True)
        return Bounds(zero, _run_end(run), from_first=True)
    from_first, to_last = frame.start is None, frame.end is None
    if frame.unit == "rows":
        low = zero if frame.start is None else place + frame.start
        high = zero + last if frame.end is None else place + frame.end
        return Bounds(low, high, (frame.start, frame.end), from_first, to_last)
    if run is None:
        return Bounds(zero, zero + last, None, from_first, to_last)
    first_peer, last_peer = _run_start(run), _run_end(run)
    low = zero if frame.start is None else _reached(frame.start, key, order, first_peer, back=False)
    high = zero + last if frame.end is None else _reached(frame.end, key, order, last_peer, back=True)
    return Bounds(low, high, None, from_first, to_last)


def _run_end(run: pl.Expr) -> pl.Expr:
    return (run.rle().struct.field("len").cast(pl.Int64).cum_sum() - 1).gather(run)


def _run_start(run: pl.Expr) -> pl.Expr:
    lengths = run.rle().struct.field("len").cast(pl.Int64)
    return (lengths.cum_sum() - lengths).gather(run)


def _reached(by: Any, key: Lowered | None, order: tuple[SortKey, ...], peer: pl.Expr, back: bool) -> pl.Expr:
    """The first row at or behind the key ``by`` away (``back``: the last at or before). Null and NaN are near their equals only."""
    if by == 0 or key is None:
        return peer
    down = order[0].descending
    axis, moved = _axis(key, by, down, back)
    known = axis.is_not_null()
    before = known.arg_true().first().cast(pl.Int64).fill_null(0)  # rows of null or NaN that stand in front
    found = before + axis.drop_nulls().search_sorted(moved, side="right" if back else "left").cast(pl.Int64)
    return pl.when(known).then(found - 1 if back else found).otherwise(peer)


def _axis(key: Lowered, by: Any, down: bool, back: bool) -> tuple[pl.Expr, pl.Expr]:
    """The key as a number that grows with the order, and the same ``by`` away; null where it is null or NaN."""
    kind, expr = key.type, key.expr
    sign = -1 if down else 1
    if kind.is_float:
        number = pl.when(~expr.is_nan()).then(expr.cast(pl.Float64)) * float(sign)
        return number, number + float(by)
    if kind.name in ("date", "datetime"):
        clock = expr.cast(pl.Datetime("us", kind.args[1] if kind.name == "datetime" else None))
        if isinstance(by, str):
            turned = by[1:] if by.startswith("-") else "-" + by
            return clock.to_physical() * sign, clock.dt.offset_by(turned if down else by).to_physical() * sign
        by = by // dt.timedelta(microseconds=1)
        return clock.to_physical() * sign, clock.to_physical() * sign + by
    if kind.name == "duration":
        micros = expr.cast(pl.Duration("us")).to_physical() * sign
        return micros, micros + by // dt.timedelta(microseconds=1)
    scale = kind.args[1] if kind.name == "decimal" else 0
    number = (expr.to_physical() if kind.name == "decimal" else expr).cast(pl.Int128) * sign
    step = Fraction(str(by)) * 10**scale
    return number, number + pl.lit(math.floor(step) if back else math.ceil(step), dtype=pl.Int128)


# -- values


def over_frame(
    function: str, options: dict[str, Any], value: Lowered, keep: pl.Expr | None, frame: Bounds, kind: DType, distinct: bool = False
) -> pl.Expr:
    """The aggregate of every row's frame; ``value`` (of anything, for len) and ``keep`` are sorted."""
    if keep is not None:
        kept = keep.fill_null(False).cast(pl.Int64).cum_sum()
        low, high = frame.low.clip(0), pl.min_horizontal(frame.high, pl.len().cast(pl.Int64) - 1)
        start = kept.shift(1, fill_value=0).gather(low, null_on_oob=True).fill_null(kept.last())
        end = pl.when(high >= 0).then(kept.gather(high.clip(0))).otherwise(0) - 1
        value = Lowered(value.expr.filter(keep), value.type)
        frame = Bounds(start, end, None, frame.from_first, frame.to_last)
    frames = _Frames(value, frame, kind, options)
    return frames.listed(function, distinct) if distinct else frames.of(function)


@record(eq=True)
class _Frames:
    value: Lowered
    frame: Bounds
    kind: DType
    options: dict[str, Any]

    @property
    def size(self) -> pl.Expr:
        return self.value.expr.len().cast(pl.Int64)

    @property
    def low(self) -> pl.Expr:
        return self.frame.low.clip(0)

    @property
    def high(self) -> pl.Expr:
        return pl.min_horizontal(self.frame.high, self.size - 1)

    @property
    def some(self) -> pl.Expr:
        return self.high >= self.low

    def of(self, function: str) -> pl.Expr:
        value, have = self.value.expr, self.value.type
        match function:
            case "len":
                return pl.when(self.some).then(self.high - self.low + 1).otherwise(0)
            case "count":
                return self.count
            case "sum" if not have.is_float:
                return self.as_sum(self.total(self.whole))
            case "sum" if self.frame.from_first:
                return self.total(value.cast(pl.Float64))
            case "sum" if self.frame.rows is not None and None not in self.frame.rows:
                return self.rolling(value.cast(pl.Float64), "rolling_sum").fill_null(0.0)
            case "mean" if have.name == "duration":
                total, count = self.total(self.whole), self.count
                cut = total.abs() // count.cast(pl.Int128) * total.sign()
                return pl.when(count > 0).then(cut).cast(pl.Int64).cast(to_polars(self.kind))
            case "mean" if not have.is_float:
                total = self.total(self.whole).cast(pl.Float64)
                if have.name == "decimal":
                    total = divided(total, pl.lit(10.0 ** have.args[1]))
                return pl.when(self.count > 0).then(divided(total, self.count.cast(pl.Float64)))
            case "mean" if self.frame.from_first or (self.frame.rows is not None and None not in self.frame.rows):
                return pl.when(self.count > 0).then(
                    divided(_Frames(self.value, self.frame, self.kind, {}).of("sum"), self.count.cast(pl.Float64))
                )
            case "min" | "max" if have.name == "null":
                return self.of("first")  # which is as null as all the others
            case "min" | "max" if self.frame.from_first or self.frame.to_last or self.frame.rows is not None:
                return self.extreme(function)
            case "first" | "last" | "nth":
                n: int = {"first": 0, "last": -1}.get(function) or int(self.options.get("n", 0))
                at = self.low + n if n >= 0 else self.high + 1 + n
                inside = self.some & (at >= self.low) & (at <= self.high)
                return pl.when(inside).then(value.gather(at.clip(0), null_on_oob=True))
            case "any":
                return self.total(value.fill_null(False).cast(pl.Int64)) > 0
            case "all":
                return self.total((~value.cast(pl.Boolean)).fill_null(False).cast(pl.Int64)) == 0
            case _:
                return self.listed(function)

    @property
    def count(self) -> pl.Expr:
        return self.total(self.value.expr.is_not_null().cast(pl.Int64))

    @property
    def whole(self) -> pl.Expr:
        """The values as integers wide enough to be added: of decimals and durations those they are stored as."""
        stored = self.value.expr.to_physical() if self.value.type.name in ("decimal", "duration") else self.value.expr
        return stored.cast(pl.Int8).cast(pl.Int128) if self.value.type.name == "bool" else stored.cast(pl.Int128)

    def as_sum(self, total: pl.Expr) -> pl.Expr:
        if self.kind.name == "decimal":
            return total.reinterpret(dtype=to_polars(self.kind))
        return total.cast(pl.Int64) if self.kind.name != "duration" else total.cast(pl.Int64).cast(to_polars(self.kind))

    def total(self, numbers: pl.Expr) -> pl.Expr:
        """The sum in every frame, null counting as 0."""
        running = numbers.fill_null(0).cum_sum()
        upto = running.gather(self.high.clip(0), null_on_oob=True)
        if not self.frame.from_first:
            upto = upto - running.shift(1, fill_value=0).gather(self.low, null_on_oob=True)
        return pl.when(self.some).then(upto).otherwise(0)

    def extreme(self, function: str) -> pl.Expr:
        """NaN counts only where there is nothing else: it is left out, and put where a frame has values but no result."""
        value = self.value.expr
        number = pl.when(~value.is_nan()).then(value) if self.value.type.is_float else value
        if self.frame.from_first:
            found = self.some_of(getattr(number, f"cum_{function}")().forward_fill(), self.high.clip(0))
        elif self.frame.to_last:
            found = self.some_of(getattr(number.reverse(), f"cum_{function}")().forward_fill().reverse(), self.low)
        elif self.value.type.is_numeric and self.value.type.name not in ("decimal", "float16"):
            found = self.rolling(number, f"rolling_{function}")
        else:  # of other types their places in order
            rank = number.rank("dense").cast(pl.Int64)
            found = number.drop_nulls().unique().sort().gather(self.rolling(rank, f"rolling_{function}") - 1)
        return pl.when(found.is_null() & (self.count > 0)).then(float("nan")).otherwise(found) if self.value.type.is_float else found

    def some_of(self, running: pl.Expr, at: pl.Expr) -> pl.Expr:
        return pl.when(self.some).then(running.gather(at, null_on_oob=True))

    def rolling(self, numbers: pl.Expr, method: str) -> pl.Expr:
        """Polars' rolling windows end at the current row: rows are put before and behind, and those that stand for ours taken."""
        start, end = self.frame.rows or (None, None)
        assert start is not None
        assert end is not None
        width = end - start + 1
        if width <= 0:
            return pl.when(self.some).then(numbers)
        behind = max(end, 0)
        longer = numbers.extend_constant(None, behind) if behind else numbers
        rolled = getattr(longer, method)(window_size=width, min_samples=1)
        place = pl.int_range(pl.len(), dtype=pl.Int64) + end
        return pl.when(place >= 0).then(rolled.gather(place.clip(0)))

    def listed(self, function: str, distinct: bool = False) -> pl.Expr:
        stop = pl.when(self.some).then(self.high + 1).otherwise(self.low)
        items = self.value.expr.implode().list.gather(pl.int_ranges(self.low, stop, dtype=pl.Int64))
        if distinct:
            items = items.list.unique(maintain_order=True)
        if function == "collect":
            return items
        kernel: Callable[..., pl.Expr] = AGGREGATE_KERNELS[function]
        found = items.list.agg(kernel([Lowered(pl.element(), self.value.type)], self.options, self.kind))
        if function in ("std", "var"):  # Polars' spread of nothing is 0 in a list
            count = items.list.drop_nulls().list.len().cast(pl.Int64) if distinct else self.count
            if self.value.type.is_float:  # and so is that of one NaN
                found = pl.when(items.list.agg(pl.element().is_nan().any())).then(float("nan")).otherwise(found)
            return pl.when(count > self.options["ddof"]).then(found)
        return found
