"""Running a lazy query: frames from files and tables, and the result as Arrow tables, a bounded piece at a time."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from dataflow.kernels.carrying import out_of, storage_table
from dataflow.kernels.relations import Frame
from dataflow.kernels.types import schema_from_arrow, to_arrow, to_polars
from dataflow.record import record
from dataflow.shard.arrow import empty_table

__all__ = ["ParquetScan", "as_frame", "batches", "frame_of_stream", "frame_of_table", "scan_parquet"]

BATCH_ROWS = 1 << 16
AHEAD = 2
AS_PLANNED = pl.QueryOptFlags(join_order=False)
"""Joins are in the order that our optimizer gave them, by more than the kernel knows: by the sizes of scans alone it took a third more
for TPC-H's query 7, a tenth more for the 2 and the 9, and joined the two small sides of a piece of the 5 first, on a key of 25 values."""
LAST_WAIT = 10.0  # seconds for a query to stop when Python ends


@record(eq=True)
class ParquetScan:
    """Local Parquet files of one layout."""

    paths: tuple[str, ...]
    schema: pa.Schema
    columns: tuple[str, ...] | None = None
    rows: tuple[int, int] | None = None  # from which row, and how many
    versions: tuple[str, ...] = ()  # of the files when they were listed
    between: tuple[str, Any, Any] | None = None  # a column, from which value, up to which, not included; None is without end
    folders: pa.Schema | None = None  # the columns of which the values are in the names of folders


def scan_parquet(scan: ParquetScan) -> Frame:
    """The frame of Parquet files, of which the kernel reads only the columns, row groups and pages that a query needs."""
    folders = {name: to_polars(kind) for name, kind in schema_from_arrow(scan.folders).items()} if scan.folders is not None else None
    paths = list(scan.paths)
    lazy = pl.scan_parquet(paths, hive_partitioning=folders is not None, hive_schema=folders, glob=False, missing_columns="insert")
    if scan.rows is not None:
        lazy = lazy.slice(*scan.rows)  # the scan takes it, and filters too: only those row groups are read
    if scan.between is not None:
        name, low, high = scan.between
        bounds = ([pl.col(name) >= low] if low is not None else []) + ([pl.col(name) < high] if high is not None else [])
        lazy = lazy.filter(*bounds) if bounds else lazy
    schema = schema_from_arrow(scan.schema)
    have = lazy.collect_schema()
    empty = [name for name, kind in schema.items() if name in have and have[name] == pl.Null and kind.name != "null"]
    if empty:  # a file of only nulls among others
        lazy = lazy.with_columns(pl.col(name).cast(to_polars(schema[name])) for name in empty)
    if scan.columns is not None:
        lazy = lazy.select(list(scan.columns))
        schema = {name: schema[name] for name in scan.columns}
    return Frame(lazy, schema)


def as_frame(table: pa.Table, touched: Collection[str] | None = None) -> pl.DataFrame:
    """A table at hand as the kernel sees it, without a copy where Arrow's layout is the kernel's. ``touched``: the columns that
    expressions read, None for all; others need only be carried."""
    frame = pl.from_arrow(storage_table(table, touched))
    assert isinstance(frame, pl.DataFrame)
    if frame.columns != table.column_names:
        frame.columns = table.column_names  # it calls a column without a name "column_0"
    return frame


def frame_of_table(table: pa.Table, touched: Collection[str] | None = None) -> Frame:
    """The lazy frame of a table at hand."""
    return Frame(as_frame(table, touched).lazy(), schema_from_arrow(table.schema))


