"""Batches into files of a task attempt, in a staging folder, never under a final name.

batch ──> table ──(Hive folders)──> open file ──(rolls by rows or bytes)──> staging/…/<task>-<attempt>-<n>.parquet
                                                     └─> WrittenFile: path, rows, bytes, crc32, schema ─> manifest
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataflow.errors import Report, SchemaError, column_meant
from dataflow.io.files import file_system, join
from dataflow.io.lines import json_lines, json_rows, text_lines
from dataflow.io.open_file import OpenFile
from dataflow.io.schema import conform, table_of, unify
from dataflow.io.sink import FORMATS, FileSink, WrittenFile, hive_folder
from dataflow.io.spelling import spelled
from dataflow.kernels.carrying import without_views
from dataflow.shard.batch import Batch, Records
from dataflow.shard.size import estimated_bytes

__all__ = ["SinkWriter"]

OPEN_WRITERS = 16
PIECE_ROWS = 1024


class SinkWriter:
    """What a task attempt writes into one sink. ``close`` gives its files; ``abort`` removes them."""

    def __init__(self, sink: FileSink, staging: str, name: str) -> None:
        self.sink, self.name = sink, name
        self.fs, self.root = file_system(staging, sink.options)
        self.open: dict[str, OpenFile] = {}
        self.done: list[WrittenFile] = []
        self.count = 0

    def push(self, batch: Batch) -> None:
        """Write a batch, in slices where a file must end inside it."""
        start, rows = 0, len(batch)
        row_bytes = self._row_bytes(batch) if self.sink.bytes_per_file is not None and rows else 0.0
        while start < rows:
            stop = min(rows, start + self._room(row_bytes))
            self._push(batch if (start, stop) == (0, rows) else batch.slice(start, stop))
            start = stop

    @staticmethod
    def _row_bytes(batch: Batch) -> float:
        if isinstance(batch, Records):
            return batch.table.nbytes / len(batch)
        return estimated_bytes(batch.slice(0, min(len(batch), 256)).rows()) / min(len(batch), 256)

    def _room(self, row_bytes: float) -> int:
        """How many rows may be written before a file has to be looked at again."""
        if self.sink.rows_per_file is not None and not self.sink.partition_by:
            part = self.open.get("")
            return self.sink.rows_per_file - (part.rows if part else 0)
        if self.sink.bytes_per_file is not None or self.sink.rows_per_file is not None:
            most = min(PIECE_ROWS, self.sink.rows_per_file or PIECE_ROWS)
            # a quarter of a file at a time, so that none grows far beyond what was asked
            return max(1, min(most, int((self.sink.bytes_per_file or 0) / 4 / row_bytes))) if row_bytes else most
        return 1 << 62

    def _push(self, batch: Batch) -> None:
        if self.sink.format == "text":
            self._part("", None).write_bytes(text_lines(batch), len(batch))
            self._roll("")
        elif self.sink.format == "jsonl" and not self.sink.partition_by:
            self._part("", None).write_bytes(json_lines(batch), len(batch))
            self._roll("")
        else:
            self._push_table(table_of(batch, self.sink.schema))

    def _push_table(self, table: pa.Table) -> None:
        for name in self.sink.partition_by:
            if name not in table.column_names:
                hint = column_meant(name, table.column_names)
                raise SchemaError(Report(f"partition_by names {name!r}, which is not a column", hint=hint))
        if self.sink.partition_by and len(self.sink.partition_by) == len(table.column_names):
            raise SchemaError(Report("partition_by names every column, and none is left to write", hint="keep one column besides"))
        for folder, part in _by_folder(spelled(table, self.sink.format), self.sink.partition_by):
            if self.sink.format == "jsonl":
                self._part(folder, None).write_bytes(json_rows(part.to_pylist()), part.num_rows)
            else:
                self._part(folder, part.schema.remove_metadata()).write_table(self._fitted(folder, part))
            self._roll(folder)

    def _fitted(self, folder: str, table: pa.Table) -> pa.Table:
        schema = self.open[folder].schema
        assert schema is not None
        return table if table.schema.equals(schema) else conform(table, schema)

    def _part(self, folder: str, schema: pa.Schema | None) -> OpenFile:
        """The open file of a folder; a new one where the schema has to widen."""
        part = self.open.get(folder)
        if part is not None and schema is not None and part.schema is not None and not part.schema.equals(schema):
            wide = unify([("the rows before", part.schema), ("the rows now", schema)])
            if not wide.equals(part.schema):
                self._finish(folder)
                part, schema = None, wide
        if part is None:
            while len(self.open) >= OPEN_WRITERS:
                self._finish(next(iter(self.open)))
            path = join(self.root, f"{self.name}-{self.count:04d}{FORMATS[self.sink.format]}")
            self.count += 1
            part = self.open[folder] = OpenFile(self.sink, self.fs, path, folder, schema)
        return part

    def _roll(self, folder: str) -> None:
        part = self.open[folder]
        rows, size = self.sink.rows_per_file, self.sink.bytes_per_file
        if (rows and part.rows >= rows) or (size and part.file.bytes + part.held_bytes >= size):
            self._finish(folder)

    def _finish(self, folder: str) -> None:
        self.done.append(self.open.pop(folder).close())

    def close(self) -> list[WrittenFile]:
        """Finish all files."""
        for folder in list(self.open):
            self._finish(folder)
        return self.done

    def abort(self) -> None:
        """Remove what was written."""
        for part in self.open.values():
            part.abort()
        for file in self.done:
            self.fs.remove(file.path)


def _by_folder(table: pa.Table, names: tuple[str, ...]) -> list[tuple[str, pa.Table]]:
    if not names:
        return [("", table)]
    columns = [table.column(name).to_pylist() for name in names]
    folders = [hive_folder(names, row) for row in zip(*columns, strict=True)]
    codes = pa.array(folders, pa.string()).dictionary_encode()
    rest = table.drop_columns(list(names))
    plain = pa.schema([field.with_type(without_views(field.type)) for field in rest.schema], rest.schema.metadata)
    rest = rest if plain.equals(rest.schema) else rest.cast(plain)  # Arrow takes no rows of views
    index = codes.indices.to_numpy()
    order = np.argsort(index, kind="stable")
    edges = np.flatnonzero(np.diff(index[order])) + 1
    return [(codes.dictionary[int(index[part[0]])].as_py(), rest.take(pa.array(part))) for part in np.split(order, edges)]
