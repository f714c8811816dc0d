"""Sinks: batches into files of a task attempt, in a staging folder, never under a final name.

    batch ──> table ──(Hive folders)──> writer ──(rolls by rows or bytes)──> staging/…/<task>-<attempt>-<n>.parquet
                                                     └─> WrittenFile: path, rows, bytes, crc32, schema ─> manifest

What becomes visible, and when, is `dataflow.io.commit`'s to say.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa

from dataflow.errors import OutputError, Report, SchemaError
from dataflow.io.files import FileSystem, file_system, join
from dataflow.io.schema import table_of, unify
from dataflow.shard.batch import Batch, Lines, Records, Values
from dataflow.shard.size import estimated_bytes

__all__ = ["FORMATS", "FileSink", "SinkWriter", "WriteMode", "WrittenFile", "hive_folder"]

WriteMode = Literal["error", "overwrite", "append"]
Format = Literal["parquet", "csv", "jsonl", "text", "ipc", "avro"]
FORMATS: dict[str, str] = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl", "text": ".txt", "ipc": ".arrow", "avro": ".avro"}
GROUP_ROWS = 1 << 18
GROUP_BYTES = 32 << 20
OPEN_WRITERS = 16
PIECE_ROWS = 1024


@dataclass(frozen=True)
class FileSink:
    """Files of one format in one folder, committed as a whole."""

    path: str
    format: Format
    mode: WriteMode = "error"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rows_per_file: int | None = None
    bytes_per_file: int | None = None
    partition_by: tuple[str, ...] = ()
    schema: Mapping[str, pa.DataType] | None = None
    compression: str | None = None

    def describe(self) -> str:
        extra = f" by {', '.join(self.partition_by)}" if self.partition_by else ""
        return f"{self.format} {self.path}{extra}"

    @property
    def typed(self) -> bool:
        """Whether files of this format need one schema."""
        return self.format in ("parquet", "ipc", "csv", "avro")

    def files(self) -> tuple[FileSystem, str]:
        """The file system of the target and the path in it."""
        fs, path = file_system(self.path.rstrip("/"), self.options)
        # a link to a folder stays a link: what it points to is the target
        return fs, os.path.realpath(path) if fs.can_move_directories and os.path.islink(path) else path


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file of an attempt: ``path`` in the staging folder, ``folder`` its Hive folder."""

    path: str
    folder: str
    rows: int
    bytes: int
    crc: int
    schema: pa.Schema | None


def hive_folder(names: tuple[str, ...], values: tuple[Any, ...]) -> str:
    """``a=1/b=x%2Fy``: values are percent-encoded, so that none can leave the folder.

    >>> hive_folder(("day", "who"), ("2026-11-20", "../etc"))
    'day=2026-11-20/who=..%2Fetc'
    """
    import urllib.parse

    parts = []
    for name, value in zip(names, values, strict=True):
        text = "__HIVE_DEFAULT_PARTITION__" if value is None else urllib.parse.quote(str(value), safe=" :+,@")
        if len(text) > 200:
            raise OutputError(f"a partition value is too long for a folder name: {text[:60]}…")
        parts.append(f"{urllib.parse.quote(name, safe='')}={text}")
    return "/".join(parts)


class _Checked:
    """A file that counts and sums what is written to it."""

    def __init__(self, raw: BinaryIO, path: str) -> None:
        self.raw, self.path, self.crc, self.bytes = raw, path, 0, 0
        self.closed = self.silent = False

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self.silent:
            return size
        self.crc = zlib.crc32(data, self.crc)
        self.bytes += size
        try:
            self.raw.write(data)
        except OSError as error:
            error.filename = error.filename or self.path  # the system's own error does not say where
            raise
        return size

    def flush(self) -> None:
        self.raw.flush()

    def tell(self) -> int:
        return self.bytes

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass  # the file is closed, and forced to disk, by `_Open.close`


