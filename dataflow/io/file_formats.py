"""The formats whose files hold columns of one schema: Parquet, Arrow IPC, CSV, Avro."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dataflow.errors import Report, SchemaError

__all__ = ["columnar_writer"]


def columnar_writer(form: str, compression: str | None, file: Any, schema: pa.Schema) -> Any:
    """What writes tables of a schema into an open file: ``write_table``, then ``close``."""
    out = pa.PythonFile(file, "w")
    match form:
        case "parquet":
            import pyarrow.parquet as pq

            return pq.ParquetWriter(out, schema, compression=compression or "zstd", write_page_checksum=True)
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
