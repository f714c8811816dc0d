"""Times and durations added, subtracted and multiplied in Polars, in the finer of their units."""

from __future__ import annotations

import polars as pl

from dataflow.expr.types import DType, datetime_of, duration_of
from dataflow.kernels.lowered import Lowered, as_type, met
from dataflow.kernels.types import to_polars

__all__ = ["temporal"]

_DAY = 86_400_000_000_000


def temporal(method: str, one: Lowered, two: Lowered, kind: DType) -> pl.Expr:
    """``method`` is add, sub or mul."""
    if method == "mul":
        span, times = (one, two) if one.type.name == "duration" else (two, one)
        return (span.expr.to_physical() * times.expr.cast(pl.Int64)).cast(to_polars(kind))
    if one.type.name == two.type.name == "duration":
        return getattr(as_type(one, kind), method)(as_type(two, kind))
    if "duration" not in (one.type.name, two.type.name):
        left, right = met([one, two])
        return (left - right).cast(to_polars(kind))
    when, by = (two, one) if one.type.name == "duration" else (one, two)
    return _moved(method, when, by, kind)


def _moved(method: str, when: Lowered, by: Lowered, kind: DType) -> pl.Expr:
    """A date goes down to the day on which it ends, a time goes around at midnight."""
    if kind.name == "time":
        micros = by.expr.cast(pl.Duration("us")).to_physical() % (_DAY // 1000)  # within a day, so nanoseconds do not overflow
        return (getattr(when.expr.to_physical(), method)(micros * 1000) % _DAY).cast(pl.Time())
    if kind.name == "date":
        unit = by.type.args[0]
        return getattr(as_type(when, datetime_of(unit)), method)(by.expr).cast(pl.Date())
    return getattr(as_type(when, kind), method)(as_type(by, duration_of(kind.args[0])))
