"""Arithmetic in Polars: decimals exactly, as the integers they are stored as; divisions as in `docs/columns.md`."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from dataflow.expr.types import MOST_DIGITS, DType, decimal_of, promoted
from dataflow.kernels.lowered import Kernel, Lowered, as_type, divided, met, own
from dataflow.kernels.spans import temporal
from dataflow.kernels.types import to_polars

__all__ = ["EXACT", "KERNELS", "exact", "stored_at"]


def _arithmetic(method: str) -> Kernel:
    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        one, two = args
        if one.type.is_temporal or two.type.is_temporal:
            return temporal(method, one, two, kind)
        return getattr(as_type(one, kind), method)(as_type(two, kind))

    return kernel


EXACT = {"add": "add", "subtract": "sub", "multiply": "mul"}


def exact(method: str, one: Lowered, two: Lowered, kind: DType) -> Lowered:
    """Exact sums and products of decimals, as the integers they are stored as.

    Polars' own rescales each product by a division in 256 bits: on TPC-H 1 (6 million rows) its two products took 0.46 s of CPU,
    these 0.07 s. Where the result's digits are all in its type nothing can overflow. Where they were cut to 38, a product is
    Polars' checked one at scale 0, which needs no division, and a sum is Polars' own.
    """
    (p1, s1), (p2, s2), scale = digits(one.type), digits(two.type), kind.args[1]
    target = to_polars(kind)
    if method == "mul" and s1 + s2 == scale and p1 + p2 <= MOST_DIGITS:
        stored = stored_at(one, s1) * stored_at(two, s2)
    elif method == "mul" and s1 + s2 == scale:
        whole = pl.Decimal(MOST_DIGITS, 0)
        checked = stored_at(one, s1).reinterpret(dtype=whole) * stored_at(two, s2).reinterpret(dtype=whole)
        stored = checked.to_physical()
    elif method != "mul" and max(p1 - s1, p2 - s2) + scale < MOST_DIGITS:
        stored = getattr(stored_at(one, scale), method)(stored_at(two, scale))
    else:
        left, right = _decimal(one, scale), _decimal(two, None if method == "mul" else scale)
        return Lowered(getattr(left, method)(right).cast(target), kind)
    return Lowered(stored.reinterpret(dtype=target), kind, stored)


def digits(kind: DType) -> tuple[int, int]:
    """Digits and scale of a number that meets a decimal; null has none."""
    found = promoted(kind, decimal_of(1, 0))
    assert found is not None
    return found.args


_WIDE = decimal.Context(prec=100)  # the default rounds to 28 digits


def stored_at(given: Lowered, scale: int) -> pl.Expr:
    """A decimal as the integer it is stored as, at this scale or a smaller one; an integer counts as a decimal of scale 0."""
    if isinstance(given.constant, decimal.Decimal):
        return pl.lit(int(given.constant.scaleb(scale, _WIDE)), dtype=pl.Int128)
    own = given.type.args[1] if given.type.name == "decimal" else 0
    stored = given.stored
    if stored is None:
        stored = given.expr.to_physical() if given.type.name == "decimal" else given.expr.cast(pl.Int128)
    return stored if own == scale else stored * pl.lit(10 ** (scale - own), dtype=pl.Int128)


def _decimal(given: Lowered, scale: int | None) -> pl.Expr:
    """A number as a decimal of 38 digits, at a scale (its own if None)."""
    own = given.type.args[1] if given.type.name == "decimal" else 0
    if given.type.name == "decimal" and (scale is None or scale == own):
        return given.expr
    return given.expr.cast(to_polars(decimal_of(38, own if scale is None else scale)))


def _divide(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = args
    if kind.name == "duration":
        return _floored(one.expr.to_physical(), two.expr.cast(pl.Int64)).cast(to_polars(kind))
    if one.type.name == "duration":
        left, right = met(args)
        return divided(left.to_physical().cast(pl.Float64), right.to_physical().cast(pl.Float64))
    return _ratio(args, kind)


def _ratio(args: list[Lowered], kind: DType, then: Callable[[pl.Expr, pl.Expr], pl.Expr] = lambda a, b: a / b) -> pl.Expr:
    one, two = (as_type(arg, kind) for arg in args)
    if all(arg.constant is not None for arg in args):
        return then(one, two)  # one value by one value is really divided, and must stay one value where it stands alone
    return divided(one, two, then)


def _floored(one: pl.Expr, two: pl.Expr) -> pl.Expr:
    """Down to the whole number; by 0 null."""
    return one // pl.when(two != 0).then(two)


def _cut(one: pl.Expr, two: pl.Expr) -> pl.Expr:
    """As `_floored`, but toward zero: one more where that is below zero and not exact."""
    down = _floored(one, two)
    return pl.when((down < 0) & (down * two != one)).then(down + 1).otherwise(down)


def _left(one: pl.Expr, two: pl.Expr) -> pl.Expr:
    """What the division down leaves, of whole numbers; by 0 null."""
    return one % pl.when(two != 0).then(two)


def _left_by_cut(one: pl.Expr, two: pl.Expr) -> pl.Expr:
    """What the division toward zero leaves: it has the sign of the first."""
    left = _left(one, two)
    return pl.when((left != 0) & ((left < 0) != (one < 0))).then(left - two).otherwise(left)


def _by_numpy(function: Callable[..., Any], args: list[pl.Expr], kind: DType) -> pl.Expr:
    """A function of floats that Polars lacks, or has only up to the last digit."""

    def run(rows: pl.Series) -> pl.Series:
        columns = rows.struct.unnest().get_columns()
        with np.errstate(all="ignore"):
            found = pl.Series(function(*(column.to_numpy() for column in columns)))
        if any(column.null_count() for column in columns):
            known = pl.all_horizontal(column.is_not_null() for column in columns)
            return pl.select(pl.when(known).then(found)).to_series()
        return found

    given = pl.struct(arg.alias(f"a{at}") for at, arg in enumerate(args))
    return given.map_batches(run, return_dtype=to_polars(kind), is_elementwise=True)


def _log(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Of the bases 10 and 2 exact for their powers, as C's is: log10(1000) is 3, where ln(1000) / ln(10) is less."""
    one, base = as_type(args[0], kind), options.get("base")
    if base in (10, 2):
        return _by_numpy(np.log10 if base == 10 else np.log2, [one], kind)
    return one.log() if base is None else divided(one.log(), pl.lit(base, dtype=pl.Float64).log()).cast(to_polars(kind))