class _Open:
    """One file being written."""

    def __init__(self, sink: FileSink, fs: FileSystem, path: str, folder: str, schema: pa.Schema | None) -> None:
        self.sink, self.fs, self.path, self.folder, self.schema = sink, fs, path, folder, schema
        self.file = _Checked(fs.create(path), path)
        self.rows = 0
        self.held: list[pa.Table] = []
        self.held_rows = self.held_bytes = 0
        self.writer: Any = None
        if schema is not None:
            self.writer = _columnar_writer(sink, self.file, schema)

    def write_table(self, table: pa.Table) -> None:
        self.held.append(table)
        self.held_rows += table.num_rows
        self.held_bytes += table.nbytes
        self.rows += table.num_rows
        if self.held_rows >= GROUP_ROWS or self.held_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.held:
            self.writer.write_table(pa.concat_tables(self.held))
            self.held, self.held_rows, self.held_bytes = [], 0, 0

    def write_bytes(self, data: Any, rows: int) -> None:
        self.file.write(data)
        self.rows += rows

    def close(self) -> WrittenFile:
        try:
            if self.writer is not None:
                self._flush()
                self.writer.close()
            self.file.flush()
        finally:
            self.file.raw.close()
        self.fs.sync(self.path)  # a failed sync fails the attempt: its file is never trusted, nor synced again
        return WrittenFile(self.path, self.folder, self.rows, self.file.bytes, self.file.crc, self.schema)


class SinkWriter:
    """What a task attempt writes into one sink. ``close`` gives its files; ``abort`` removes them."""

    def __init__(self, sink: FileSink, staging: str, name: str) -> None:
        self.sink, self.name = sink, name
        self.fs, self.root = file_system(staging, sink.options)
        self.open: dict[str, _Open] = {}
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
            self._part("", None).write_bytes(_lines(batch), len(batch))
            self._roll("")
        elif self.sink.format == "jsonl" and not self.sink.partition_by:
            self._part("", None).write_bytes(_json_lines(batch), len(batch))
            self._roll("")
        else:
            self._push_table(table_of(batch, self.sink.schema))

    def _push_table(self, table: pa.Table) -> None:
        for name in self.sink.partition_by:
            if name not in table.column_names:
                raise SchemaError(
                    Report(f"partition_by names {name!r}, which is not a column", hint=f"columns: {', '.join(table.column_names)}")
                )
        if self.sink.partition_by and len(self.sink.partition_by) == len(table.column_names):
            raise SchemaError(Report("partition_by names every column, and none is left to write", hint="keep one column besides"))
        for folder, part in _by_folder(table, self.sink.partition_by):
            if self.sink.format == "jsonl":
                self._part(folder, None).write_bytes(_json_rows(part.to_pylist()), part.num_rows)
            else:
                self._part(folder, part.schema.remove_metadata()).write_table(self._fitted(folder, part))
            self._roll(folder)

    def _fitted(self, folder: str, table: pa.Table) -> pa.Table:
        from dataflow.io.schema import conform

        schema = self.open[folder].schema
        assert schema is not None
        return table if table.schema.equals(schema) else conform(table, schema)

    def _part(self, folder: str, schema: pa.Schema | None) -> _Open:
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
            part = self.open[folder] = _Open(self.sink, self.fs, path, folder, schema)
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
            part.file.silent = True  # a Parquet writer writes its footer even when it is thrown away
            part.file.raw.close()
            self.fs.remove(part.path)
        for file in self.done:
            self.fs.remove(file.path)


def _columnar_writer(sink: FileSink, file: _Checked, schema: pa.Schema) -> Any:
    out = pa.PythonFile(file, "w")
    match sink.format:
        case "parquet":
            import pyarrow.parquet as pq

            return pq.ParquetWriter(out, schema, compression=sink.compression or "zstd", write_page_checksum=True)
        case "ipc":
            return pa.ipc.new_file(out, schema)
        case "csv":
            import pyarrow.csv as pacsv

            for field_ in schema:
                if pa.types.is_nested(field_.type):
                    text = f"CSV has no form for column {field_.name!r} of type {field_.type}"
                    raise SchemaError(Report(text, hint="write Parquet or JSON lines, or map the column to a string"))
            return pacsv.CSVWriter(out, schema)
        case _:
            return _AvroWriter(file, schema)


class _AvroWriter:
    """Avro by fastavro, which wants all records of a file at once: they are held until the file rolls."""

    def __init__(self, file: _Checked, schema: pa.Schema) -> None:
        self.file, self.schema = file, schema
        self.rows: list[dict[str, Any]] = []

    def write_table(self, table: pa.Table) -> None:
        self.rows.extend(table.to_pylist())

    def close(self) -> None:
        import fastavro

        fields = [{"name": f.name, "type": ["null", _avro_type(f)]} for f in self.schema]
        fastavro.writer(self.file, {"type": "record", "name": "record", "fields": fields}, self.rows, codec="deflate")


