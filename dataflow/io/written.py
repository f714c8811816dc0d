"""Reading back what a sink wrote, file by file, before anybody else sees it: to widen a file's schema, to compare two attempts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataflow.io.files import FileSystem
from dataflow.io.sink import FileSink, WrittenFile

__all__ = ["rows_of", "tables_of"]


def tables_of(fs: FileSystem, file: WrittenFile, sink: FileSink) -> Iterator[pa.Table]:
    """The tables of a file whose format has columns, in pieces."""
    with fs.open(file.path) as raw:
        match sink.format:
            case "parquet":
                import pyarrow.parquet as pq

                for batch in pq.ParquetFile(raw, page_checksum_verification=True).iter_batches():
                    yield pa.table(batch)
            case "ipc":
                reader = pa.ipc.open_file(raw)
                for index in range(reader.num_record_batches):
                    yield pa.table(reader.get_batch(index))
            case "csv":
                import pyarrow.csv as pacsv

                assert file.schema is not None
                types = {f.name: f.type for f in file.schema}
                yield pacsv.read_csv(
                    raw,
                    pacsv.ReadOptions(block_size=1 << 24),
                    # a record of one null is an empty line
                    pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(types) != 1),
                    pacsv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False),
                )
            case _:
                import fastavro

                yield pa.Table.from_pylist(list(fastavro.reader(raw)), schema=file.schema)


def rows_of(fs: FileSystem, file: WrittenFile, sink: FileSink) -> Iterator[Any]:
    """The rows of a file: records, or lines of what is text."""
    if sink.typed:
        for table in tables_of(fs, file, sink):
            yield from table.to_pylist()
        return
    with fs.open(file.path) as raw:
        for line in raw:
            yield line.decode("utf-8", "replace").removesuffix("\n")
