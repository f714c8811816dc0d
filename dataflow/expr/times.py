"""``.dt``: operations on dates, times and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.expr.rules.times import SPAN

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Times"]


def _span(every: str) -> str:
    if not SPAN.fullmatch(every):
        raise ValueError(f"{every!r} is no span to truncate or round to: write 15m, 2h, 1d, 1w, 1mo, 1q, 1y")
    return every


class Times:
    """Operations on dates, times and durations, as ``col("x").dt``. A datetime with a zone shows that zone's clock."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"dt.{operation}", *args, **options)

    # -- the calendar

    def year(self) -> Expr:
        """The year."""
        return self._call("year")

    def iso_year(self) -> Expr:
        """The year to which ISO 8601 counts the week."""
        return self._call("iso_year")

    def quarter(self) -> Expr:
        """The quarter, 1 to 4."""
        return self._call("quarter")

    def month(self) -> Expr:
        """The month, 1 to 12."""
        return self._call("month")

    def week(self) -> Expr:
        """The week as ISO 8601 counts them: the first is that with January 4th."""
        return self._call("week")

    def weekday(self) -> Expr:
        """The day of the week: 1 is Monday, 7 Sunday."""
        return self._call("weekday")

    def day(self) -> Expr:
        """The day of the month, from 1."""
        return self._call("day")

    def ordinal_day(self) -> Expr:
        """The day of the year, from 1."""
        return self._call("ordinal_day")

    def days_in_month(self) -> Expr:
        """How many days the month has."""
        return self._call("days_in_month")

    def is_leap_year(self) -> Expr:
        """Whether the year has a February 29th."""
        return self._call("is_leap_year")

    def month_start(self) -> Expr:
        """The first day of the month, at the same time of day."""
        return self._call("month_start")

    def month_end(self) -> Expr:
        """The last day of the month, at the same time of day."""
        return self._call("month_end")

    # -- the clock

    def hour(self) -> Expr:
        """The hour, 0 to 23."""
        return self._call("hour")

    def minute(self) -> Expr:
        """The minute, 0 to 59."""
        return self._call("minute")

    def second(self) -> Expr:
        """The second, 0 to 59."""
        return self._call("second")

    def millisecond(self) -> Expr:
        """Milliseconds within the second."""
        return self._call("millisecond")

    def microsecond(self) -> Expr:
        """Microseconds within the second."""
        return self._call("microsecond")

    def nanosecond(self) -> Expr:
        """Nanoseconds within the second."""
        return self._call("nanosecond")

    # -- parts and moves

    def date(self) -> Expr:
        """The day."""
        return self._call("date")

    def time(self) -> Expr:
        """The time of day."""
        return self._call("time")

    def combine(self, time: Any) -> Expr:
        """The day at another time of day."""
        return self._call("combine", time)

    def offset_by(self, by: str) -> Expr:
        """Moved by a calendar span: "3mo", "-1y", "90d"; the end of a month stays within it.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 1, 31)}]).select(d=col("d").dt.offset_by("1mo")).collect()
        [{'d': datetime.date(2024, 2, 29)}]
        """
        return self._call("offset_by", by=by)

    def truncate(self, every: str) -> Expr:
        """Down to the beginning of "1d", "1w" (Monday), "1mo", "1q", "1y", "15m", "2h", …, which are counted from 1970.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44)}]).select(
        ...     q=col("t").dt.truncate("1q").dt.date(), m=col("t").dt.truncate("15m").dt.minute()).collect()
        [{'q': datetime.date(2024, 4, 1), 'm': 30}]
        """
        return self._call("truncate", every=_span(every))

    def round(self, every: str) -> Expr:
        """To the nearer end of the span that `truncate` finds the beginning of; from its middle on that is the later one.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44)}]).select(
        ...     m=col("t").dt.round("1mo").dt.date(), h=col("t").dt.round("1h").dt.time()).collect()
        [{'m': datetime.date(2024, 6, 1), 'h': datetime.time(11, 0)}]
        """
        return self._call("round", every=_span(every))

    def strftime(self, format: str) -> Expr:
        """As text, in chrono's format: %Y-%m-%d %H:%M:%S, %a, %B, %j, %.3f for milliseconds with their point."""
        return self._call("strftime", format=format)

    def epoch(self, unit: str = "us") -> Expr:
        """Units since 1970 in UTC, down to the whole one: "ns", "us", "ms", "s" or "d"."""
        return self._call("epoch", unit=unit)

    def replace_time_zone(self, zone: str | None, *, strict: bool = True) -> Expr:
        """The same clock in a zone, or in none. Of a time that comes twice the first; one that the clock leaves out fails the run,
        or is null if not ``strict``."""
        return self._call("replace_time_zone", zone=zone, strict=strict)

    def convert_time_zone(self, zone: str) -> Expr:
        """The same instant on the clock of another zone."""
        return self._call("convert_time_zone", zone=zone)

    # -- durations

    def total_days(self) -> Expr:
        """A duration in whole days, cut toward zero."""
        return self._call("total_days")

    def total_hours(self) -> Expr:
        """A duration in whole hours, cut toward zero."""
        return self._call("total_hours")

    def total_minutes(self) -> Expr:
        """A duration in whole minutes, cut toward zero."""
        return self._call("total_minutes")

    def total_seconds(self) -> Expr:
        """A duration in whole seconds, cut toward zero."""
        return self._call("total_seconds")

    def total_milliseconds(self) -> Expr:
        """A duration in whole milliseconds, cut toward zero."""
        return self._call("total_milliseconds")

    def total_microseconds(self) -> Expr:
        """A duration in whole microseconds, cut toward zero."""
        return self._call("total_microseconds")
