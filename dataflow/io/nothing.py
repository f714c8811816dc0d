"""An output to which nothing came: one file without rows, which says what columns there would be.

A folder without files cannot be told from one that was never written, and no reader knows its columns. So the commit writes a
file where the tasks wrote none, the same wherever they ran. It stands alone: rows that are appended later take its place.
"""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa

from dataflow.errors import Report, SchemaError, column_meant
from dataflow.io.files import FileSystem, join
from dataflow.io.open_file import OpenFile
from dataflow.io.sink import FORMATS, WrittenFile
from dataflow.io.staging import Staged, manifest

__all__ = ["empty_file", "without_rows"]


def empty_file(one: Staged) -> list[WrittenFile]:
    """The file of a target without rows: none where its format has columns that nobody knows, and none beside files that are there."""
    if one.sink.mode == "append" and one.fs.exists(one.target) and one.fs.find(one.target):
        return []
    schema = _columns(one)
    if one.sink.typed and schema is None:
        return []
    path = join(join(one.staging, "attempts"), f"nothing{FORMATS[one.sink.format]}")
    try:
        return [OpenFile(one.sink, one.fs, path, "", schema).close()]
    except pa.ArrowException as error:
        raise SchemaError(Report(f"the columns cannot be written as {one.sink.format}: {error}")) from error


def _columns(one: Staged) -> pa.Schema | None:
    """The columns as a reader of Hive folders sees them: those of the folders' names last, within this one file."""
    known = one.sink.columns() if one.sink.typed and one.sink.columns is not None else None
    if known is None:
        return None
    by = one.sink.partition_by
    missing = [name for name in by if name not in known.names]
    if missing:
        text = f"partition_by names {missing[0]!r}, which is not a column"
        raise SchemaError(Report(text, hint=column_meant(missing[0], known.names)))
    return pa.schema([*(field for field in known if field.name not in by), *(known.field(name) for name in by)])


def without_rows(fs: FileSystem, target: str) -> frozenset[str]:
    """The files of a target that hold no rows, by its manifest: what an empty output left, if nobody has written others since."""
    found = set()
    for entry in (manifest(fs, target) or {"files": []})["files"]:
        with suppress(OSError):
            if not entry["rows"] and fs.info(join(target, entry["path"])).size == entry["bytes"]:
                found.add(str(entry["path"]))
    return frozenset(found)
