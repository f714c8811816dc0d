"""What a cast means: for every pair of types the value as the other type, or that it has no such form."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from decimal import Decimal
from typing import Any

from dataflow.expr.types import DType
from dataflow.expr.typing import ExprError
from runners.reference.values import EXACT, MICROS, fit, utc, zone_of

__all__ = ["cast"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1)
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


class _NoForm(ValueError):
    """A value has no form as that type."""


def cast(value: Any, source: DType, to: DType, strict: bool = True) -> Any:
    """The value as another type. Without a form there it is a ValueError if ``strict``, else null."""
    if value is None or source == to:
        return value
    try:
        return _cast(value, source, to, strict)
    except (_NoForm, OverflowError):
        if not strict:
            return None
        raise ValueError(f"{value!r} has no form as {to}") from None


def _cast(value: Any, source: DType, to: DType, strict: bool) -> Any:
    number = source.is_numeric or source.name == "bool"
    match source.name, to.name:
        case "string", _:
            return _from_text(value, source, to)
        case _, "string":
            return _text(value, source)
        case _, "bool" if source.is_numeric:
            return value != 0
        case _, "decimal" if number:
            return _to_decimal(value, to)
        case _, _ if number and to.is_integer:
            return _to_integer(value, to)
        case _, _ if number and to.is_float:
            return fit(value, to)
        case ("date" | "datetime", "date" | "datetime"):
            return utc(value).date() if to.name == "date" and isinstance(value, dt.datetime) else fit(value, to)
        case "datetime", "time":
            return utc(value).time()
        case "duration", "duration":
            return fit(value, to)
        case ("date" | "datetime" | "time" | "duration", _) if to.is_integer or to.is_float:
            return _to_integer(_count(value, source), to) if to.is_integer else fit(_count(value, source), to)
        case (_, "date" | "datetime" | "time" | "duration") if source.is_integer:
            return _from_count(value, to)
        case ("list" | "array", "list" | "array"):
            if to.name == "array" and len(value) != to.args[1]:
                raise _NoForm
            return [cast(item, source.args[0], to.args[0], strict) for item in value]
        case "struct", "struct":
            have = dict(source.args)
            return {name: cast(value[name], have[name], kind, strict) if name in have else None for name, kind in to.args}
        case _:
            raise ExprError(f"{source} cannot be cast to {to}")


def _to_integer(value: Any, to: DType) -> int:
    """Fractions are cut off."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _NoForm
    whole = math.trunc(value)
    if fit(whole, to) != whole:
        raise _NoForm
    return whole


def _to_decimal(value: Any, to: DType) -> Decimal:
    """Digits beyond the scale are rounded, halves to the even digit. A float is scaled as a float first, as the kernel does."""
    if isinstance(value, float):
        scaled = value * 10.0 ** to.args[1]
        if not math.isfinite(scaled):
            raise _NoForm
        value = EXACT.scaleb(Decimal(round(scaled)), -to.args[1])
    return fit(value, to)  # type: ignore[no-any-return]


def _count(value: Any, source: DType) -> int:
    """Days of a date since 1970, units of a datetime or duration, nanoseconds of a time."""
    match source.name:
        case "date":
            return (value - _EPOCH.date()).days  # type: ignore[no-any-return]
        case "time":
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000_000 + value.microsecond * 1000  # type: ignore[no-any-return]
        case _:
            span = value if isinstance(value, dt.timedelta) else utc(value) - _EPOCH
            micros = span // dt.timedelta(microseconds=1)
            return micros * 1000 if source.args[0] == "ns" else micros // MICROS[source.args[0]]  # type: ignore[no-any-return]


