"""What operations on dates, times and durations mean. A span of the clock counts instants, a span of the calendar moves the clock."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from runners.reference.values import utc

__all__ = ["MEANINGS", "between", "moved", "offset_by", "span"]

_PART = re.compile(r"(\d+)(ns|us|ms|mo|[smhdwqy])")
_CLOCK = {"ns": 0.001, "us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def moved(when: Any, by: dt.timedelta) -> Any:
    """A time later by a duration. A date goes down to its day, a time goes around at midnight, one with a zone moves as an instant."""
    match when:
        case dt.timedelta():
            return when + by
        case dt.time():
            return (dt.datetime.combine(dt.date(2000, 1, 1), when) + by).time()
        case dt.datetime() if when.tzinfo is not None:
            return (utc(when) + by).replace(tzinfo=dt.UTC).astimezone(when.tzinfo)
        case dt.datetime():
            return when + by
        case _:
            return (dt.datetime.combine(when, dt.time()) + by).date()


def between(one: dt.date, two: dt.date) -> dt.timedelta:
    """From the second to the first, as instants."""
    return utc(one) - utc(two) if isinstance(one, dt.datetime) and isinstance(two, dt.datetime) else one - two


def _parts(by: str) -> dict[str, int]:
    """ "1y3mo2d": how many of each unit; one minus in front goes for all."""
    text, sign = (by[1:], -1) if by.startswith("-") else (by, 1)
    if not text or _PART.sub("", text):
        raise ValueError(f"{by!r} is no calendar span: write 3mo, -1y, 2d12h")
    found: dict[str, int] = {}
    for count, unit in _PART.findall(text):
        found[unit] = found.get(unit, 0) + sign * int(count)
    return found


def span(by: str) -> dt.timedelta:
    """A span without months, as a duration."""
    parts = _parts(by)
    if parts.keys() & {"mo", "q", "y"}:
        raise ValueError(f"{by!r} is not always equally long")
    days = parts.get("d", 0) + 7 * parts.get("w", 0)
    return dt.timedelta(days=days, microseconds=int(sum(count * _CLOCK[unit] for unit, count in parts.items() if unit in _CLOCK)))


def offset_by(when: Any, by: str) -> Any:
    """Months first (the 31st becomes the last day of a shorter month), then days, then the clock."""
    parts = _parts(by)
    months = parts.get("mo", 0) + 3 * parts.get("q", 0) + 12 * parts.get("y", 0)
    days = parts.get("d", 0) + 7 * parts.get("w", 0)
    year, month = divmod(when.year * 12 + when.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    found = when.replace(year=year, month=month + 1, day=min(when.day, last)) + dt.timedelta(days=days)
    if isinstance(when, dt.datetime) and when.tzinfo is not None and (months or days):
        found = _on_clock(found, when)
    clock = dt.timedelta(microseconds=int(sum(count * _CLOCK[unit] for unit, count in parts.items() if unit in _CLOCK)))
    return moved(found, clock)


def _on_clock(clock: dt.datetime, before: dt.datetime) -> dt.datetime:
    """A zone's clock time. One that comes twice is that with the offset of ``before``; one that is left out is an hour earlier."""
    one, two = clock.replace(fold=0), clock.replace(fold=1)
    if utc(one).replace(tzinfo=dt.UTC).astimezone(clock.tzinfo).replace(tzinfo=None) != clock.replace(tzinfo=None, fold=0):
        return utc(two).replace(tzinfo=dt.UTC).astimezone(clock.tzinfo)
    return two if two.utcoffset() == before.utcoffset() else one


MEANINGS: dict[str, Callable[..., Any]] = {
    "dt.year": lambda site, a: a.year, "dt.month": lambda site, a: a.month, "dt.day": lambda site, a: a.day,
    "dt.date": lambda site, a: a.date() if isinstance(a, dt.datetime) else a,
    "dt.offset_by": lambda site, a: offset_by(a, site.options["by"]),
}  # fmt: skip
