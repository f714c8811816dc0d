"""Constants of SQL: numbers, dates, intervals, and what is computed from constants alone."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from sqlglot import exp

from dataflow.expr.nodes import ExprNode, Literal
from dataflow.expr.types import BINARY, BOOL, DATE, STRING, TIME, DType, datetime_of, decimal_of, duration_of, list_of, struct_of
from dataflow.sql.errors import refuse

__all__ = ["Span", "as_text", "folded", "literal_as", "moved", "number", "read_span", "type_named"]

Span = tuple[tuple[int, str], ...]  # ((3, "mo"), (1, "d")), in the units of dt.offset_by

_UNITS = {
    "year": (1, "y"), "quarter": (3, "mo"), "month": (1, "mo"), "week": (7, "d"), "day": (1, "d"), "hour": (1, "h"), "minute": (1, "m"),
    "second": (1, "s"), "millisecond": (1, "ms"), "microsecond": (1, "us"), "decade": (10, "y"), "century": (100, "y"),
    "yr": (1, "y"), "mon": (1, "mo"), "min": (1, "m"), "sec": (1, "s"),
}  # fmt: skip
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_TYPES: dict[str, DType] = {
    "BOOLEAN": BOOL, "TINYINT": DType("int8"), "SMALLINT": DType("int16"), "INT": DType("int32"), "MEDIUMINT": DType("int32"),
    "BIGINT": DType("int64"), "INT128": decimal_of(38, 0), "UTINYINT": DType("uint8"), "USMALLINT": DType("uint16"),
    "UINT": DType("uint32"),
    "UBIGINT": DType("uint64"), "FLOAT": DType("float32"), "DOUBLE": DType("float64"), "TEXT": STRING, "VARCHAR": STRING, "CHAR": STRING,
    "NVARCHAR": STRING, "NCHAR": STRING, "VARBINARY": BINARY, "BINARY": BINARY, "BLOB": BINARY, "DATE": DATE, "DATE32": DATE, "TIME": TIME,
    "TIMESTAMP": datetime_of(), "TIMESTAMPNTZ": datetime_of(), "DATETIME": datetime_of(), "TIMESTAMPTZ": datetime_of("us", "UTC"),
    "TIMESTAMP_S": datetime_of("s"), "TIMESTAMP_MS": datetime_of("ms"), "TIMESTAMP_NS": datetime_of("ns"), "INTERVAL": duration_of(),
}  # fmt: skip


def type_named(node: exp.DataType) -> DType:
    """A type of CAST."""
    name = str(getattr(node.this, "value", node.this)).upper()
    inner = node.expressions
    if name in ("ARRAY", "LIST") and inner:
        return list_of(type_named(inner[0]))
    if name == "STRUCT" and inner:
        return struct_of({field.name: type_named(field.args["kind"]) for field in inner})
    if name == "DECIMAL":
        digits = [int(one.name) for one in inner]
        return decimal_of(*(digits if len(digits) == 2 else [digits[0], 0] if digits else [18, 3]))
    if name not in _TYPES:
        refuse(
            node, f"there is no column type {node.sql()!r} here", "INT, BIGINT, DOUBLE, DECIMAL(p, s), TEXT, DATE, TIMESTAMP, BOOLEAN, …"
        )
    return _TYPES[name]


def number(node: exp.Literal) -> Literal:
    """12 is an int, 0.05 exact, 1e3 a float."""
    text = node.name
    try:
        if re.fullmatch(r"\d+", text):
            if len(text.lstrip("0")) > 38:
                raise ValueError(text)
            return Literal(int(text))
        if "e" in text.lower():
            if float(text) in (float("inf"),):
                raise ValueError(text)
            return Literal(float(text))
        value = Decimal(text)
    except (ValueError, InvalidOperation):
        refuse(node, f"{text[:40]} is too large a number, or none", "numbers have up to 38 digits, or an exponent up to 308")
    if len(value.as_tuple().digits) > 38:
        refuse(node, f"a number of {len(text)} digits, more than 38", "write it as a float: 1.5e0")
    return Literal(value)


def literal_as(value: str, kind: DType, node: exp.Expr) -> Literal:
    """A text constant as a value of another type: '1995-03-15' beside a date."""
    text = value.strip()
    try:
        match kind.name:
            case "date":
                return Literal(dt.date.fromisoformat(text[:10] if len(text) > 10 and text[10] in " T" else text))
            case "datetime":
                found = dt.datetime.fromisoformat(text)
                if kind.args[1] and found.tzinfo is None:
                    found = found.replace(tzinfo=dt.UTC)
                return Literal(found.astimezone(dt.UTC) if found.tzinfo else found, kind)
            case "time":
                return Literal(dt.time.fromisoformat(text))
            case "bool":
                if text.lower() in ("true", "t", "1", "false", "f", "0"):
                    return Literal(text.lower() in ("true", "t", "1"))
            case _ if kind.is_integer:
                return Literal(int(text))
            case _ if kind.is_float:
                return Literal(float(text))
            case "decimal":
                return Literal(Decimal(text))
            case _:
                pass
    except (ValueError, InvalidOperation):
        pass
    return refuse(node, f"{value[:40]!r} is no {kind}", "dates are written as '1995-03-15'" if kind.is_temporal else "")


def as_text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def folded(operation: str, one: ExprNode, two: ExprNode) -> ExprNode | None:
    """The value of arithmetic on two exact constants (.06 - 0.01), None where it is not that."""
    if not (isinstance(one, Literal) and isinstance(two, Literal)):
        return None
    a, b = one.value, two.value
    if not all(type(value) in (int, Decimal) for value in (a, b)) or one.type or two.type:
        return None
    result = {"add": lambda: a + b, "subtract": lambda: a - b, "multiply": lambda: a * b}.get(operation)
    with localcontext(prec=100):  # exact: each has up to 38 digits
        value = result() if result is not None else None
    if value is None or len(Decimal(value).as_tuple().digits) > 38:
        return None
    return Literal(value)


def read_span(node: exp.Expr) -> Span:
    """INTERVAL '3' MONTH, INTERVAL '1 year 2 months', to_days(3) as a span."""
    if isinstance(node, exp.ToDays):
        return ((_whole(node.this, node), "d"),)
    assert isinstance(node, exp.Interval)
    amount = node.this
    while isinstance(amount, (exp.Paren, exp.Cast)):
        amount = amount.this
    sign = 1
    if isinstance(amount, exp.Neg):
        sign, amount = -1, amount.this
    if not isinstance(amount, exp.Literal):
        refuse(node, "an interval of a column's length is not supported", "write a constant: INTERVAL 3 DAY")
    text, unit = amount.name, node.args.get("unit")
    words = f"{text} {unit.name}" if unit is not None else text
    parts = re.findall(r"([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]+)", words)
    if not parts or re.sub(r"([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]+)", "", words).strip(" ,"):
        refuse(node, f"{words[:40]!r} is no interval", "write INTERVAL '3' MONTH or INTERVAL '1 day 2 hours'")
    span = []
    for count, word in parts:
        found = _UNITS.get(word.lower().removesuffix("s")) or _UNITS.get(word.lower())
        if found is None or not count.lstrip("+-").isdigit():
            refuse(node, f"an interval of {count} {word} is not supported", f"whole numbers of {', '.join(list(_UNITS)[:8])}")
        span.append((sign * int(count) * found[0], found[1]))
    return tuple(span)


def _whole(node: exp.Expr, around: exp.Expr) -> int:
    sign = -1 if isinstance(node, exp.Neg) else 1
    node = node.this if isinstance(node, exp.Neg) else node
    if not isinstance(node, exp.Literal) or not node.name.isdigit():
        refuse(around, "an interval of a column's length is not supported", "write a constant: INTERVAL 3 DAY")
    return sign * int(node.name)


def moved(value: dt.date, span: Span, sign: int, node: exp.Expr) -> dt.date:
    """A date or datetime moved by a span; the end of a month stays within it."""
    try:
        for count, unit in span:
            count *= sign
            if unit in ("y", "mo"):
                months = value.year * 12 + value.month - 1 + count * (12 if unit == "y" else 1)
                year, month = divmod(months, 12)
                value = value.replace(year=year, month=month + 1, day=min(value.day, calendar.monthrange(year, month + 1)[1]))
            else:
                if unit != "d" and not isinstance(value, dt.datetime):
                    value = dt.datetime(value.year, value.month, value.day)
                value += duration(((count, unit),), node)
    except (OverflowError, ValueError, calendar.IllegalMonthError):
        refuse(node, "this date is before year 1 or after 9999")
    return value


def duration(span: Span, node: exp.Expr) -> dt.timedelta:
    """A span of days and less, as a duration."""
    total = dt.timedelta()
    for count, unit in span:
        if unit in ("y", "mo"):
            refuse(node, "an interval of months or years has no fixed length", "add it to a date or timestamp")
        if unit in _SECONDS:
            total += dt.timedelta(seconds=count * _SECONDS[unit])
        else:
            total += dt.timedelta(milliseconds=count) if unit == "ms" else dt.timedelta(microseconds=count)
    return total