def _floor_divide(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = args
    down = _cut if options.get("toward_zero") else _floored
    if kind.name == "decimal":
        scale = kind.args[1]
        whole = down(stored_at(one, scale), stored_at(two, scale))
        return (whole * pl.lit(10**scale, dtype=pl.Int128)).reinterpret(dtype=to_polars(kind))
    if kind.is_float:
        return _ratio(args, kind, lambda a, b: (a / b).truncate() if options.get("toward_zero") else (a / b).floor())
    return _ratio(args, kind, down).cast(to_polars(kind))


def _modulo(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """What the division down leaves. Of floats it is made of that division too: Polars' own gives NaN for infinite divisors."""
    cut = options.get("toward_zero")
    if kind.name == "decimal":
        left, right = (stored_at(arg, kind.args[1]) for arg in args)
        return divided(left, right, _left_by_cut if cut else _left).reinterpret(dtype=to_polars(kind))
    if cut and kind.is_float:
        return _by_numpy(np.fmod, [as_type(arg, kind) for arg in args], kind)
    if kind.is_float:
        return _ratio(args, kind, lambda a, b: a - b * (a / b).floor())
    return _ratio(args, kind, _left_by_cut if cut else _left).cast(to_polars(kind))


def _round(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Halves away from zero. Whole numbers, and decimals as the integers they are stored as, by adding half a step."""
    (one,) = args
    places = options["decimals"]
    if kind.is_float:
        if places >= 0:
            return one.expr.round(places, mode="half_away_from_zero")
        step = pl.lit(10.0**-places if places > -309 else float("inf"), dtype=pl.Float64)
        wide = one.expr.cast(pl.Float64)
        return (
            pl.when(wide.is_finite())
            .then(divided(wide, step).round(0, mode="half_away_from_zero") * step.clip(0, 1e308))
            .otherwise(wide)
            .cast(to_polars(kind))
        )
    drop = (kind.args[1] if kind.name == "decimal" else 0) - places
    if drop <= 0:
        return as_type(one, kind)
    stored = stored_at(one, kind.args[1] if kind.name == "decimal" else 0)
    if drop > MOST_DIGITS:
        rounded = stored * pl.lit(0, dtype=pl.Int128)
    else:
        step = pl.lit(10**drop, dtype=pl.Int128)
        rounded = (stored.abs() + pl.lit(10**drop // 2, dtype=pl.Int128)) // step * step * stored.sign()
    return rounded.reinterpret(dtype=to_polars(kind)) if kind.name == "decimal" else rounded.cast(to_polars(kind), wrap_numerical=True)


def _whole(method: str) -> Kernel:
    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        (one,) = args
        if one.type.name != "decimal":
            return getattr(one.expr, method)().cast(to_polars(kind))
        step = pl.lit(10 ** one.type.args[1], dtype=pl.Int128)
        stored = stored_at(one, one.type.args[1])
        down = (stored if method == "floor" else stored + step - pl.lit(1, dtype=pl.Int128)) // step * step
        return down.reinterpret(dtype=to_polars(kind))

    return kernel


def _truncate(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    return one.expr if kind.is_integer else one.expr.truncate(options["decimals"]).cast(to_polars(kind))


def _abs(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    return one.expr.to_physical().abs().cast(to_polars(kind)) if kind.name == "duration" else one.expr.abs()


def _clip(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """A null bound is none; NaN stays."""
    one, low, high = (as_type(arg, kind) for arg in args)
    number = ~one.is_nan() if kind.is_float else pl.lit(True)
    return pl.when(one < low).then(low).when((one > high) & number).then(high).otherwise(one)


def _fill_nan(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = (as_type(arg, kind) for arg in args)
    return pl.when(args[0].expr.is_nan()).then(two).otherwise(one) if args[0].type.is_float else one


def _sum_horizontal(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    if kind.name == "decimal":
        stored = pl.sum_horizontal([stored_at(arg, kind.args[1]) for arg in args])
        return stored.reinterpret(dtype=to_polars(kind))
    if kind.is_integer:
        exact = [as_type(arg, kind).cast(pl.Int128) for arg in args]
        return pl.sum_horizontal(exact).cast(to_polars(kind))  # a sum that does not fit fails here
    return pl.sum_horizontal([as_type(arg, kind) for arg in args])


def _float(build: Callable[[list[pl.Expr], Mapping[str, Any]], pl.Expr]) -> Kernel:
    return lambda args, options, kind: build([as_type(arg, kind) for arg in args], options)


def _of_floats(method: str) -> Kernel:
    """NaN and infinity: no other number is either."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        return getattr(args[0].expr.cast(pl.Float64), method)()

    return kernel


KERNELS: dict[str, Kernel] = {
    "add": _arithmetic("add"), "subtract": _arithmetic("sub"), "multiply": _arithmetic("mul"), "divide": _divide,
    "floor_divide": _floor_divide, "modulo": _modulo, "power": _float(lambda a, o: a[0].pow(a[1])),
    "negate": own("__neg__"), "abs": _abs, "round": _round, "floor": _whole("floor"), "ceil": _whole("ceil"), "truncate": _truncate,
    "sign": own("sign", to=True), "clip": _clip, "sqrt": _float(lambda a, o: a[0].sqrt()), "exp": _float(lambda a, o: a[0].exp()),
    "log": _log, "log10": lambda args, options, kind: _log(args, {"base": 10}, kind),
    "log1p": _float(lambda a, o: a[0].log1p()), "is_nan": _of_floats("is_nan"), "is_finite": _of_floats("is_finite"), "fill_nan": _fill_nan,
    "sum_horizontal": _sum_horizontal,
}  # fmt: skip
