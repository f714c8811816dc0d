"""One schema for all the files of a target: those that are narrower are written again before they are staged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataflow.errors import Report, SchemaError
from dataflow.io.files import join
from dataflow.io.nothing import without_rows
from dataflow.io.schema import conform, unify
from dataflow.io.sink import WrittenFile
from dataflow.io.sink_writer import SinkWriter
from dataflow.io.staging import Staged
from dataflow.io.written import tables_of
from dataflow.shard.batch import Records

__all__ = ["conformed"]


def conformed(one: Staged) -> list[WrittenFile]:
    """The files in one schema: those that are narrower are written again (an all-null split, ints beside floats)."""
    if not one.sink.typed or not one.files:
        return one.files
    named = [(f"task {file.path.rpartition('/')[2]}", file.schema) for file in one.files if file.schema is not None]
    schema = unify(named)
    if one.sink.mode == "append" and (before := _schema_of(one)) is not None:
        wide = unify([("the folder", before), ("the new rows", schema)])
        if not wide.equals(before):
            changed = next(
                field.name for field in wide if before.get_field_index(field.name) < 0 or before.field(field.name).type != field.type
            )
            text = f"the rows to append do not have the columns of {one.sink.path}: {changed!r} differs"
            raise SchemaError(Report(text, hint='mode="overwrite" replaces the folder; or map the rows to its types'))
        schema = wide
    whole = []
    for file in one.files:
        if file.schema is None or file.schema.equals(schema) or (one.sink.partition_by and not len(file.schema)):
            whole.append(file)
            continue
        sink = replace(one.sink, rows_per_file=None, bytes_per_file=None, partition_by=())
        writer = SinkWriter(sink, join(one.staging, "attempts"), f"{file.path.rpartition('/')[2]}-conformed")
        writer.root = join(one.staging, "attempts")
        for table in tables_of(one.fs, file, one.sink):
            writer.push(Records(conform(table, schema)))
        whole.extend(replace(new, folder=file.folder) for new in writer.close())
    return whole


def _schema_of(one: Staged) -> Any:
    """The schema of what a target holds already, where its format has one."""
    if one.sink.format not in ("parquet", "ipc") or not one.fs.exists(one.target):
        return None
    empty = {join(one.target, path) for path in without_rows(one.fs, one.target)}  # the new rows take their place
    found = [info for info in one.fs.find(one.target) if info.path not in empty]
    if not found:
        return None
    with one.fs.open(found[0].path) as raw:
        if one.sink.format == "ipc":
            import pyarrow as pa

            return pa.ipc.open_file(raw).schema.remove_metadata()
        import pyarrow.parquet as pq

        return pq.read_schema(raw).remove_metadata()
