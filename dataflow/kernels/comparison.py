"""Comparison, logic, null and NaN in Polars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from dataflow.expr.types import NULL, DType, promoted
from dataflow.kernels.lowered import Kernel, Lowered, as_type, met, own

__all__ = ["KERNELS"]


def _binary(method: str) -> Kernel:
    """A method of two arguments that meet in the result's type."""
    return lambda args, options, kind: getattr(as_type(args[0], kind), method)(as_type(args[1], kind))


def _compare(method: str) -> Kernel:
    """A method of arguments that meet in their common type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        one, *rest = met(args)
        return getattr(one, method)(*rest)

    return kernel


def _is_in(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    value, *given = args
    if not given:
        return pl.when(value.expr.is_not_null()).then(False)
    meet = value.type
    for arg in given:
        meet = promoted(meet, arg.type) or meet
    present = [arg for arg in given if arg.type != NULL]
    one = as_type(value, meet)
    if not present:
        found: pl.Expr = pl.lit(False)
    else:
        found = one.is_in(pl.concat_list([as_type(arg, meet) for arg in present])) if len(present) > 64 else _any_equal(one, present, meet)
    if len(present) < len(given):  # SQL: in (1, null) is true or null, never false
        found = pl.when(found).then(True).otherwise(None)
    return found


def _any_equal(one: pl.Expr, given: list[Lowered], meet: DType) -> pl.Expr:
    found = one == as_type(given[0], meet)
    for arg in given[1:]:
        found = found | (one == as_type(arg, meet))
    return found


def _between(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, low, high = met(args)
    return one.is_between(low, high, closed=options.get("closed", "both"))


def _coalesce(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return pl.coalesce([as_type(arg, kind) for arg in args])


def _null_if(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = met(args)
    return pl.when((one == two).fill_null(False)).then(None).otherwise(args[0].expr)


def _horizontal(fold: Callable[..., pl.Expr]) -> Kernel:
    return lambda args, options, kind: fold([as_type(arg, kind) for arg in args])


KERNELS: dict[str, Kernel] = {
    # comparison
    "equal": _compare("__eq__"), "not_equal": _compare("__ne__"), "less": _compare("__lt__"), "less_equal": _compare("__le__"),
    "greater": _compare("__gt__"), "greater_equal": _compare("__ge__"), "equal_missing": _compare("eq_missing"),
    "not_equal_missing": _compare("ne_missing"), "is_between": _between, "is_in": _is_in,
    # logic
    "and": _binary("__and__"), "or": _binary("__or__"), "xor": _binary("__xor__"), "not": own("__invert__"),
    # null and NaN
    "is_null": own("is_null"), "is_not_null": own("is_not_null"),
    "is_nan": lambda a, o, k: a[0].expr.cast(pl.Float64).is_nan(), "is_finite": lambda a, o, k: a[0].expr.cast(pl.Float64).is_finite(),
    "coalesce": _coalesce, "null_if": _null_if, "fill_nan": lambda a, o, k: as_type(a[0], k).fill_nan(as_type(a[1], k)),
    # across columns
    "min_horizontal": _horizontal(pl.min_horizontal), "max_horizontal": _horizontal(pl.max_horizontal),
}  # fmt: skip
