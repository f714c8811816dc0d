"""What may be known of a collection before it is read: how many records, and of each column how many different values.

Numbers here are guesses, made to compare plans with. No result depends on them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from dataflow.expr.types import DType
from dataflow.record import record

__all__ = ["ColumnStatistics", "Statistics", "as_number", "width_of"]

TEXT = 24  # bytes of a text of which nothing is known: a view of 16, and some
ITEMS = 4  # items of a list of which nothing is known
_WIDTHS = {
    "null": 0, "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "date": 4, "int64": 8, "uint64": 8, "float64": 8, "time": 8, "datetime": 8, "duration": 8, "decimal": 16,
}  # fmt: skip


@record
class ColumnStatistics:
    """A column of a collection. ``low`` and ``high`` stand for the least and greatest value, see `as_number`.

    ``distinct``: different values in these records. ``domain``: those in the table it comes from, which has ``base`` rows (infinite:
    it comes from none); where they are as many as the rows, the column is likely a key. ``kept``: the share of them that conditions
    on this column left. ``nulls``: their share of the records. ``width``: bytes a value.
    """

    distinct: float
    domain: float
    base: float = math.inf
    kept: float = 1.0
    low: float | None = None
    high: float | None = None
    nulls: float = 0.0
    width: float = TEXT

    @property
    def is_key(self) -> bool:
        """Whether it looks as if no two rows of its table were equal in it. A guess of distinct values may be a tenth off."""
        return self.domain >= 0.9 * self.base * (1 - self.nulls)


@record
class Statistics:
    """A collection: its rows, and those of its columns about which something is known."""

    rows: float
    columns: Mapping[str, ColumnStatistics]

    def of_rows(self, rows: float) -> Statistics:
        """The same columns in fewer or more rows; no column has more different values than there are rows."""
        columns = {name: replace(one, distinct=min(one.distinct, max(1.0, rows))) for name, one in self.columns.items()}
        return Statistics(rows, columns if rows < self.rows else self.columns)

    def bytes(self, schema: Mapping[str, DType]) -> float:
        """What records with these columns take in memory."""
        return self.rows * sum(self.columns[name].width if name in self.columns else width_of(kind) for name, kind in schema.items())


def width_of(kind: DType) -> float:
    """About how many bytes a value of a type takes in memory."""
    match kind.name:
        case "list" | "map":
            return 8 + ITEMS * sum(width_of(one) for one in kind.args)
        case "array":
            return kind.args[1] * width_of(kind.args[0])
        case "struct":
            return sum(width_of(one) for _, one in kind.args)
        case name:
            return _WIDTHS.get(name, TEXT)


def as_number(value: Any) -> float | None:
    """A value as a place on a line, for shares of a range: numbers as they are, dates and
    moments in days, times and durations in seconds; None of others.

    >>> as_number(dt.date(1970, 1, 3)), as_number(Decimal("1.5")), as_number("a")
    (2.0, 1.5, None)
    """
    match value:
        case bool() | int() | float() | Decimal():
            number = float(value)
            return number if abs(number) < float("inf") else None
        case dt.datetime():
            return value.toordinal() - _EPOCH + (value.hour * 3600 + value.minute * 60 + value.second) / 86_400
        case dt.date():
            return float(value.toordinal() - _EPOCH)
        case dt.time():
            return value.hour * 3600.0 + value.minute * 60 + value.second
        case dt.timedelta():
            return value.total_seconds()
        case _:
            return None


_EPOCH = dt.date(1970, 1, 1).toordinal()
