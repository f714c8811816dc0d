"""The row groups of Parquet files: their rows, and between which values a column lies in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataflow.io.files import FileInfo
from dataflow.io.footer_reader import opened_footer
from dataflow.io.footers import places_of
from dataflow.io.remembered import metadata_of
from dataflow.record import record

__all__ = ["RowGroup", "bounds_of"]


@record
class RowGroup:
    """A row group; ``bounds`` None where its footer does not tell them, or where the column is all null (``empty``)."""

    rows: int
    bounds: tuple[Any, Any] | None
    empty: bool = False

    def may_hold(self, value: Any) -> bool:
        return self.may_meet(value, value)

    def may_meet(self, low: Any, high: Any) -> bool:
        """Whether a value from ``low`` to ``high`` may be in it."""
        if self.bounds is None:
            return not self.empty
        return bool(self.bounds[0] <= high and low <= self.bounds[1])


def bounds_of(paths: Sequence[str], versions: Sequence[str], rows: tuple[int, int] | None, column: str) -> list[RowGroup] | None:
    """The row groups of some local files, of one file those that begin within ``rows`` (from which row, and how many); None where a file
    has no such plain column, or is not there."""
    found: list[RowGroup] = []
    for path, version in zip(paths, versions, strict=True):
        try:
            meta = metadata_of(FileInfo(path, 0, version), opened_footer)
        except OSError:  # whoever reads it will say so
            return None
        at = places_of(meta).get(column)
        if at is None:
            return None
        first = 0
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            if rows is None or rows[0] <= first < rows[0] + rows[1]:
                stats = group.column(at).statistics
                bounds = (stats.min, stats.max) if stats is not None and stats.has_min_max else None
                empty = stats is not None and stats.has_null_count and stats.null_count == group.num_rows
                found.append(RowGroup(group.num_rows, bounds, empty))
            first += group.num_rows
    return found
