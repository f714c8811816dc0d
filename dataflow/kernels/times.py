"""Operations on dates, times and durations in Polars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dataflow.expr.types import DType
from dataflow.kernels.lowered import Kernel, Lowered, own
from dataflow.kernels.types import to_polars

__all__ = ["KERNELS"]


def _part(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.dt, method)().cast(to_polars(kind))


def _combine(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """The local day with another clock time; Polars' own would take UTC's day."""
    unit, zone = to_polars(kind).time_unit, kind.args[1]
    day = args[0].expr.dt.date() if args[0].type.name == "datetime" else args[0].expr
    clock = day.dt.combine(args[1].expr, time_unit=unit)
    return clock if zone is None else clock.dt.replace_time_zone(zone, ambiguous="earliest")


def _replace_zone(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    missing: Any = "raise" if options["strict"] else "null"
    return args[0].expr.dt.replace_time_zone(options["zone"], ambiguous="earliest", non_existent=missing)


def _epoch(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Units since 1970, down to the whole one."""
    one = args[0].expr
    if options["unit"] == "d":
        return one.cast(pl.Date).cast(pl.Int32).cast(pl.Int64)
    if args[0].type.name == "date":
        one = one.cast(pl.Datetime("us"))
    return one.dt.epoch(options["unit"]).cast(pl.Int64)


def _duration(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    parts = {name: arg.expr.cast(pl.Int64) for name, arg in zip(options["parts"], args, strict=True)}
    return pl.duration(**parts, time_unit="us")


def _round(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Polars' own, but for months, which it takes to have 28 days each: its 10th of July rounds to the year before."""
    one, every = args[0].expr, options["every"]
    if not every.endswith(("mo", "q", "y")):
        return one.dt.round(every)
    clock = one.cast(pl.Datetime("us")) if kind.name == "date" else one.dt.replace_time_zone(None)
    start = clock.dt.truncate(every)
    later = clock - start >= start.dt.offset_by(every) - clock
    return pl.when(later).then(one.dt.offset_by(every)).otherwise(one).dt.truncate(every)


def _strftime(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """A date is its midnight."""
    one = args[0].expr.cast(pl.Datetime("us")) if args[0].type.name == "date" else args[0].expr
    return one.dt.strftime(options["format"])


_PARTS = (
    "year", "iso_year", "quarter", "month", "week", "weekday", "day", "ordinal_day", "days_in_month", "is_leap_year", "hour", "minute",
    "second", "millisecond", "microsecond", "nanosecond", "date", "time", "month_start", "month_end", "total_days", "total_hours",
    "total_minutes", "total_seconds", "total_milliseconds", "total_microseconds",
)  # fmt: skip

KERNELS: dict[str, Kernel] = {
    **{f"dt.{name}": _part(name) for name in _PARTS},
    "dt.combine": _combine, "dt.offset_by": own("dt.offset_by"), "dt.truncate": lambda a, o, k: a[0].expr.dt.truncate(o["every"]),
    "dt.round": _round,
    "dt.strftime": _strftime, "dt.epoch": _epoch, "dt.replace_time_zone": _replace_zone,
    "dt.convert_time_zone": lambda a, o, k: a[0].expr.dt.convert_time_zone(to_polars(k).time_zone), "duration": _duration,
}  # fmt: skip
