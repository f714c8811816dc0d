"""What a value of a column is: when two are equal, which comes first, and the same value as a type it is promoted to."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct
from collections.abc import Hashable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

from dataflow.expr.types import NULL, DType, promoted
from dataflow.expr.typing import ExprError
from dataflow.record import record

__all__ = ["EXACT", "MICROS", "Site", "extreme", "fit", "identity", "is_nan", "meeting", "order", "truncated", "utc", "zone_of"]

EXACT = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN)  # more digits than any two decimals of 38 can make
MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}  # Python's times end at microseconds, so nanoseconds are not judged


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def utc(value: dt.datetime) -> dt.datetime:
    """The instant, without a zone; Python compares times of one zone by their clocks, which go back once a year."""
    return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)


def identity(value: Any) -> Hashable:
    """Equal exactly where two values of one type are equal: NaN equals NaN, null equals null, 0.0 equals -0.0."""
    match value:
        case float() if math.isnan(value):
            return "nan"
        case dt.datetime():
            return utc(value)
        case list() | tuple():
            return tuple(map(identity, value))
        case dict():
            return tuple(map(identity, value.values()))
        case _:
            return value  # type: ignore[no-any-return]


def order(value: Any) -> Any:
    """Compares as values of one type do: NaN is the largest number, text goes by code point, within lists null comes first."""
    match value:
        case float():
            return (math.isnan(value), 0.0 if math.isnan(value) else value)
        case dt.datetime():
            return utc(value)
        case list() | tuple():
            return [(item is not None, order(item)) if item is not None else (False,) for item in value]
        case dict():
            return order(list(value.values()))
        case _:
            return value


def extreme(values: list[Any], largest: bool) -> Any:
    """The least or the greatest; NaN only if there is nothing else, null if there is nothing."""
    numbers = [value for value in values if not is_nan(value)] or values
    return (max if largest else min)(numbers, key=order) if numbers else None


def meeting(types: tuple[DType, ...]) -> DType:
    """The type in which values of all these are compared and put together."""

    def both(one: DType, two: DType) -> DType:
        found = promoted(one, two)
        if found is None:
            raise ExprError(f"{one} and {two} have no common type")
        return found

    return reduce(both, types, NULL)


def fit(value: Any, kind: DType) -> Any:
    """The value as one of a type it is promoted to, or as the result of a computation of that type.

    Integers wrap around as in the kernel, floats are rounded to their width, a decimal that has too many digits is an error.
    """
    if value is None:
        return None
    match kind.name:
        case "decimal":
            return _decimal(value, *kind.args)
        case "float64":
            return float(value)
        case "float32" | "float16":
            return _narrow(float(value), "f" if kind.name == "float32" else "e")
        case "date":
            return value.date() if isinstance(value, dt.datetime) else value
        case "datetime":
            return _instant(value, *kind.args)
        case "duration":
            return dt.timedelta(microseconds=truncated(value, kind.args[0]))
        case "list" | "array":
            return [fit(item, kind.args[0]) for item in value]
        case "map":
            pairs = value.items() if isinstance(value, dict) else value
            return [(fit(key, kind.args[0]), fit(one, kind.args[1])) for key, one in pairs]
        case "struct":
            return {name: fit(value.get(name), inner) for name, inner in kind.args}
        case _ if kind.is_integer:
            return _wrapped(int(value), kind)
        case _:
            return value


@record(eq=True)
class Site:
    """Where an operation stands: the types of its arguments, of its result, and its options."""

    types: tuple[DType, ...]
    result: DType
    options: Mapping[str, Any]

    def met(self, *values: Any) -> list[Any]:
        """The arguments in the type in which they meet."""
        kind = meeting(self.types)
        return [fit(value, kind) for value in values]


def _wrapped(value: int, kind: DType) -> int:
    size = 1 << int(kind.name.removeprefix("u").removeprefix("int"))
    found = value % size
    return found - size if kind.name[0] == "i" and found >= size // 2 else found


def _narrow(value: float, code: str) -> float:
    try:
        return float(struct.unpack(code, struct.pack(code, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _decimal(value: Any, precision: int, scale: int) -> Decimal:
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    limit = Decimal(1).scaleb(precision - scale)
    if exact.is_finite() and exact.copy_abs() <= limit:  # `abs` would round to Python's 28 digits
        found = exact.quantize(Decimal(1).scaleb(-scale), context=EXACT)
        if found.copy_abs() < limit:
            return found
    raise OverflowError(f"{value} does not fit decimal({precision}, {scale})")


def _instant(value: dt.date, unit: str, zone: str | None) -> dt.datetime:
    """A date is its midnight; a coarser unit goes down; a zone shows the same instant, one without a zone is UTC's."""
    when = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())
    plain = utc(when)
    plain = plain.replace(microsecond=plain.microsecond // MICROS[unit] * MICROS[unit] if unit != "s" else 0)
    return plain if zone is None else plain.replace(tzinfo=dt.UTC).astimezone(zone_of(zone))


def zone_of(name: str) -> dt.tzinfo:
    """A zone by name or, as Arrow allows, by offset: "+02:00"."""
    if name[0] in "+-":
        hours, minutes = name[1:].split(":")
        offset = dt.timedelta(hours=int(hours), minutes=int(minutes))
        return dt.timezone(offset if name[0] == "+" else -offset)
    return ZoneInfo(name)


def truncated(value: dt.timedelta, unit: str) -> int:
    """A duration's microseconds, cut toward zero to whole units."""
    size = MICROS[unit]
    return math.trunc(Fraction(value // dt.timedelta(microseconds=1), size)) * size
