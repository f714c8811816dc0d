"""One file of a sink while it is written: rows gather into groups, bytes are counted and summed on their way to the disk.

table ──(groups of rows)──> the format's writer ──> _Checked (bytes, crc32) ──> file ──close: forced to disk──> WrittenFile
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

import pyarrow as pa

from dataflow.io.file_formats import columnar_writer
from dataflow.io.files import FileSystem
from dataflow.io.sink import FileSink, WrittenFile

__all__ = ["OpenFile"]

GROUP_ROWS = 1 << 18
GROUP_BYTES = 32 << 20


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
        pass  # the file is closed, and forced to disk, by `OpenFile.close`


class OpenFile:
    """One file being written."""

    def __init__(self, sink: FileSink, fs: FileSystem, path: str, folder: str, schema: pa.Schema | None) -> None:
        self.sink, self.fs, self.path, self.folder, self.schema = sink, fs, path, folder, schema
        self.file = _Checked(fs.create(path), path)
        self.rows = 0
        self.held: list[pa.Table] = []
        self.held_rows = self.held_bytes = 0
        self.writer: Any = None
        if schema is not None:
            self.writer = columnar_writer(sink.format, sink.compression, self.file, schema)

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

    def abort(self) -> None:
        """Close and remove."""
        self.file.silent = True  # a Parquet writer writes its footer even when it is thrown away
        self.file.raw.close()
        self.fs.remove(self.path)
