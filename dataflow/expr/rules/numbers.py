"""Typing rules of arithmetic: decimals get the digits they need, integers and floats the wider type of the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.expr.rules.parts import Operation, Refusal, Rule, common, given, is_number, meeting, shown
from dataflow.expr.types import (
    BOOL,
    FLOAT32,
    FLOAT64,
    MOST_DIGITS,
    NULL,
    STRING,
    DType,
    datetime_of,
    decimal_of,
    duration_of,
    promoted,
)  # fmt: skip

__all__ = ["OPERATIONS"]


def _add(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if STRING in types and all(kind in (STRING, NULL) for kind in types):
        return STRING
    if one.name == two.name == "duration":
        return meeting(types)
    when, by = (two, one) if one.name == "duration" else (one, two)
    if when.name in ("date", "datetime", "time", "null", "duration") and by.name in ("duration", "null") and (when, by) != (NULL, NULL):
        return _moved(when, by)
    return _numbers(types, "add")


def _moved(when: DType, by: DType) -> DType:
    """A time later by a duration: datetimes in the finer unit of both."""
    if when == NULL:
        return by
    if when.name == "datetime" and by.name == "duration":
        unit = promoted(duration_of(when.args[0]), by)
        assert unit is not None
        return datetime_of(unit.args[0], when.args[1])
    return when


def _subtract(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    moments = ("date", "datetime")
    if (one.name in moments and two.name in (*moments, "null")) or (one == NULL and two.name in moments):
        kind = meeting(types)
        return duration_of(kind.args[0] if kind.name == "datetime" else "us")
    if two.name == "duration" and one.name in (*moments, "time", "duration", "null"):
        return meeting(types) if one.name == "duration" else _moved(one, two)
    if two == NULL and one.name in ("time", "duration"):
        return one
    return _numbers(types, "subtract")


def _multiply(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if "duration" in (one.name, two.name) and any(kind.is_integer or kind == NULL for kind in types):
        return one if one.name == "duration" else two
    return _numbers(types, "multiply")


def _divide(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if one.name == "duration" and (two.is_integer or two == NULL):
        return one
    if one.name == two.name == "duration":
        return FLOAT64
    _numbers(types, "divide")
    return FLOAT32 if FLOAT32 in types and all(kind in (FLOAT32, NULL) for kind in types) else FLOAT64


def _numbers(types: tuple[DType, ...], verb: str) -> DType:
    """The type of arithmetic: decimal results have the digits they need, as in SQL, so nothing is rounded."""
    if not all(kind.is_numeric or kind == NULL for kind in types):
        raise Refusal(f"{shown(types)} do not {verb}")
    kind = meeting(types)
    if kind.name != "decimal":
        return kind
    (p1, s1), (p2, s2) = (_decimal(t, kind) for t in types)
    if verb == "multiply":
        if s1 + s2 > MOST_DIGITS:
            raise Refusal(f"the product of {shown(types)} has {s1 + s2} digits behind the point, and {MOST_DIGITS} are the most; cast one")
        return decimal_of(p1 + p2, s1 + s2)
    scale = max(s1, s2)
    return decimal_of(max(p1 - s1, p2 - s2) + scale + 1, scale)


def _decimal(kind: DType, both: DType) -> tuple[int, int]:
    if kind == NULL:
        return both.args
    found = promoted(kind, decimal_of(1, 0))
    assert found is not None
    return found.args


def _arithmetic(verb: str) -> Rule:
    return lambda types, options: _numbers(types, verb)


def _floats(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not all(kind.is_numeric or kind == NULL for kind in types):
        raise Refusal(f"it takes numbers, not {shown(types)}")
    return FLOAT32 if types[0] == FLOAT32 else FLOAT64


def _negate(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    (kind,) = types
    if not (kind.is_numeric or kind.name in ("duration", "null")) or kind.name.startswith("uint"):
        raise Refusal(f"{kind} has no negative")
    return kind


def _total(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not all(kind.is_numeric or kind == NULL for kind in types):
        raise Refusal(f"it takes numbers, not {shown(types)}")
    kind = meeting(types)
    return decimal_of(MOST_DIGITS, kind.args[1]) if kind.name == "decimal" else kind


def _clip(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    kind = meeting(types)
    if not (kind.is_numeric or kind.is_temporal or kind == NULL):
        raise Refusal(f"it takes numbers or times, not {shown(types)}")
    return kind


def _rounded(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    """A decimal may have one digit more: 9.99 rounds to 10.00."""
    kind = _number(types, options)
    return decimal_of(kind.args[0] + 1, kind.args[1]) if kind.name == "decimal" else kind


_number = given(is_number, what="numbers")
_is_it = Operation(given(is_number, result=BOOL, what="numbers"))

OPERATIONS: dict[str, Operation] = {
    "add": Operation(_add), "subtract": Operation(_subtract), "multiply": Operation(_multiply), "divide": Operation(_divide),
    "floor_divide": Operation(_arithmetic("divide")), "modulo": Operation(_arithmetic("divide")), "power": Operation(_floats),
    "negate": Operation(_negate), "abs": Operation(given(lambda t: t.is_numeric or t.name == "duration", what="numbers")),
    "round": Operation(_rounded), "floor": Operation(_rounded), "ceil": Operation(_rounded), "truncate": Operation(_number),
    "sign": Operation(_number), "clip": Operation(_clip, own_nulls=True),
    "sqrt": Operation(_floats), "exp": Operation(_floats), "log": Operation(_floats), "log10": Operation(_floats),
    "log1p": Operation(_floats),
    "is_nan": _is_it, "is_finite": _is_it, "fill_nan": Operation(common, own_nulls=True),
    "sum_horizontal": Operation(_total, own_nulls=True),
}  # fmt: skip
