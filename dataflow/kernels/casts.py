"""Casts in Polars."""

from __future__ import annotations

import polars as pl

from dataflow.expr.types import BOOL, STRING, DType
from dataflow.kernels.lowered import Lowered
from dataflow.kernels.types import to_polars

__all__ = ["cast"]


def cast(given: Lowered, to: DType, strict: bool) -> pl.Expr:
    have = given.type
    if have == to:
        return given.expr
    target = to_polars(to)
    if have == STRING and to.name == "date":
        return given.expr.str.to_date("%Y-%m-%d", strict=strict)
    if have == STRING and to.name == "datetime":
        return given.expr.str.to_datetime(time_unit=target.time_unit, time_zone=target.time_zone, strict=strict)
    if have == STRING and to == BOOL:
        low = given.expr.str.to_lowercase()
        known = pl.when(low.is_in(["true", "t", "1"])).then(True).when(low.is_in(["false", "f", "0"])).then(False)
        return known.otherwise(None) if not strict else known.otherwise(low.replace_strict({"true": True}, return_dtype=pl.Boolean))
    return given.expr.cast(target, strict=strict)
