"""Comparison, logic, null, and choosing among values, in Polars."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import polars as pl

from dataflow.expr.types import NULL, STRING, DType
from dataflow.kernels.casts import cast
from dataflow.kernels.lowered import Kernel, Lowered, as_type, meeting_type, met, own, series

__all__ = ["KERNELS"]

# Chains up to here are & and |, which Polars pushes into scans and cuts apart; longer ones one function (5,000 take 0.06 s,
# and as a chain more than a minute).
_CHAIN = 32


def _compare(method: str) -> Kernel:
    """A method of arguments that meet in their common type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        one, *rest = met(args)
        return getattr(one, method)(*rest)

    return kernel


def _chain(method: str, many: Callable[..., pl.Expr]) -> Kernel:
    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        parts = [as_type(arg, kind) for arg in args]
        if len(parts) > _CHAIN and kind.name == "bool":
            return many(parts)
        return reduce(lambda one, two: getattr(one, method)(two), parts)

    return kernel


def _xor(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return as_type(args[0], kind) ^ as_type(args[1], kind)


def _is_in(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Constants are looked up in one column of them, all others are compared. SQL: in (1, null) is true or null, never false."""
    value, *given = args
    meet = meeting_type(args)
    if meet == NULL:
        return pl.when(value.expr.is_not_null()).then(False)
    one = as_type(value, meet)
    present = [arg for arg in given if arg.type != NULL]
    known = [arg for arg in present if arg.constant is not None and not meet.is_nested]
    found = [one == as_type(arg, meet) for arg in present if not (arg.constant is not None and not meet.is_nested)]
    if known:
        found.append(one.is_in(pl.concat([_values(known, kind, meet) for kind in dict.fromkeys(arg.type for arg in known)]).implode()))
    if len(present) < len(given):
        found.append(pl.when(one.is_null()).then(None).otherwise(pl.lit(None, dtype=pl.Boolean)))
    if not found:
        return pl.when(one.is_not_null()).then(False)
    return found[0] if len(found) == 1 else pl.any_horizontal(found)


def _values(args: list[Lowered], kind: DType, meet: DType) -> pl.Series:
    """The constants of one type, as the type in which all meet."""
    own_ones = series([arg.constant for arg in args if arg.type == kind], kind)
    column = Lowered(pl.col("v"), kind)
    return own_ones.alias("v").to_frame().select(as_type(column, meet)).to_series()


def _between(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Two comparisons joined by and: a bound may say no though the other is null."""
    one, low, high = met(args)
    closed = options.get("closed", "both")
    above = one >= low if closed in ("both", "left") else one > low
    return above & (one <= high if closed in ("both", "right") else one < high)


def _coalesce(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return pl.coalesce([as_type(arg, kind) for arg in args])


def _null_if(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = met(args)
    return pl.when((one == two).fill_null(False)).then(None).otherwise(args[0].expr)


def _replace(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """A table of old and new values; what is not in it is the default, or stays, or (strict, without a default) fails the run."""
    n = options["n"]
    value, old, new, default = args[0], args[1 : n + 1], args[n + 1 : 2 * n + 1], args[2 * n + 1 :]
    meet = meeting_type([value, *old])
    one = as_type(value, meet)
    if meet.is_nested or any(arg.constant is None and arg.type != NULL for arg in (*old, *new)):
        chain: Any = pl
        for this, that in zip(old, new, strict=True):
            chain = chain.when(one.eq_missing(as_type(this, meet))).then(as_type(that, kind))
        return chain.otherwise(as_type(default[0] if default else value, kind)) if old else as_type(default[0] if default else value, kind)
    keys, values = _column(old, meet), _column(new, kind)
    if default:
        otherwise = as_type(default[0], kind)
    elif options["strict"]:
        return one.replace_strict(keys, values, return_dtype=values.dtype)
    else:
        otherwise = as_type(value, kind)
    return one.replace_strict(keys, values, default=otherwise, return_dtype=values.dtype)


def _column(args: list[Lowered], kind: DType) -> pl.Series:
    return pl.concat([pl.select(as_type(arg, kind).alias("v")).to_series() for arg in args]) if args else series([], kind)


def _horizontal(fold: Callable[..., pl.Expr]) -> Kernel:
    return lambda args, options, kind: fold([as_type(arg, kind) for arg in args])


def _concat_str(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    parts = [as_type(arg, STRING) for arg in args]
    return pl.concat_str(parts, separator=options["separator"], ignore_nulls=options["ignore_nulls"])


def _hash(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """The kernel's own hash differs between its versions, so this is made in Python: about a microsecond a value."""
    data = args[0].expr if args[0].type.name == "binary" else cast(args[0], STRING, True).cast(pl.Binary)

    def run(values: pl.Series) -> pl.Series:
        def one(value: bytes) -> int:
            return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little")

        return pl.Series([None if value is None else one(value) for value in values.to_list()], dtype=pl.UInt64)

    return data.map_batches(run, return_dtype=pl.UInt64(), is_elementwise=True)


KERNELS: dict[str, Kernel] = {
    "equal": _compare("__eq__"), "not_equal": _compare("__ne__"), "less": _compare("__lt__"), "less_equal": _compare("__le__"),
    "greater": _compare("__gt__"), "greater_equal": _compare("__ge__"), "equal_missing": _compare("eq_missing"),
    "not_equal_missing": _compare("ne_missing"), "is_between": _between, "is_in": _is_in,
    "and": _chain("__and__", pl.all_horizontal), "or": _chain("__or__", pl.any_horizontal), "xor": _xor, "not": own("__invert__"),
    "is_null": own("is_null"), "is_not_null": own("is_not_null"), "coalesce": _coalesce, "null_if": _null_if, "replace": _replace,
    "min_horizontal": _horizontal(pl.min_horizontal), "max_horizontal": _horizontal(pl.max_horizontal), "concat_str": _concat_str,
    "hash": _hash,
}  # fmt: skip
