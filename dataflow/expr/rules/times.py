"""Typing rules of dates, times and durations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dataflow.errors import nearest
from dataflow.expr.rules.parts import Operation, Refusal, given, is_, is_instant, is_integer
from dataflow.expr.types import BOOL, DATE, INT32, INT64, NULL, STRING, TIME, DType, datetime_of, duration_of, is_fixed_offset

__all__ = ["OPERATIONS", "SPAN"]

SPAN = re.compile(r"([1-9]\d*)(ns|us|ms|s|m|h|d|w|mo|q|y)")

_clock, _duration, _instant_kinds = is_("datetime", "time"), is_("duration"), "a date or datetime"


def _part(result: DType = INT32) -> Operation:
    return Operation(given(is_instant, result=result, what=_instant_kinds))


_hour = Operation(given(_clock, result=INT32, what="a datetime or time"))
_total = Operation(given(_duration, result=INT64, what="a duration"))
_kept = Operation(given(is_instant, what=_instant_kinds))


_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DAY = 24 * _NANOSECONDS["h"]


def _spanned(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    """A value moved to the border of a span must be one of its type: whole milliseconds know no microseconds, dates no hours."""
    kind = given(is_instant, what=_instant_kinds)(types, options)
    found = SPAN.fullmatch(options["every"])
    if found is None:
        raise Refusal(f"{options['every']!r} is no span: write 15m, 2h, 1d, 1w, 1mo, 1q, 1y")
    length = int(found[1]) * _NANOSECONDS.get(found[2], 0)  # 0: of whole days
    if kind == DATE and length % _DAY and _DAY % length:
        raise Refusal(f"dates have no spans of {options['every']}: it is no number of days, and no part of one")
    if kind.name == "datetime" and length % _NANOSECONDS[kind.args[0]]:
        raise Refusal(f"{options['every']} is no whole number of {kind.args[0]}, which are the parts of {kind}")
    return kind


def _combine(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    given(is_instant, is_("time"), what="a date and a time")(types, options)
    return datetime_of() if types[0] in (DATE, NULL) else types[0]


def _check_zone(zone: str | None, replaced: bool) -> None:
    import zoneinfo  # 5 ms, and few expressions name a zone

    if zone is None or (isinstance(zone, str) and is_fixed_offset(zone) and not replaced):
        return
    if not isinstance(zone, str):
        raise Refusal(f"a time zone is named by a text, such as 'UTC' or 'Europe/Berlin', not by {zone!r}")
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        close = nearest(zone, zoneinfo.available_timezones())
        like = f"; did you mean {close!r}?" if close is not None else ", such as Europe/Berlin"
        raise Refusal(f"there is no time zone {zone!r}{like}") from None


def _in_a_place(operation: Operation) -> Operation:
    """An operation on the clock of a zone, refused for an offset: there the kernel has the moments alone."""

    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        if types[0].name == "datetime" and is_fixed_offset(types[0].args[1]):
            raise Refusal(f"of the offset {types[0].args[1]} no clock is known; .dt.convert_time_zone('UTC'), or of a place, comes before")
        return operation.rule(types, options)

    return replace(operation, rule=rule)


def _zone(replaced: bool) -> Operation:
    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        (kind,) = types
        _check_zone(options["zone"], replaced)
        if kind == NULL:
            return datetime_of("us", options["zone"])
        if kind.name != "datetime" or (kind.args[1] is None and not replaced):
            raise Refusal(f"it takes a datetime{'' if replaced else ' with a zone'}, not {kind}; replace_time_zone gives one a zone")
        return datetime_of(kind.args[0], options["zone"])

    return Operation(rule)


def _epoch(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if options["unit"] not in ("ns", "us", "ms", "s", "d"):
        raise Refusal(f"a unit is ns, us, ms, s or d, not {options['unit']!r}")
    return given(is_instant, result=INT64, what=_instant_kinds)(types, options)


OPERATIONS: dict[str, Operation] = {
    "dt.year": _part(), "dt.iso_year": _part(), "dt.quarter": _part(), "dt.month": _part(), "dt.week": _part(), "dt.weekday": _part(),
    "dt.day": _part(), "dt.ordinal_day": _part(), "dt.days_in_month": _part(), "dt.is_leap_year": _part(BOOL),
    "dt.hour": _hour, "dt.minute": _hour, "dt.second": _hour, "dt.millisecond": _hour, "dt.microsecond": _hour, "dt.nanosecond": _hour,
    "dt.date": _part(DATE), "dt.time": Operation(given(_clock, result=TIME, what="a datetime or time")), "dt.combine": Operation(_combine),
    "dt.offset_by": _kept, "dt.truncate": Operation(_spanned), "dt.round": Operation(_spanned), "dt.month_start": _kept,
    "dt.month_end": _kept,
    "dt.strftime": Operation(given(is_("date", "datetime", "time"), result=STRING, what="a date, datetime or time")),
    "dt.epoch": Operation(_epoch),
    "dt.replace_time_zone": _zone(replaced=True), "dt.convert_time_zone": _zone(replaced=False),
    "dt.total_days": _total, "dt.total_hours": _total, "dt.total_minutes": _total, "dt.total_seconds": _total,
    "dt.total_milliseconds": _total, "dt.total_microseconds": _total,
    "duration": Operation(given(rest=is_integer, result=duration_of(), what="integers")),
}  # fmt: skip
OPERATIONS.update(
    (name, _in_a_place(one))
    for name, one in list(OPERATIONS.items())
    if name.startswith("dt.") and not name.startswith("dt.total_") and name not in ("dt.convert_time_zone", "dt.epoch")
)
