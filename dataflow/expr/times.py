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
        """The year.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(y=col("t").dt.year()).collect()
        [{'y': 2024}]
        """
        return self._call("year")

    def iso_year(self) -> Expr:
        """The year to which ISO 8601 counts the week.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(y=col("d").dt.iso_year()).collect()
        [{'y': 2025}]
        """
        return self._call("iso_year")

    def quarter(self) -> Expr:
        """The quarter, 1 to 4.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(q=col("t").dt.quarter()).collect()
        [{'q': 2}]
        """
        return self._call("quarter")

    def month(self) -> Expr:
        """The month, 1 to 12.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(m=col("t").dt.month()).collect()
        [{'m': 5}]
        """
        return self._call("month")

    def week(self) -> Expr:
        """The week as ISO 8601 counts them: the first is that with January 4th.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(w=col("d").dt.week()).collect()
        [{'w': 1}]
        """
        return self._call("week")

    def weekday(self) -> Expr:
        """The day of the week: 1 is Monday, 7 Sunday.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(w=col("d").dt.weekday()).collect()
        [{'w': 2}]
        """
        return self._call("weekday")

    def day(self) -> Expr:
        """The day of the month, from 1.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(d=col("t").dt.day()).collect()
        [{'d': 17}]
        """
        return self._call("day")

    def ordinal_day(self) -> Expr:
        """The day of the year, from 1.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(n=col("d").dt.ordinal_day()).collect()
        [{'n': 366}]
        """
        return self._call("ordinal_day")

    def days_in_month(self) -> Expr:
        """How many days the month has.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 2, 1)}]).select(n=col("d").dt.days_in_month()).collect()
        [{'n': 29}]
        """
        return self._call("days_in_month")

    def is_leap_year(self) -> Expr:
        """Whether the year has a February 29th.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(leap=col("d").dt.is_leap_year()).collect()
        [{'leap': True}]
        """
        return self._call("is_leap_year")

    def month_start(self) -> Expr:
        """The first day of the month, at the same time of day.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 12, 31)}]).select(m=col("d").dt.month_start()).collect()
        [{'m': datetime.date(2024, 12, 1)}]
        """
        return self._call("month_start")

    def month_end(self) -> Expr:
        """The last day of the month, at the same time of day.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 2, 1)}]).select(m=col("d").dt.month_end()).collect()
        [{'m': datetime.date(2024, 2, 29)}]
        """
        return self._call("month_end")

    # -- the clock

    def hour(self) -> Expr:
        """The hour, 0 to 23.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(h=col("t").dt.hour()).collect()
        [{'h': 10}]
        """
        return self._call("hour")

    def minute(self) -> Expr:
        """The minute, 0 to 59.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(m=col("t").dt.minute()).collect()
        [{'m': 44}]
        """
        return self._call("minute")

    def second(self) -> Expr:
        """The second, 0 to 59.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(s=col("t").dt.second()).collect()
        [{'s': 3}]
        """
        return self._call("second")

    def millisecond(self) -> Expr:
        """Milliseconds within the second.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(m=col("t").dt.millisecond()).collect()
        [{'m': 250}]
        """
        return self._call("millisecond")

    def microsecond(self) -> Expr:
        """Microseconds within the second.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(m=col("t").dt.microsecond()).collect()
        [{'m': 250000}]
        """
        return self._call("microsecond")

    def nanosecond(self) -> Expr:
        """Nanoseconds within the second.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(n=col("t").dt.nanosecond()).collect()
        [{'n': 250000000}]
        """
        return self._call("nanosecond")

    # -- parts and moves

    def date(self) -> Expr:
        """The day.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(d=col("t").dt.date()).collect()
        [{'d': datetime.date(2024, 5, 17)}]
        """
        return self._call("date")

    def time(self) -> Expr:
        """The time of day.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, 44, 3, 250000)}]).select(t=col("t").dt.time()).collect()
        [{'t': datetime.time(10, 44, 3, 250000)}]
        """
        return self._call("time")

    def combine(self, time: Any) -> Expr:
        """The day at another time of day.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 5, 17)}]).select(t=col("d").dt.combine(dt.time(9, 30))).collect()
        [{'t': datetime.datetime(2024, 5, 17, 9, 30)}]
        """
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
        """As text, in chrono's format: %Y-%m-%d %H:%M:%S, %a, %B, %j, %.3f for milliseconds with their point.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 5, 7)}]).select(s=col("d").dt.strftime("%d.%m.%Y")).collect()
        [{'s': '07.05.2024'}]
        """
        return self._call("strftime", format=format)

    def epoch(self, unit: str = "us") -> Expr:
        """Units since 1970 in UTC, down to the whole one: "ns", "us", "ms", "s" or "d".

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(1970, 1, 2)}]).select(s=col("t").dt.epoch("s"), d=col("t").dt.epoch("d")).collect()
        [{'s': 86400, 'd': 1}]
        """
        return self._call("epoch", unit=unit)

    def replace_time_zone(self, zone: str | None, *, strict: bool = True) -> Expr:
        """The same clock in a zone, or in none. Of a time that comes twice the first; one that the clock leaves out fails the run,
        or is null if not ``strict``.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10)}]).select(
        ...     utc=col("t").dt.replace_time_zone("Europe/Berlin").dt.convert_time_zone("UTC").dt.hour()).collect()
        [{'utc': 8}]
        """
        return self._call("replace_time_zone", zone=zone, strict=strict)

    def convert_time_zone(self, zone: str) -> Expr:
        """The same instant on the clock of another zone.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"t": dt.datetime(2024, 5, 17, 10, tzinfo=dt.UTC)}]).select(
        ...     h=col("t").dt.convert_time_zone("America/New_York").dt.hour()).collect()
        [{'h': 6}]
        """
        return self._call("convert_time_zone", zone=zone)

    # -- durations

    def total_days(self) -> Expr:
        """A duration in whole days, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_days()).collect()
        [{'n': -1}]
        """
        return self._call("total_days")

    def total_hours(self) -> Expr:
        """A duration in whole hours, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_hours()).collect()
        [{'n': -36}]
        """
        return self._call("total_hours")

    def total_minutes(self) -> Expr:
        """A duration in whole minutes, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_minutes()).collect()
        [{'n': -2190}]
        """
        return self._call("total_minutes")

    def total_seconds(self) -> Expr:
        """A duration in whole seconds, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_seconds()).collect()
        [{'n': -131400}]
        """
        return self._call("total_seconds")

    def total_milliseconds(self) -> Expr:
        """A duration in whole milliseconds, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_milliseconds()).collect()
        [{'n': -131400000}]
        """
        return self._call("total_milliseconds")

    def total_microseconds(self) -> Expr:
        """A duration in whole microseconds, cut toward zero.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": dt.timedelta(hours=-36, minutes=-30)}]).select(n=col("x").dt.total_microseconds()).collect()
        [{'n': -131400000000}]
        """
        return self._call("total_microseconds")
