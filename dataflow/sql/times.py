"""Dates and intervals in expressions: date + interval, date - date, extract, date_trunc, datediff."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from sqlglot import exp

from dataflow.expr.nodes import Call, Cast, ExprNode, Literal
from dataflow.expr.types import INT64, datetime_of
from dataflow.sql import literals
from dataflow.sql.errors import refuse

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["arithmetic", "between", "on_time"]

_DAY = Literal(dt.timedelta(days=1))
_STEPS = {
    "hour": ("1h", dt.timedelta(hours=1)), "minute": ("1m", dt.timedelta(minutes=1)),
    "second": ("1s", dt.timedelta(seconds=1)),
}  # fmt: skip


def arithmetic(of: Expressions, node: exp.Expr) -> ExprNode | None:
    """Addition and subtraction of an interval; None for other arithmetic."""
    if not isinstance(node, (exp.Add, exp.Sub)):
        return None
    sign = 1 if isinstance(node, exp.Add) else -1
    one, two = _open(node.this), _open(node.expression)
    if isinstance(two, (exp.Interval, exp.ToDays)):
        return _moved(of, of.expr(one), literals.read_span(two), sign, node)
    if isinstance(one, (exp.Interval, exp.ToDays)) and sign == 1:
        return _moved(of, of.expr(two), literals.read_span(one), 1, node)
    return None


def between(of: Expressions, left: ExprNode, right: ExprNode, node: exp.Expr) -> ExprNode | None:
    """date - date and date + 3; None where no date takes part."""
    sign = 1 if isinstance(node, exp.Add) else -1
    kinds = of.type(left).name, of.type(right).name
    if kinds == ("date", "date") and sign == -1:
        return _days(left, right)
    if kinds[0] == "date" and of.type(right).is_integer:
        return _plus_days(of, left, right, sign, node)
    if kinds[1] == "date" and of.type(left).is_integer and sign == 1:
        return _plus_days(of, right, left, 1, node)
    return None


def _open(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _plus_days(of: Expressions, value: ExprNode, days: ExprNode, sign: int, node: exp.Expr) -> ExprNode:
    if isinstance(days, Literal):
        return _moved(of, value, ((days.value, "d"),), sign, node)
    return Call("add" if sign == 1 else "subtract", (value, Call("multiply", (_DAY, days))))


def _moved(of: Expressions, value: ExprNode, span: literals.Span, sign: int, node: exp.Expr) -> ExprNode:
    if isinstance(value, Literal) and isinstance(value.value, str):
        value = literals.literal_as(value.value, datetime_of() if len(value.value) > 10 else of.build.type_of(Literal(dt.date.min)), node)
    if isinstance(value, Literal) and isinstance(value.value, dt.date):
        return Literal(literals.moved(value.value, span, sign, node))
    kind = of.type(value)
    if kind.name not in ("date", "datetime", "duration", "null"):
        refuse(node, f"an interval is added to a date or a timestamp, not to {kind}", "cast it: CAST(x AS DATE)")
    if kind.name == "duration":
        return Call("add" if sign == 1 else "subtract", (value, Literal(literals.duration(span, node))))
    if kind.name == "date" and any(unit not in ("y", "mo", "d") for _, unit in span):
        value = Cast(value, datetime_of())
    for count, unit in span:
        value = Call("dt.offset_by", (value,), (("by", f"{sign * count}{unit}"),))
    return value


def _days(left: ExprNode, right: ExprNode) -> ExprNode:
    """date - date is a number of days."""
    return Cast(Call("divide", (Call("subtract", (left, right)), _DAY)), INT64)


def on_time(of: Expressions, node: exp.Expr) -> ExprNode | None:
    """The functions of dates whose parts are named by words; None for any other."""
    match node:
        case exp.Interval() | exp.ToDays():
            return Literal(literals.duration(literals.read_span(node), node))
        case exp.Extract():
            return _part(of, node.this.name, node.expression, node)
        case exp.Anonymous() if str(node.this).lower() in ("date_part", "datepart") and len(node.expressions) == 2:
            return _part(of, str(of.constant(node.expressions[0], "the part")), node.expressions[1], node)
        case exp.Quarter():
            return _part(of, "quarter", node.this, node)
        case exp.DayOfWeek():
            return _part(of, "dow", node.this, node)
        case exp.Anonymous() if str(node.this).lower() == "weekday" and len(node.expressions) == 1:
            return _part(of, "dow", node.expressions[0], node)
        case exp.TimeToUnix():
            return _part(of, "epoch", node.this, node)
        case exp.UnixToTime() if of.type(of.expr(node.this)).name in ("date", "datetime"):  # epoch_ms of a time, as DuckDB has it
            return Call("dt.epoch", (of.expr(node.this),), (("unit", "ms"),))
        case exp.Anonymous() if str(node.this).lower() in ("epoch_us", "epoch_ns") and len(node.expressions) == 1:
            return Call("dt.epoch", (of.expr(node.expressions[0]),), (("unit", str(node.this).lower()[-2:]),))
        case exp.TimeToStr():
            form = _format(of, node, {"%f": "%6f", "%g": "%3f"})
            return Call("dt.strftime", (of.expr(node.this),), (("format", form),))
        case exp.StrToTime():
            form = _format(of, node, {".%f": "%.f", ".%g": "%.f"})
            return Call("str.to_datetime", (of.expr(node.this),), (("format", form), ("zone", None), ("unit", "us"), ("strict", True)))
        case exp.TimestampTrunc() | exp.DateTrunc():
            return _truncated(of, node)
        case exp.DateDiff():
            return _difference(of, node)
        case exp.DateAdd() | exp.DateSub() if isinstance(node.expression, (exp.Interval, exp.ToDays)):
            sign = 1 if isinstance(node, exp.DateAdd) else -1
            return _moved(of, of.expr(node.this), literals.read_span(node.expression), sign, node)
        case exp.AddMonths():
            return _moved(of, of.expr(node.this), ((int(of.constant(node.expression, "the months")), "mo"),), 1, node)
        case exp.AtTimeZone():
            return _at_zone(of, node)
        case exp.DateFromParts():
            parts = [of.expr(node.args[key]) if node.args.get(key) is not None else Literal(None) for key in ("year", "month", "day")]
            if not all(isinstance(part, Literal) for part in parts):
                refuse(node, "make_date takes constants here", "strptime(concat(y, '-', m, '-', d), '%Y-%m-%d')::date")
            try:
                return Literal(dt.date(*(part.value for part in parts if isinstance(part, Literal))))
            except (TypeError, ValueError) as error:
                return refuse(node, f"make_date: {error}")
        case exp.CurrentDate() | exp.CurrentTimestamp() | exp.Rand():
            return refuse(node, "this value differs from run to run", "put a constant into the text: date '2024-01-31'")
        case _:
            return None


def _format(of: Expressions, node: exp.Expr, fractions: dict[str, str]) -> str:
    """DuckDB's %f is of six digits and its %g of three, where those of the operations are of nine and of a week's year."""
    form = of.constant(node.args.get("format"), "the format")
    if not isinstance(form, str):
        refuse(node, "the format of a time is text", "strftime(t, '%Y-%m-%d')")
    return re.sub(
        r"%%|\.?%[fg]",
        lambda found: next((found[0].removesuffix(a) + b for a, b in fractions.items() if found[0].endswith(a)), found[0]),
        form,
    )


def _at_zone(of: Expressions, node: exp.AtTimeZone) -> ExprNode:
    """Of a clock the moment when it says so in a zone; of a moment what a clock there says."""
    value, zone = of.expr(node.this), of.constant(node.args["zone"], "the time zone")
    kind = of.type(value)
    if kind.name not in ("date", "datetime", "null"):
        refuse(node, f"AT TIME ZONE is of a timestamp, not of {kind}", "cast it: CAST(x AS TIMESTAMP)")
    if not isinstance(zone, str):
        refuse(node, f"{zone!r} is no time zone", "name one: 'Europe/Berlin'")
    if kind.name == "datetime" and kind.args[1] is not None:
        there = Call("dt.convert_time_zone", (value,), (("zone", zone),))
        return Call("dt.replace_time_zone", (there,), (("strict", True), ("zone", None)))
    clock = value if kind.name == "datetime" else Cast(value, datetime_of())
    return Call("dt.replace_time_zone", (clock,), (("strict", True), ("zone", zone)))


def _part(of: Expressions, part: str, value: exp.Expr, node: exp.Expr) -> ExprNode:
    expr, name = of.expr(value), part.lower()
    if isinstance(expr, Literal) and isinstance(expr.value, str):
        refuse(node, "this is text, not a date", f"date {expr.value!r}")
    plain = {"year": "dt.year", "month": "dt.month", "day": "dt.day", "hour": "dt.hour", "minute": "dt.minute", "second": "dt.second",
             "quarter": "dt.quarter", "week": "dt.week", "dayofyear": "dt.ordinal_day", "doy": "dt.ordinal_day",
             "isodow": "dt.weekday"}  # fmt: skip
    if (operation := plain.get(name)) is not None:
        return Call(operation, (expr,))
    match name.removesuffix("s"):
        case "dow" | "dayofweek":  # Sunday is 0
            return Call("modulo", (Call("dt.weekday", (expr,)), Literal(7)))
        case "epoch":
            return Call("divide", (Call("dt.epoch", (expr,), (("unit", "us"),)), Literal(1_000_000)))
        case "millisecond" | "microsecond" as small:  # with the seconds
            seconds = Call("multiply", (Call("dt.second", (expr,)), Literal(1000 if small == "millisecond" else 1_000_000)))
            return Call("add", (seconds, Call(f"dt.{small}", (expr,))))
        case _:
            return refuse(
                node, f"extract({part}) is not supported", "extract takes YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, EPOCH, …"
            )


def _truncated(of: Expressions, node: exp.Expr) -> ExprNode:
    unit, value = node.args["unit"].name.lower(), of.expr(node.this)
    every = {"year": "1y", "quarter": "3mo", "month": "1mo", "week": "1w", "day": "1d", "hour": "1h", "minute": "1m", "second": "1s"}.get(
        unit
    )
    if every is not None:
        return Call("dt.truncate", (value,), (("every", every),))
    return refuse(node, f"date_trunc to {unit} is not supported", "group by year(d), month(d)")


def _difference(of: Expressions, node: exp.Expr) -> ExprNode:
    unit = node.args["unit"].name.lower() if node.args.get("unit") is not None else "day"
    end, start = of.expr(node.this), of.expr(node.expression)
    years = Call("subtract", (Call("dt.year", (end,)), Call("dt.year", (start,))))
    if unit in ("day", "week"):  # of seven days, whatever day it begins on
        days = _days(Call("dt.date", (end,)), Call("dt.date", (start,)))
        return days if unit == "day" else Call("floor_divide", (days, Literal(7)), (("toward_zero", True),))
    if unit == "year":
        return years
    if unit in ("month", "quarter"):
        parts = Call("subtract", (Call(f"dt.{unit}", (end,)), Call(f"dt.{unit}", (start,))))
        return Call("add", (Call("multiply", (years, Literal(12 if unit == "month" else 4))), parts))
    if unit in _STEPS:  # how many of its beginnings lie between
        every, step = _STEPS[unit]
        ends = [Call("dt.truncate", (Cast(one, datetime_of()),), (("every", every),)) for one in (end, start)]
        return Cast(Call("divide", (Call("subtract", tuple(ends)), Literal(step))), INT64)
    return refuse(node, f"datediff in {unit} is not supported", "datediff takes year, quarter, month, week, day, hour, minute, second")