def _avro_type(f: pa.Field) -> Any:
    t = pa.types
    kind = f.type
    if t.is_boolean(kind):
        return "boolean"
    if t.is_integer(kind):
        return "long"
    if t.is_floating(kind):
        return "double"
    if t.is_string(kind) or t.is_large_string(kind):
        return "string"
    if t.is_binary(kind) or t.is_large_binary(kind):
        return "bytes"
    if t.is_null(kind):
        return "null"
    if t.is_timestamp(kind):
        return {"type": "long", "logicalType": "timestamp-micros" if kind.tz else "local-timestamp-micros"}
    if t.is_date(kind):
        return {"type": "int", "logicalType": "date"}
    if t.is_list(kind) or t.is_large_list(kind):
        return {"type": "array", "items": ["null", _avro_type(kind.value_field)]}
    raise SchemaError(Report(f"Avro output has no type for column {f.name!r} of {kind}", hint="write Parquet, or map the column"))


def _by_folder(table: pa.Table, names: tuple[str, ...]) -> list[tuple[str, pa.Table]]:
    if not names:
        return [("", table)]
    import numpy as np

    columns = [table.column(name).to_pylist() for name in names]
    folders = [hive_folder(names, row) for row in zip(*columns, strict=True)]
    codes = pa.array(folders, pa.string()).dictionary_encode()
    rest = table.drop_columns(list(names))
    index = codes.indices.to_numpy()
    order = np.argsort(index, kind="stable")
    edges = np.flatnonzero(np.diff(index[order])) + 1
    return [(codes.dictionary[int(index[part[0]])].as_py(), rest.take(pa.array(part))) for part in np.split(order, edges)]


def _lines(batch: Batch) -> bytes | memoryview:
    if isinstance(batch, Lines) and b"\r" not in batch.data:  # whole lines hold no others
        return batch.data if batch.data.endswith(b"\n") else batch.data + b"\n"
    if isinstance(batch, Values) and pa.types.is_large_string(batch.array.type) and not batch.array.null_count:
        text = joined_lines(batch.array)
        found = np.frombuffer(text, np.uint8)
        # as many line ends as strings: none holds one
        if np.count_nonzero(found == 10) == len(batch) and not (found == 13).any():
            return text
    rows = batch.rows()
    for row in rows:
        if type(row) is not str:
            raise SchemaError(
                Report(
                    f"write_text writes strings, and this is a {type(row).__name__}",
                    record=repr(row)[:200],
                    hint="map(str), or write_jsonl",
                )
            )
        if "\n" in row or row.endswith("\r"):
            raise SchemaError(
                Report(
                    "write_text writes one line a string, and this one holds a line end",
                    record=repr(row)[:200],
                    hint="replace line ends, or write_jsonl",
                )
            )
    return _utf8("\n".join(rows) + "\n")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(
            Report(
                "a string holds half a surrogate pair, which is not text", record=repr(text[max(0, error.start - 20) : error.start + 20])
            )
        ) from error


def joined_lines(array: pa.Array) -> memoryview:
    """The strings with a newline behind each, by one native join."""
    import pyarrow.compute as pc

    lists = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    text = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))[0].as_buffer()
    return memoryview(b"".join((text, b"\n")))


def _json_lines(batch: Batch) -> bytes:
    from dataflow.io.schema import plain

    rows = batch.rows()
    try:
        return _json_rows(rows)
    except TypeError:
        return _json_rows([plain(row) for row in rows])


def _json_rows(rows: list[Any]) -> bytes:
    try:
        return ("\n".join(map(json.JSONEncoder(ensure_ascii=False, default=_json_default).encode, rows)) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair has a spelling in JSON
        return ("\n".join(map(json.JSONEncoder(default=_json_default).encode, rows)) + "\n").encode()


def _json_default(value: Any) -> Any:
    import dataclasses
    import datetime as dt
    from decimal import Decimal

    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise SchemaError(
        Report(f"write_jsonl cannot write a {type(value).__name__}", record=repr(value)[:200], hint="map it to a str, number, list or dict")
    )
