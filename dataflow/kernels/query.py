"""Running a lazy query: frames from files and tables, and the result as Arrow tables, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from dataflow.expr.types import DType, Schema
from dataflow.kernels.relations import Frame
from dataflow.kernels.types import schema_from_arrow, to_arrow

__all__ = ["ParquetScan", "as_frame", "batches", "frame_of_table", "scan_parquet"]

BATCH_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ParquetScan:
    """Local Parquet files of one layout. ``hive``: their columns come from folder names too."""

    paths: tuple[str, ...]
    schema: pa.Schema
    columns: tuple[str, ...] | None = None
    rows: tuple[int, int] | None = None  # from which row, and how many


def scan_parquet(scan: ParquetScan) -> Frame:
    """The frame of Parquet files, of which the kernel reads only the columns, row groups and pages that a query needs."""
    lazy = pl.scan_parquet(list(scan.paths), hive_partitioning=False, glob=False, missing_columns="insert")
    if scan.rows is not None:
        lazy = lazy.slice(*scan.rows)  # the scan takes it, and filters too: only those row groups are read
    schema = schema_from_arrow(scan.schema)
    if scan.columns is not None:
        lazy = lazy.select(list(scan.columns))
        schema = {name: schema[name] for name in scan.columns}
    return Frame(lazy, schema)


def as_frame(table: pa.Table) -> pl.DataFrame:
    """A table at hand as the kernel sees it, without a copy where Arrow's layout is the kernel's."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def frame_of_table(table: pa.Table) -> Frame:
    """The lazy frame of a table at hand."""
    return Frame(as_frame(table).lazy(), schema_from_arrow(table.schema))


def batches(frame: Frame) -> Iterator[pa.Table]:
    """The result of a query. At least one table comes, so that an empty result has its columns too."""
    wanted = _arrow_schema(frame.schema)
    some = False
    for piece in frame.lazy.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, lazy=True, engine="streaming"):
        if piece.height or not some:
            yield _as_arrow(piece, wanted)
            some = True
    if not some:
        yield wanted.empty_table()


def _arrow_schema(schema: Schema) -> pa.Schema:
    return pa.schema([pa.field(name, _kind(kind)) for name, kind in schema.items()])


def _kind(kind: DType) -> pa.DataType:
    return to_arrow(kind)


def _as_arrow(piece: pl.DataFrame, wanted: pa.Schema) -> pa.Table:
    table = piece.to_arrow(compat_level=pl.CompatLevel.oldest())
    if table.schema == wanted:
        return table
    columns = []
    for field in wanted:
        column = table.column(field.name)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=wanted)


