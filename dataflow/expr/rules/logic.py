"""Typing rules of comparison, logic, null, and of choosing among values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.expr.rules.parts import Operation, Refusal, always, common, given, meeting, orderable, shown
from dataflow.expr.types import BOOL, NULL, STRING, DType

__all__ = ["OPERATIONS"]


def _equal(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    kind = meeting(types)
    if kind.name in ("map", "other"):
        raise Refusal(f"{kind} cannot be compared")
    return BOOL


def _less(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    orderable(meeting(types))
    return BOOL


def _extreme(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return orderable(meeting(types))


def _logic(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if all(kind in (BOOL, NULL) for kind in types):
        return BOOL
    if all(kind.is_integer or kind == NULL for kind in types):
        kind = meeting(types)
        if not kind.is_integer:
            raise Refusal(f"{shown(types)} have no common integer type; cast one to the other")
        return kind
    raise Refusal(f"it takes bool, not {shown(types)}; comparisons need brackets: (a > 1) & (b < 2)")


def _null_if(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    _equal(types, options)
    return types[0]


def _replace(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    """The value, ``n`` old values, ``n`` new ones, and the default if there is one."""
    n = options["n"]
    _equal(types[: n + 1], options)
    return meeting(types[n + 1 :] if options["strict"] or len(types) > 2 * n + 1 else (types[0], *types[n + 1 :]))


def _plain(kind: DType) -> bool:
    return not kind.is_nested and kind.name not in ("other", "duration")


OPERATIONS: dict[str, Operation] = {
    "equal": Operation(_equal), "not_equal": Operation(_equal), "less": Operation(_less), "less_equal": Operation(_less),
    "greater": Operation(_less), "greater_equal": Operation(_less), "equal_missing": Operation(_equal, own_nulls=True),
    "not_equal_missing": Operation(_equal, own_nulls=True), "is_between": Operation(_less, own_nulls=True),
    "is_in": Operation(_equal, own_nulls=True),
    # logic (Kleene: false & null is false); integers by their bits
    "and": Operation(_logic, own_nulls=True), "or": Operation(_logic, own_nulls=True), "xor": Operation(_logic), "not": Operation(_logic),
    "is_null": Operation(always(BOOL), own_nulls=True), "is_not_null": Operation(always(BOOL), own_nulls=True),
    "coalesce": Operation(common, own_nulls=True), "null_if": Operation(_null_if, own_nulls=True),
    "replace": Operation(_replace, own_nulls=True),
    "min_horizontal": Operation(_extreme, own_nulls=True), "max_horizontal": Operation(_extreme, own_nulls=True),
    "concat_str": Operation(given(rest=lambda t: t == STRING, result=STRING, what="text; cast the others"), own_nulls=True),
    "hash": Operation(given(_plain, result=DType("uint64"), what="plain values")),
}  # fmt: skip
