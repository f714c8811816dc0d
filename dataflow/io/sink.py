"""What a sink is: files of one format in one folder. `sink_writer` writes them; what becomes visible, and when, is `commit`'s to say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

import pyarrow as pa

from dataflow.errors import OutputError
from dataflow.io.files import FileSystem, file_system
from dataflow.record import record

__all__ = ["FORMATS", "FileSink", "WriteMode", "WrittenFile", "hive_folder"]

WriteMode = Literal["error", "overwrite", "append"]
Format = Literal["parquet", "csv", "jsonl", "text", "ipc", "avro"]
FORMATS: dict[str, str] = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl", "text": ".txt", "ipc": ".arrow", "avro": ".avro"}


@record(eq=True, slots=False)
class FileSink:
    """Files of one format in one folder, committed as a whole. ``columns``: those that an output of no rows would have, asked for
    by the commit alone."""

    path: str
    format: Format
    mode: WriteMode = "error"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rows_per_file: int | None = None
    bytes_per_file: int | None = None
    partition_by: tuple[str, ...] = ()
    schema: Mapping[str, pa.DataType] | None = None
    compression: str | None = None
    columns: Callable[[], pa.Schema | None] | None = field(default=None, repr=False, compare=False)

    def describe(self) -> str:
        extra = f" by {', '.join(self.partition_by)}" if self.partition_by else ""
        return f"{self.format} {self.path}{extra}"

    @property
    def typed(self) -> bool:
        """Whether files of this format need one schema."""
        return self.format in ("parquet", "ipc", "csv", "avro")

    def files(self) -> tuple[FileSystem, str]:
        """The file system of the target and the path in it."""
        fs, path = file_system(self.path.rstrip("/") or "/", self.options)
        if not fs.can_move_directories:
            return fs, path
        path = os.path.abspath(path)  # whoever finishes the commit after a crash may stand in another folder
        # a link to a folder stays a link: what it points to is the target
        return fs, os.path.realpath(path) if os.path.islink(path) else path

    def place(self) -> str:
        """What tells the target from any other, however it is spelled. Raises what opening its file system does."""
        fs, path = self.files()
        return os.path.realpath(path) if fs.can_move_directories else f"{self.path.partition('://')[0]}://{path}"


@record(eq=True)
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
