"""The types of columns: Arrow's, spelled as Polars spells them, as plain values that print and compare.

    null bool  int8…int64 uint8…uint64  float16 float32 float64  decimal(p, s)  string binary
    date time datetime[unit, tz] duration[unit]  list[t] array[t, n] struct{name: t, …} map[k, v]
    other(…)     an Arrow type that is carried through and cannot be computed with

>>> parse_type("list[decimal(15, 2)]")
DType('list[decimal(15, 2)]')
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.errors import nearest

__all__ = [
    "BINARY", "BOOL", "DATE", "DType", "FLOAT32", "FLOAT64", "INT32", "INT64", "NULL", "STRING", "Schema", "TIME",
    "array_of", "datetime_of", "decimal_of", "duration_of", "is_fixed_offset", "list_of", "map_of", "other", "parse_type", "promoted",
    "struct_of", "type_from",
]  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class DType:
    """The type of a column. ``args`` by name: decimal (precision, scale); datetime (unit, zone or None); duration (unit,);
    list (item,); array (item, length); struct ((name, type), …); map (key, value); other (Arrow's spelling,)."""

    name: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        match self.name:
            case "decimal":
                return f"decimal({self.args[0]}, {self.args[1]})"
            case "datetime":
                return f"datetime[{self.args[0]}, {self.args[1]}]" if self.args[1] else f"datetime[{self.args[0]}]"
            case "duration":
                return f"duration[{self.args[0]}]"
            case "list":
                return f"list[{self.args[0]}]"
            case "array":
                return f"array[{self.args[0]}, {self.args[1]}]"
            case "struct":
                return "struct{" + ", ".join(f"{name}: {kind}" for name, kind in self.args) + "}"
            case "map":
                return f"map[{self.args[0]}, {self.args[1]}]"
            case "other":
                return f"other({self.args[0]})"
            case _:
                return self.name

    def __repr__(self) -> str:
        return f"DType({str(self)!r})"

    @property
    def is_integer(self) -> bool:
        return self.name in _INTEGERS

    @property
    def is_float(self) -> bool:
        return self.name in _FLOATS

    @property
    def is_numeric(self) -> bool:
        return self.is_integer or self.is_float or self.name == "decimal"

    @property
    def is_temporal(self) -> bool:
        return self.name in ("date", "time", "datetime", "duration")

    @property
    def is_nested(self) -> bool:
        return self.name in ("list", "array", "struct", "map")


Schema = Mapping[str, DType]

_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
_INTEGERS = frozenset(_SIGNED + _UNSIGNED)
_FLOATS = frozenset(("float16", "float32", "float64"))
_BITS = {name: int(re.sub(r"\D", "", name)) for name in (*_INTEGERS, *_FLOATS)}

NULL, BOOL, STRING, BINARY, DATE, TIME = (DType(name) for name in ("null", "bool", "string", "binary", "date", "time"))
INT32, INT64, FLOAT32, FLOAT64 = (DType(name) for name in ("int32", "int64", "float32", "float64"))
_PLAIN = frozenset(("null", "bool", "string", "binary", "date", "time")) | _INTEGERS | _FLOATS
MOST_DIGITS = 38


def decimal_of(precision: int, scale: int) -> DType:
    """A decimal; digits beyond Arrow's 38 are cut at the left, so an overflow is an error when it happens, not a rounding."""
    return DType("decimal", (min(precision, MOST_DIGITS), min(scale, MOST_DIGITS)))


def datetime_of(unit: str = "us", zone: str | None = None) -> DType:
    return DType("datetime", (unit, zone))


def duration_of(unit: str = "us") -> DType:
    return DType("duration", (unit,))


def list_of(item: DType) -> DType:
    return DType("list", (item,))


def array_of(item: DType, length: int) -> DType:
    return DType("array", (item, length))


def struct_of(fields: Mapping[str, DType]) -> DType:
    return DType("struct", tuple(fields.items()))


def map_of(key: DType, value: DType) -> DType:
    return DType("map", (key, value))


def other(text: str) -> DType:
    return DType("other", (text,))


def is_fixed_offset(zone: str | None) -> bool:
    """Whether a zone is an offset, which the kernel library does not know as one.

    >>> is_fixed_offset("+05:30"), is_fixed_offset("Asia/Kolkata"), is_fixed_offset(None)
    (True, False, False)
    """
    return zone is not None and re.fullmatch(r"[+-]([01]\d|2[0-3]):[0-5]\d", zone) is not None


_PYTHON: dict[Any, DType] = {
    bool: BOOL, int: INT64, float: FLOAT64, str: STRING, bytes: BINARY, dt.date: DATE, dt.time: TIME, dt.datetime: datetime_of(),
    dt.timedelta: duration_of(), decimal.Decimal: decimal_of(38, 9), type(None): NULL,
}  # fmt: skip
_ALIASES = {
    "str": "string", "utf8": "string", "large_string": "string", "string_view": "string", "varchar": "string", "text": "string",
    "int": "int64",
    "bigint": "int64", "integer": "int32", "smallint": "int16", "tinyint": "int8", "float": "float64", "double": "float64",
    "real": "float32",
    "halffloat": "float16", "boolean": "bool", "bytes": "binary", "large_binary": "binary", "binary_view": "binary", "date32[day]": "date",
    "date32": "date", "timestamp": "datetime", "time64[us]": "time", "time64[ns]": "time",
}  # fmt: skip


def type_from(given: Any) -> DType:
    """A type from what users write: a `DType`, a Python type, an Arrow type, or text in our, SQL's, or Arrow's simple spelling.

    >>> type_from(int), type_from("decimal(15, 2)"), type_from("timestamp[us, tz=UTC]")
    (DType('int64'), DType('decimal(15, 2)'), DType('datetime[us, UTC]'))
    >>> import pyarrow as pa
    >>> type_from(pa.list_(pa.float32()))
    DType('list[float32]')
    """
    if isinstance(given, DType):
        return given
    if type(given).__module__.startswith("pyarrow"):
        return _from_arrow(given)
    try:
        if given in _PYTHON:
            return _PYTHON[given]
    except TypeError:
        pass
    return parse_type(str(given))


def _from_arrow(given: Any) -> DType:
    """An Arrow type by what it says of itself; `kernels.types` knows those of data, and what is only carried."""
    text = str(given)
    match re.split(r"[<\[]", text)[0]:
        case "float":  # which is a double for everybody else
            return FLOAT32
        case "list" | "large_list" | "list_view" | "large_list_view":
            return list_of(_from_arrow(given.value_type))
        case "fixed_size_list":
            return array_of(_from_arrow(given.value_type), given.list_size)
        case "struct":
            return struct_of({field.name: _from_arrow(field.type) for field in given})
        case "map":
            return map_of(_from_arrow(given.key_type), _from_arrow(given.item_type))
        case "dictionary" | "run_end_encoded":
            return _from_arrow(given.value_type)
        case "fixed_size_binary":
            return BINARY
        case "date64":
            return datetime_of("ms")
        case "time32":
            return TIME
        case _:
            return parse_type(text)


def parse_type(text: str) -> DType:
    """A type from its text. Raises ValueError for what is none."""
    spelled = text.strip()
    low = spelled.lower()
    low = _ALIASES.get(low, low)
    if low in _PLAIN:
        return DType(low)
    if low == "datetime":
        return datetime_of()
    if low == "duration":
        return duration_of()
    if found := re.fullmatch(r"(?:decimal|decimal128|numeric)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", low):
        return decimal_of(int(found[1]), int(found[2] or 0))
    if found := re.fullmatch(r"(?:datetime|timestamp)\[\s*(s|ms|us|ns)\s*(?:,\s*(?:tz=)?(.+?))?\s*\]", spelled, re.IGNORECASE):
        return datetime_of(found[1].lower(), found[2])
    if found := re.fullmatch(r"duration\[\s*(s|ms|us|ns)\s*\]", low):
        return duration_of(found[1])
    if found := re.fullmatch(r"list\[(.*)\]", spelled, re.IGNORECASE | re.DOTALL):
        return list_of(parse_type(found[1]))
    if found := re.fullmatch(r"array\[(.*),\s*(\d+)\s*\]", spelled, re.IGNORECASE | re.DOTALL):
        return array_of(parse_type(found[1]), int(found[2]))
    if found := re.fullmatch(r"struct\s*\{(.*)\}", spelled, re.IGNORECASE | re.DOTALL):
        fields = [part.partition(":") for part in _apart(found[1])]
        return struct_of({name.strip(): parse_type(kind) for name, _, kind in fields})
    if found := re.fullmatch(r"map\[(.*)\]", spelled, re.IGNORECASE | re.DOTALL):
        kinds = _apart(found[1])
        if len(kinds) == 2:
            return map_of(parse_type(kinds[0]), parse_type(kinds[1]))
    close = nearest(low, [*_PLAIN, *_ALIASES, "decimal(10, 2)", "datetime", "duration"])
    like = f"did you mean {close!r}?" if close is not None else "such as 'int64', 'decimal(15, 2)', 'datetime[us, UTC]', 'list[string]'"
    raise ValueError(f"there is no column type {text!r}; {like}")


def _apart(text: str) -> list[str]:
    """What stands between the commas that are in no brackets.

    >>> _apart("a: decimal(15, 2), b: list[int64]")
    ['a: decimal(15, 2)', ' b: list[int64]']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def promoted(one: DType, two: DType) -> DType | None:
    """The type in which values of both can be compared and put together; None where there is none.

    null gives way to anything; integers widen; integer with float is float64 (float32 for up to 16 bits); decimal with
    integer is decimal, with float float64. uint64 with a signed integer is decimal(20, 0), which holds both.
    """
    if one == two or two == NULL:
        return one
    if one == NULL:
        return two
    if one.is_numeric and two.is_numeric:
        return _number(one, two)
    if {one.name, two.name} == {"date", "datetime"}:
        return one if one.name == "datetime" else two
    if one.name == two.name == "datetime" and (one.args[1] is None) == (two.args[1] is None):
        return datetime_of(_finer(one.args[0], two.args[0]), one.args[1] if one.args[1] == two.args[1] else "UTC")
    if one.name == two.name == "duration":
        return duration_of(_finer(one.args[0], two.args[0]))
    if one.name == two.name == "list":
        inner = promoted(one.args[0], two.args[0])
        return list_of(inner) if inner is not None else None
    if one.name == two.name == "struct" and [n for n, _ in one.args] == [n for n, _ in two.args]:
        fields = {n: promoted(a, b) for (n, a), (_, b) in zip(one.args, two.args, strict=True)}
        return struct_of(fields) if None not in fields.values() else None  # type: ignore[arg-type]
    return None


def _number(one: DType, two: DType) -> DType:
    if one.is_float or two.is_float:
        if one.is_float and two.is_float:
            return max(one, two, key=lambda t: _BITS[t.name])
        real, whole = (one, two) if one.is_float else (two, one)
        small = whole.is_integer and _BITS[whole.name] <= 16
        return real if small and real.name != "float16" else FLOAT64
    if one.name == "decimal" or two.name == "decimal":
        (p1, s1), (p2, s2) = _digits(one), _digits(two)
        scale = max(s1, s2)
        return decimal_of(max(p1 - s1, p2 - s2) + scale, scale)
    if one.name[0] == two.name[0]:
        return max(one, two, key=lambda t: _BITS[t.name])
    unsigned, signed = (one, two) if one.name[0] == "u" else (two, one)
    bits = max(2 * _BITS[unsigned.name], _BITS[signed.name])
    return DType(f"int{bits}") if bits <= 64 else decimal_of(20, 0)


def _digits(kind: DType) -> tuple[int, int]:
    if kind.name == "decimal":
        return kind.args
    return {8: 3, 16: 5, 32: 10, 64: 20 if kind.name[0] == "u" else 19}[_BITS[kind.name]], 0


def _finer(one: str, two: str) -> str:
    order = ("s", "ms", "us", "ns")
    return max(one, two, key=order.index)
