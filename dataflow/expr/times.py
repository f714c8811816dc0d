"""``.dt``: operations on dates, times and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Times"]


class Times:
    """Operations on dates, times and durations, as ``col("x").dt``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"dt.{operation}", *args, **options)

    def year(self) -> Expr:
        return self._call("year")

    def month(self) -> Expr:
        return self._call("month")

    def day(self) -> Expr:
        return self._call("day")

    def date(self) -> Expr:
        return self._call("date")

    def offset_by(self, by: str) -> Expr:
        """Moved by a calendar span: "3mo", "-1y", "90d"; the end of a month stays within it."""
        return self._call("offset_by", by=by)
