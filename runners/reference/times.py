"""What operations on dates, times and durations mean. A span of the clock counts instants, a span of the calendar moves the clock."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from runners.reference.values import utc, zone_of

__all__ = ["MEANINGS", "between", "moved", "offset_by", "span", "strftime", "zoned"]

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
    if isinstance(one, dt.datetime) and isinstance(two, dt.datetime):
        return utc(one) - utc(two)
    assert not isinstance(one, dt.datetime)
    return one - two


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


def _on_clock(clock: dt.datetime, before: dt.datetime, either: bool = False) -> dt.datetime:
    """A zone's clock time. One that comes twice is that with the offset of ``before``. One that is left out is earlier by as much
    as the clock leaves out; or ``either`` earlier or later, so that it has the offset of ``before``."""
    one, two = clock.replace(fold=0), clock.replace(fold=1)
    later, earlier = (utc(time).replace(tzinfo=dt.UTC).astimezone(clock.tzinfo) for time in (one, two))
    if later.replace(tzinfo=None) != clock.replace(tzinfo=None, fold=0):
        return later if either and later.utcoffset() == before.utcoffset() else earlier
    return two if two.utcoffset() == before.utcoffset() else one


def _spanned(every: str) -> tuple[int, str]:
    """ "15m": a number and its unit."""
    return int(every.rstrip("nsumohdwqy")), every.lstrip("0123456789")


def _truncated(when: Any, every: str) -> Any:
    """Down to a whole number of units since 1970 (weeks: since its first Monday), on the clock."""
    count, unit = _spanned(every)
    clock = dt.datetime.combine(when, dt.time()) if not isinstance(when, dt.datetime) else when.replace(tzinfo=None, fold=0)
    if unit in ("mo", "q", "y"):
        size = count * {"mo": 1, "q": 3, "y": 12}[unit]
        year, month = divmod(((clock.year - 1970) * 12 + clock.month - 1) // size * size, 12)
        down = dt.datetime(1970 + year, month + 1, 1)
    else:
        start = dt.datetime(1970, 1, 5 if unit == "w" else 1)
        span = dt.timedelta(days=count * {"d": 1, "w": 7}[unit]) if unit in "dw" else dt.timedelta(microseconds=count * _CLOCK[unit])
        down = start + (clock - start) // span * span
    if not isinstance(when, dt.datetime):
        return down.date()
    return down if when.tzinfo is None else _on_clock(down.replace(tzinfo=when.tzinfo), when, either=True)


def _rounded(when: Any, every: str) -> Any:
    """Down from half a span later; of months, which are not equally long, to the nearer end on the clock."""
    count, unit = _spanned(every)
    is_date = not isinstance(when, dt.datetime)
    clock = dt.datetime.combine(when, dt.time()) if is_date else when.replace(tzinfo=None, fold=0)
    if unit in ("mo", "q", "y"):
        start = _truncated(clock, every)
        later = clock - start >= offset_by(start, every) - clock
        return _truncated(offset_by(when, every) if later else when, every)
    half = dt.timedelta(microseconds=int(count * ({"d": 24, "w": 168}[unit] * _CLOCK["h"] if unit in "dw" else _CLOCK[unit])) // 2)
    found = _truncated(clock + half if is_date else moved(when, half), every)
    return found.date() if is_date else found


def _month_end(when: Any) -> Any:
    return when.replace(day=calendar.monthrange(when.year, when.month)[1])


def zoned(clock: dt.datetime, zone: str | None, strict: bool = True) -> dt.datetime | None:
    """The zone's clock: the first of a time that comes twice; one that is left out has no form."""
    if zone is None:
        return clock.replace(tzinfo=None)
    aware = clock.replace(tzinfo=zone_of(zone), fold=0)
    if utc(aware).replace(tzinfo=dt.UTC).astimezone(aware.tzinfo).replace(tzinfo=None, fold=0) != clock.replace(tzinfo=None, fold=0):
        if strict:
            raise ValueError(f"{clock} is left out on the clock of {zone}")
        return None
    return aware


def _combine(site: Any, day: Any, clock: dt.time) -> Any:
    zone = site.result.args[1]
    return zoned(dt.datetime.combine(day.date() if isinstance(day, dt.datetime) else day, clock), zone)