def _from_count(value: int, to: DType) -> Any:
    match to.name:
        case "date":
            return _EPOCH.date() + dt.timedelta(days=value)
        case "time":
            if not 0 <= value < 86_400_000_000_000:
                raise _NoForm
            return (_EPOCH + dt.timedelta(microseconds=value // 1000)).time()
        case _:
            span = dt.timedelta(microseconds=value * MICROS[to.args[0]] if to.args[0] != "ns" else value // 1000)
            return span if to.name == "duration" else fit(_EPOCH + span, to)


# -- text


def _from_text(text: str, source: DType, to: DType) -> Any:
    """Numbers without spaces and underscores around or between; dates and times in ISO 8601's form with dashes and colons."""
    if to.is_integer:
        return _to_integer(int(_matched(_INTEGER, text)), to)
    if to.is_float:
        return fit(float(_matched(_FLOAT, text)), to)
    match to.name:
        case "decimal":
            return fit(Decimal(_matched(_DECIMAL, text)), to)
        case "bool":
            low = text.lower()
            if low not in _TRUE + _FALSE:
                raise _NoForm
            return low in _TRUE
        case "binary":
            return text.encode()
        case "date":
            return _iso(dt.date, _matched(_DATE, text))
        case "time":
            return _iso(dt.time, _matched(_TIME, text))
        case "datetime":
            return _instant(text, to)
        case _:
            raise ExprError(f"{source} cannot be cast to {to}")


def _matched(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise _NoForm
    return text


def _iso(kind: Any, text: str) -> Any:
    try:
        return kind.fromisoformat(text)
    except ValueError:
        raise _NoForm from None


def _instant(text: str, to: DType) -> dt.datetime:
    """Text with an offset needs a type with a zone; text without one is that zone's clock."""
    found = _INSTANT.fullmatch(text)
    if found is None or (found[3] and to.args[1] is None):
        raise _NoForm
    clock = dt.datetime.combine(_iso(dt.date, found[1]), _iso(dt.time, found[2]) if found[2] else dt.time())
    if to.args[1] is None:
        return fit(clock, to)  # type: ignore[no-any-return]
    zone = dt.UTC if found[3] == "Z" else zone_of(found[3][:3] + ":" + found[3][-2:]) if found[3] else zone_of(to.args[1])
    aware = clock.replace(tzinfo=zone)
    if utc(aware).replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None) != clock:
        raise _NoForm  # the clock never shows it: an hour is left out in spring
    return fit(aware, to)  # type: ignore[no-any-return]


def _text(value: Any, source: DType) -> str:
    match source.name:
        case "bool":
            return "true" if value else "false"
        case "float64" | "float32" | "float16":
            return _float_text(value, source)
        case "decimal":
            return f"{fit(value, source):f}"
        case "binary":
            try:
                return str(value, "utf-8")
            except UnicodeDecodeError:
                raise _NoForm from None
        case "date" | "time":
            return str(value.isoformat())
        case "datetime":
            digits = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "microseconds"}[source.args[0]]
            return str(value.isoformat(" ", digits))
        case _ if source.is_integer:
            return str(value)
        case _:
            raise ExprError(f"{source} cannot be cast to string")


def _float_text(value: float, source: DType) -> str:
    """The shortest digits that give the number back, as the kernel writes them: 0.00001, 1e-6, 1e+16, NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    digits = repr(value) if source.name == "float64" else _short(value, "f" if source.name == "float32" else "e")
    sign, parts, exponent = Decimal(digits).normalize().as_tuple()
    assert isinstance(exponent, int)
    leading = exponent + len(parts) - 1
    lowest = -5 if source.name == "float64" else -6
    if value != 0 and not lowest <= leading <= 15:
        rest = "".join(map(str, parts[1:]))
        return f"{'-' if sign else ''}{parts[0]}{'.' + rest if rest else ''}e{leading:+d}"
    plain = f"{Decimal(digits):f}"
    return plain if "." in plain else plain + ".0"


def _short(value: float, code: str) -> str:
    for digits in range(1, 18):
        text = f"{value:.{digits}g}"
        if struct.pack(code, float(text)) == struct.pack(code, value):
            return text
    raise AssertionError(value)
