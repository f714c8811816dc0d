"""The formats whose files hold columns of one schema: Parquet, Arrow IPC, CSV, Avro."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.errors import Report, SchemaError
from dataflow.kernels.carrying import full_type
from dataflow.shard.arrow import call, empty_table, taken

__all__ = ["columnar_writer"]


def columnar_writer(form: str, compression: str | None, file: Any, schema: pa.Schema) -> Any:
    """What writes tables of a schema into an open file: ``write_table``, then ``close``."""
    out = pa.PythonFile(file, "w")
    match form:
        case "parquet":
            return _ParquetWriter(out, schema, compression or "zstd")
        case "ipc":
            return _IpcWriter(out, schema)
        case "csv":
            import pyarrow.csv as pacsv

            for field_ in schema:
                if pa.types.is_nested(field_.type):
                    text = f"CSV has no form for column {field_.name!r} of type {field_.type}"
                    raise SchemaError(Report(text, hint="write Parquet or JSON lines, or map the column to a string"))
            return pacsv.CSVWriter(out, schema)
        case _:
            return _AvroWriter(file, schema)


class _ParquetWriter:
    """Parquet with page checksums, and with dictionaries for the columns whose values repeat.

    Parquet's writer tries a dictionary for every column of every row group and gives up when it has grown too large. On the four columns
    that identify and price a line of TPC-H, to choose by a sample first took half the time and three quarters of the bytes.
    """

    def __init__(self, out: Any, schema: pa.Schema, compression: str) -> None:
        self.out, self.schema, self.compression = out, schema, compression
        self.writer: Any = None

    def write_table(self, table: pa.Table) -> None:
        self._opened(table).write_table(table)

    def _opened(self, first: pa.Table) -> Any:
        if self.writer is not None:
            return self.writer
        import pyarrow.parquet as pq

        repeats = [leaf for field in first.schema for leaf in _leaves(field.name, field.type) if _repeats(first.column(field.name))]
        self.writer = pq.ParquetWriter(
            self.out, self.schema, compression=self.compression, write_page_checksum=True, use_dictionary=repeats or False
        )
        return self.writer

    def close(self) -> None:
        self._opened(empty_table(self.schema)).close()


SAMPLE = 16_384


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether at most half of a column's values, taken at equal distances, are distinct; what is nested, or
    cannot be compared by Arrow, is taken to repeat."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        return True
    rows = np.arange(0, len(column), max(1, len(column) // SAMPLE))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):  # Arrow cannot take these
        column = column.cast(pa.large_binary())
    try:
        return 2 * len(call("unique", taken(column, rows))) <= len(rows)
    except pa.ArrowNotImplementedError:  # decimals of 32 and 64 bits, say
        return True


def _leaves(name: str, kind: pa.DataType) -> Iterator[str]:
    """The paths of a column's leaves as Parquet names them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{name}.key_value.key", kind.key_type)
        yield from _leaves(f"{name}.key_value.value", kind.item_type)
    elif pa.types.is_nested(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    else:
        yield name


class _IpcWriter:
    """Arrow IPC. A file has one dictionary a column, which may grow: each table's is put behind what there is already."""

    def __init__(self, out: Any, schema: pa.Schema) -> None:
        self.schema = schema
        self.known: dict[int, pa.Array] = {}  # by column: the dictionary,
        self.places: dict[int, dict[Any, int]] = {}  # where each of its values stands,
        self.last: dict[int, tuple[pa.Array, pa.Array]] = {}  # and the table's own before, with the places of its values
        self.writer = pa.ipc.new_file(out, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True))

    def write_table(self, table: pa.Table) -> None:
        for at, field in enumerate(self.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(at, field, self._grown(at, table.column(at), field))
        self.writer.write_table(table)

    def _grown(self, at: int, column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
        if pa.types.is_nested(field.type.value_type):  # Arrow puts no such dictionaries together, and refuses a second one itself
            return column
        found = column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()
        places = self._placed(at, found.dictionary).take(found.indices)
        known = self.known[at]
        try:
            places = places.cast(field.type.index_type)
            return pa.DictionaryArray.from_arrays(places, known.cast(field.type.value_type), ordered=field.type.ordered)
        except pa.ArrowInvalid as error:
            text = f"column {field.name!r} is a {field.type}, and has {len(known):,} different values"
            raise SchemaError(Report(text, hint="cast it to its values' type, or give schema= a dictionary with a wider index")) from error

    def _placed(self, at: int, dictionary: pa.Array) -> pa.Array:
        """Where the values of a table's dictionary stand in that of the file, which now has them."""
        if at in self.last and self.last[at][0].equals(dictionary):
            return self.last[at][1]
        places = self.places.setdefault(at, {})
        before = len(places)
        kind = dictionary.type
        looked_up = dictionary.view(pa.int64()) if pa.types.is_temporal(kind) and kind.bit_width == 64 else dictionary  # to the nanosecond
        found = [places.setdefault(value, len(places)) for value in looked_up.to_pylist()]
        values = dictionary.cast(full_type(dictionary.type) or dictionary.type)
        new = {place: row for row, place in reversed([*enumerate(found)]) if place >= before}
        fresh = values.take(pa.array([new[place] for place in range(before, len(places))], pa.int64()))
        self.known[at] = pa.concat_arrays([self.known[at], fresh]) if at in self.known else fresh
        self.last[at] = dictionary, pa.array(found, pa.int64())
        return self.last[at][1]

    def close(self) -> None:
        self.writer.close()


class _AvroWriter:
    """Avro by fastavro, which wants all records of a file at once: they are held until the file rolls."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
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
