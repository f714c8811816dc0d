"""One schema for all the files of a target: those that are narrower are written again before they are staged."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pyarrow as pa

from dataflow.errors import Report, SchemaError
from dataflow.io.files import join
from dataflow.io.nothing import without_rows
from dataflow.io.schema import conform, unify
from dataflow.io.sink import FORMATS, WrittenFile
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
    there = _there(one) if one.sink.mode == "append" else ""
    if there and one.sink.format in ("csv", "avro"):
        _check_names(one, there, schema)
    elif there:
        before = _schema_of(one, there)
        wide = unify([("the folder", before), ("the new rows", schema)])
        if not wide.equals(before):
            changed = next(
                field.name for field in wide if before.get_field_index(field.name) < 0 or before.field(field.name).type != field.type
            )
            raise _other_columns(one, changed)
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


def _other_columns(one: Staged, name: str) -> SchemaError:
    text = f"the rows to append do not have the columns of {one.sink.path}: {name!r} differs"
    return SchemaError(Report(text, hint='mode="overwrite" replaces the folder; or map the rows to its types'))


def _there(one: Staged) -> str:
    """A file with rows that a target holds already, "" if there is none. Raises SchemaError for one of another format."""
    if not one.fs.exists(one.target):
        return ""
    empty = {join(one.target, path) for path in without_rows(one.fs, one.target)}  # the new rows take their place
    found = next((info.path for info in one.fs.find(one.target) if info.path not in empty), "")
    if other := next((form for form, ending in FORMATS.items() if form != one.sink.format and found.endswith(ending)), None):
        text = f"{one.sink.path} holds {other}, and the rows to append are {one.sink.format}"
        raise SchemaError(Report(text, location=found, hint='write them to another folder; mode="overwrite" replaces this one'))
    return found


def _schema_of(one: Staged, path: str) -> pa.Schema:
    """The schema of a file of a target."""
    try:
        with one.fs.open(path) as raw:
            if one.sink.format == "ipc":
                return pa.ipc.open_file(raw).schema.remove_metadata()
            import pyarrow.parquet as pq

            return pq.read_schema(raw).remove_metadata()
    except pa.ArrowException as error:
        raise SchemaError(Report(f"{one.sink.path} holds what is no {one.sink.format}: {error}", location=path)) from error


def _check_names(one: Staged, path: str, schema: pa.Schema) -> None:
    """That rows have the columns of a file of a target. Of CSV, whose types every reader guesses, no more can be known."""
    with one.fs.open(path) as raw:
        if one.sink.format == "csv":
            names = next(csv.reader(io.TextIOWrapper(raw, "utf-8", newline="")), [])
        else:
            import fastavro

            names = [field["name"] for field in fastavro.reader(raw).writer_schema["fields"]]
    if differ := sorted({*names} ^ {*schema.names}):
        raise _other_columns(one, differ[0])
