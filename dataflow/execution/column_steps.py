"""map(fn, columns=[…]) at work: only the columns that the function reads become Python values; the others stay Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.execution.elementwise import Elementwise
from dataflow.execution.runner import exited
from dataflow.io.schema import table_of
from dataflow.shard.arrow import taken
from dataflow.shard.batch import Batch, Records, Rows

__all__ = ["OnColumns"]


class OnColumns(Elementwise):
    """Records in; records with the columns that the function returned put over those they had."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        table = table_of(batch, None)
        missing = [name for name in self.step.arg if name not in table.column_names]
        if missing:
            self.failed(KeyError(f"there is no column {missing[0]!r}; columns: {', '.join(table.column_names)}"), batch.rows()[0], 0)
        rows = Records(table.select(list(self.step.arg))).rows()
        if self.step.on_error.skip:
            found, kept = self._those_that_work(rows)
            yield Records(_over(taken(table, np.array(kept, np.int64)), found)), None
        else:
            done = 0
            for piece in self.pieces(rows):
                yield Records(_over(table.slice(done, len(piece)), piece)), None
                done += len(piece)
        self.seen += len(batch)

    def _those_that_work(self, rows: list[Any]) -> tuple[list[Any], list[int]]:
        found, kept = [], []
        for index, row in enumerate(rows):
            try:
                found.append(_record(self.fn(row)))
            except (Exception, SystemExit) as error:
                self.failed(exited(error), row, index)
                continue
            kept.append(index)
        self.stats.rows_out += len(found)
        return found, kept

    def _stream(self, hands: Iterator[Any]) -> Iterator[Any]:
        return map(_record, map(self.fn, hands))


def _record(found: Any) -> Any:
    if not isinstance(found, dict):
        raise TypeError(f"a function over columns returns a dict of columns, not {type(found).__name__}")
    return found


def _over(table: pa.Table, found: list[Any]) -> pa.Table:
    """A table with the columns of records put over its own, in place where a name is known."""
    if not any(found):  # a function may return no columns at all; the table's stay
        return table
    new = table_of(Rows(found), None)
    for name, column in zip(new.column_names, new.columns, strict=True):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, column) if at >= 0 else table.append_column(name, column)
    return table