def _epoch(site: Any, when: Any) -> int:
    if site.options["unit"] == "d":
        return (utc(when).date() if isinstance(when, dt.datetime) else when).toordinal() - 719_163  # type: ignore[no-any-return]
    clock = utc(when) if isinstance(when, dt.datetime) else dt.datetime.combine(when, dt.time())
    micros = (clock - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    return micros * 1000 if site.options["unit"] == "ns" else micros // {"us": 1, "ms": 1000, "s": 1_000_000}[site.options["unit"]]


_NAMES = {
    "Y": "%Y", "m": "%m", "d": "%d", "H": "%H", "M": "%M", "S": "%S", "y": "%y", "j": "%j", "a": "%a", "A": "%A", "b": "%b", "B": "%B",
    "I": "%I",
    "p": "%p", "F": "%Y-%m-%d", "T": "%H:%M:%S", "%": "%%",
}  # fmt: skip


def strftime(when: Any, form: str) -> str:
    """The kernel's format (chrono's), of which the parts are judged that Python has too, and fractions of seconds."""
    if isinstance(when, dt.date) and not isinstance(when, dt.datetime):
        when = dt.datetime.combine(when, dt.time())
    micros = when.microsecond

    def part(found: re.Match[str]) -> str:
        match found[1]:
            case "%.f":
                return "" if not micros else f".{micros:06d}" if micros % 1000 else f".{micros // 1000:03d}"
            case "%.3f" | "%3f":
                return f"{'.' if '.' in found[1] else ''}{micros // 1000:03d}"
            case "%.6f" | "%6f":
                return f"{'.' if '.' in found[1] else ''}{micros:06d}"
            case "%Y" if not isinstance(when, dt.time):
                return f"{when.year:04d}"
            case text if text[1:] in _NAMES:
                return when.strftime(_NAMES[text[1:]])  # type: ignore[no-any-return]
            case text:
                raise NotImplementedError(f"the reference does not know {text} in a format of times")

    return re.sub(r"(%(?:\.?[36]?f|.))", part, form)


def _total(unit: int) -> Callable[..., int]:
    """Whole units, cut toward zero."""
    return lambda site, a: int(abs(a) // dt.timedelta(microseconds=unit)) * (-1 if a < dt.timedelta() else 1)


_SIZES = {
    "weeks": 604_800_000_000, "days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000, "seconds": 1_000_000,
    "milliseconds": 1000, "microseconds": 1,
}  # fmt: skip


def _duration(site: Any, *counts: int) -> dt.timedelta:
    return dt.timedelta(microseconds=sum(_SIZES[part] * count for part, count in zip(site.options["parts"], counts, strict=True)))


MEANINGS: dict[str, Callable[..., Any]] = {
    "dt.year": lambda site, a: a.year, "dt.iso_year": lambda site, a: a.isocalendar()[0], "dt.quarter": lambda site, a: (a.month + 2) // 3,
    "dt.month": lambda site, a: a.month, "dt.week": lambda site, a: a.isocalendar()[1], "dt.weekday": lambda site, a: a.isoweekday(),
    "dt.day": lambda site, a: a.day, "dt.ordinal_day": lambda site, a: a.timetuple().tm_yday,
    "dt.days_in_month": lambda site, a: calendar.monthrange(a.year, a.month)[1], "dt.is_leap_year": lambda site, a: calendar.isleap(a.year),
    "dt.hour": lambda site, a: a.hour, "dt.minute": lambda site, a: a.minute, "dt.second": lambda site, a: a.second,
    "dt.millisecond": lambda site, a: a.microsecond // 1000, "dt.microsecond": lambda site, a: a.microsecond,
    "dt.nanosecond": lambda site, a: a.microsecond * 1000,
    "dt.date": lambda site, a: a.date() if isinstance(a, dt.datetime) else a,
    "dt.time": lambda site, a: a.time() if isinstance(a, dt.datetime) else a, "dt.combine": _combine,
    "dt.offset_by": lambda site, a: offset_by(a, site.options["by"]), "dt.truncate": lambda site, a: _truncated(a, site.options["every"]),
    "dt.round": lambda site, a: _rounded(a, site.options["every"]),
    "dt.month_start": lambda site, a: a.replace(day=1), "dt.month_end": lambda site, a: _month_end(a),
    "dt.strftime": lambda site, a: strftime(a, site.options["format"]), "dt.epoch": _epoch,
    "dt.replace_time_zone": lambda site, a: zoned(a, site.options["zone"], site.options["strict"]),
    "dt.convert_time_zone": lambda site, a: a,  # the same instant, shown by the type of the result
    **{f"dt.total_{name}": _total(size) for name, size in _SIZES.items() if name != "weeks"}, "duration": _duration,
}  # fmt: skip