def frame_of_stream(
    make: Callable[[Sequence[str] | None], Iterator[pa.Table]], layout: pa.Schema, touched: Collection[str] | None = None
) -> Frame:
    """The lazy frame of tables that are read when the query wants them, again for every scan of it; never all at once.

    ``make`` is given the columns that the query asks for, None for all, and may give more. These, a filter and a number of rows are
    applied here: the engine trusts that they are.
    """
    from polars.io.plugins import register_io_source

    empty = as_frame(empty_table(layout), touched)

    def tables(with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None) -> Iterator[pl.DataFrame]:
        left = n_rows
        names = [*with_columns, *predicate.meta.root_names()] if with_columns is not None and predicate is not None else with_columns
        for table in make(list(dict.fromkeys(names)) if names is not None else None):
            piece = as_frame(table, touched)
            if predicate is not None:
                piece = piece.filter(predicate)
            if left is not None:
                piece = piece.head(left)
                left -= piece.height
            yield piece.select(with_columns) if with_columns is not None else piece
            if left == 0:
                return

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        source = tables(with_columns, predicate, n_rows)
        _sources.add(source)
        return source

    lazy = register_io_source(read, schema=empty.schema, validate_schema=True, is_pure=True)
    return Frame(lazy, schema_from_arrow(layout))


def batches(frame: Frame, carried: Mapping[str, pa.Field] | None = None) -> Iterator[pa.Table]:
    """The result of a query. At least one table comes, so that an empty result has its columns too. ``carried``: columns with
    an Arrow type of their own to come back in, where the plan's type would do with another.
    """
    known = carried or {}
    wanted = pa.schema([known[name] if name in known else pa.field(name, to_arrow(kind)) for name, kind in frame.schema.items()])
    some = False
    for piece in _pieces(frame.lazy):
        if piece.height:
            yield _as_arrow(piece, wanted)
            some = True
    if not some:
        yield empty_table(wanted)


def _pieces(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The result as it is made, a few pieces ahead at most; whoever stops early stops the query.

    The query runs in a thread that hands pieces over, not in `collect_batches`: an iterator of that kind which is not
    drained aborts the whole process when Python ends. While it runs here waits in Python, so Ctrl-C is seen at once.
    """
    handed: queue.Queue[pl.DataFrame | BaseException | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def hand(piece: pl.DataFrame | BaseException | None) -> bool:
        """Whether the query should stop, after the piece was taken or nobody wants it any more."""
        while not stopped.is_set():
            try:
                handed.put(piece, timeout=0.05)
                return False
            except queue.Full:
                continue
        return True

    def run() -> None:
        try:
            lazy.sink_batches(hand, chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming", optimizations=AS_PLANNED)
            hand(None)
        except BaseException as error:  # a panic of the kernel is no Exception
            hand(error)

    thread = threading.Thread(target=run, name="dataflow-query", daemon=True)
    _running[thread] = stopped
    thread.start()
    try:
        while (piece := _next(handed)) is not None:
            if isinstance(piece, BaseException):
                raise piece if isinstance(piece, Exception) else RuntimeError(f"the kernel panicked: {piece}") from piece
            yield piece
    finally:
        stopped.set()
        thread.join()
        _running.pop(thread, None)


_running: dict[threading.Thread, threading.Event] = {}
_sources: weakref.WeakSet[Iterator[pl.DataFrame]] = weakref.WeakSet()  # what queries read, until the kernel lets go of it


@atexit.register
def _stop_all() -> None:
    """Stop the queries whose readers were abandoned, by Ctrl-C say: a thread of the kernel's that wants to call Python when
    there is none any more aborts the process.

    A stopped query has ended before its sources have: one of the kernel's threads may still be in Python for the next table, or on
    its way there. It lets go of a source when it has seen that nobody wants more, and says so to Python at the next call of it.
    """
    end = time.monotonic() + LAST_WAIT
    for thread, stopped in list(_running.items()):
        stopped.set()
        thread.join(max(0.0, end - time.monotonic()))
    while _sources and time.monotonic() < end:
        time.sleep(0.001)
        pl.DataFrame()


def _next(handed: queue.Queue[pl.DataFrame | BaseException | None]) -> pl.DataFrame | BaseException | None:
    """The next piece. The wait is cut into short ones, between which Python looks for signals."""
    while True:
        try:
            return handed.get(timeout=1.0)
        except queue.Empty:
            continue


def _as_arrow(piece: pl.DataFrame, wanted: pa.Schema) -> pa.Table:
    table = piece.to_arrow(compat_level=pl.CompatLevel.oldest())
    if table.schema.equals(wanted, check_metadata=True):
        return table
    return pa.Table.from_arrays([out_of(field.name, table.column(field.name), field.type) for field in wanted], schema=wanted)
