"""Typing rules of aggregates and rankings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.expr.rules.parts import Refusal, Rule, always, common, first, given, is_bool, is_number, is_text, orderable
from dataflow.expr.types import BOOL, FLOAT64, INT64, NULL, STRING, DType, decimal_of, list_of, struct_of

__all__ = ["AGGREGATES", "RANKINGS", "SKETCHES"]


def _sum(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    """Integers sum to int64, and a sum that does not fit is an error; decimals keep their scale, with 38 digits."""
    (kind,) = types
    if kind.is_integer or kind in (BOOL, NULL):
        return INT64
    if kind.name == "decimal":
        return decimal_of(38, kind.args[1])
    if kind.is_float:
        return FLOAT64
    if kind.name == "duration":
        return kind
    raise Refusal(f"it takes numbers, not {kind}")


def _ordered(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return orderable(types[0])


def _mean(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    (kind,) = types
    return kind if kind.name == "duration" else _spread(types, options)


def _spread(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0].is_numeric or types[0] in (BOOL, NULL):
        return FLOAT64
    raise Refusal(f"it takes numbers, not {types[0]}")


def _quantile(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not 0 <= options["q"] <= 1:
        raise Refusal(f"a quantile is between 0 and 1, not {options['q']!r}")
    ways = ("linear", "lower", "higher", "midpoint", "nearest", "equiprobable")
    if options["interpolation"] not in ways:
        raise Refusal(f"interpolation is one of {', '.join(ways)}, not {options['interpolation']!r}")
    return _mean(types, options)


def _countable(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0].name in ("map", "other"):
        raise Refusal(f"values of {types[0]} cannot be compared")
    return INT64


def _at_rank(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not 0 <= options["q"] <= 1:
        raise Refusal(f"a quantile is between 0 and 1, not {options['q']!r}")
    return orderable(types[0])


def _hashes(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    _countable(types, options)
    return list_of(DType("uint64"))


_to_bool = given(is_bool, result=BOOL, what="bool")

AGGREGATES: dict[str, Rule] = {
    "len": always(INT64), "count": always(INT64), "n_unique": _countable, "approx_n_unique": _countable, "sum": _sum, "mean": _mean,
    "min": _ordered, "max": _ordered, "first": first, "last": first, "nth": first, "any": _to_bool, "all": _to_bool, "std": _spread,
    "var": _spread, "median": _mean, "quantile": _quantile, "product": given(is_number, result=FLOAT64, what="numbers"),
    "collect": lambda types, options: list_of(types[0]), "join": given(is_text, result=STRING, what="text"),
    "approx_quantile": _at_rank,
}  # fmt: skip
# The halves of aggregates that may be a little wrong. Only the optimizer writes them, so they have no meaning of their own.
SKETCHES: dict[str, Rule] = {
    "distinct_sketch": _hashes, "distinct_of_sketches": always(INT64),
    "quantile_sketch": lambda types, options: list_of(struct_of({"value": orderable(types[0]), "rows": INT64})),
    "quantile_of_sketches": lambda types, options: types[0].args[0].args[0][1],
}  # fmt: skip
RANKINGS: dict[str, Rule] = {
    "row_number": always(INT64), "rank": always(INT64), "dense_rank": always(INT64), "percent_rank": always(FLOAT64),
    "cume_dist": always(FLOAT64), "ntile": always(INT64), "lag": common, "lead": common,
}  # fmt: skip
