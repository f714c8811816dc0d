"""A relational query at work in one task: its inputs become lazy frames, its result comes back batch by batch.

    sources (scanned by the kernel itself) ─┐
                                            ├─> kernels.relations.query ─> streaming engine ─> Records, Records, …
    side values (kept files of the run) ────┘
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflow.errors import DataflowError, InputError, Report, SchemaError, StepError
from dataflow.execution.context import TaskContext
from dataflow.execution.sides import KeptIterable
from dataflow.expr.typing import ExprError
from dataflow.io.schema import conform, table_of, unify
from dataflow.io.source import Source, Split
from dataflow.physical.program import PieceRoot, QueryRoot, ScanRoot, ShuffleInput
from dataflow.plan.nodes import Relation
from dataflow.plan.origin import Origin
from dataflow.plan.relational import Given
from dataflow.plan.traversal import topological
from dataflow.shard.batch import Batch, Records
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import read_block

if TYPE_CHECKING:
    from dataflow.kernels.relations import Frame

__all__ = ["kept_table", "leaves_of", "named", "run_piece", "run_query", "run_scan", "united"]


def run_query(root: QueryRoot, label: str, sides: dict[str, Any]) -> Iterator[Batch]:
    """The records of a query, in batches, in order where it has one."""
    from dataflow.kernels.query import batches, scan_parquet
    from dataflow.kernels.relations import query

    frames = []
    for given in root.inputs:
        if isinstance(given, str):
            frames.append(_kept_frame(sides[given]))
        elif (scan := given.kernel_scan()) is not None:
            frames.append(scan_parquet(scan))
        else:
            frames.append(_read_frame(given))
    leaves = leaves_of(root.relation, frames)
    with named(root.origin, label):
        for table in batches(query(root.relation, leaves)):
            yield Records(table)


def run_scan(root: ScanRoot, splits: tuple[Split, ...], label: str, context: TaskContext) -> Iterator[Batch]:
    """The records that a query makes of splits of files, which the kernel scans itself."""
    from dataflow.kernels.query import batches, frame_of_table, scan_parquet
    from dataflow.kernels.relations import query

    sides = [frame_of_table(kept_table(context.sides[name])) for name in root.sides]
    for split in splits:
        frames = [scan_parquet(root.source.scan_split(split)), *sides]
        leaves = leaves_of(root.relation, frames)
        context.bytes_read += split.bytes
        with named(root.origin, label, split.name):
            for table in batches(query(root.relation, leaves)):
                if table.num_rows:
                    yield Records(table)


def run_piece(root: PieceRoot, given: ShuffleInput, label: str, context: TaskContext) -> Iterator[Batch]:
    """The records that a query makes of a range of a shuffle."""
    from dataflow.execution.group import read_range
    from dataflow.kernels.query import batches, frame_of_table
    from dataflow.kernels.relations import query

    parts: list[list[pa.Table]] = [[] for _ in range(root.sides)]
    for coded in read_range(given, given.first or 0, given.last if given.last is not None else 1 << 16):
        context.bytes_read += coded.nbytes
        batch = decode_batch(coded)
        assert isinstance(batch, Records)
        parts[int((coded.schema.metadata or {}).get(b"side", b"0"))].append(batch.table)
    leaves = leaves_of(root.relation, [frame_of_table(united(tables)) for tables in parts])
    if not any(parts) and given.first:
        return  # nothing fell here; the first piece alone answers for a collection that is empty altogether
    with named(root.origin, label):
        for table in batches(query(root.relation, leaves)):
            if table.num_rows:
                yield Records(table)


def leaves_of(root: Relation, frames: list[Frame]) -> dict[int, Frame]:
    """The frame of every `Given` of a tree. A collection that is empty has no columns of its own: it has those planned for it."""
    found = {}
    for node in topological((root,)):
        if isinstance(node, Given):
            frame = frames[node.index]
            found[id(node)] = frame if frame.schema or node.schema is None else empty_frame(node)
    return found


def empty_frame(node: Given) -> Frame:
    """The frame of a part from which nothing came, of the columns that were planned."""
    from dataflow.kernels.query import frame_of_table
    from dataflow.kernels.types import to_arrow

    assert node.schema is not None, "a query is only cut into pieces where its columns are known"
    return frame_of_table(pa.schema([(name, to_arrow(kind)) for name, kind in node.schema.items()]).empty_table())


@contextmanager
def named(origin: Origin, label: str, location: str = "") -> Generator[None]:
    """Errors of the kernel as ours: the step, the user's line, the file."""
    try:
        yield
    except (DataflowError, OSError, MemoryError):
        raise
    except Exception as error:
        hint = error.hint if isinstance(error, ExprError) else ""
        text = " ".join(str(error).split())[:400]
        raise StepError(
            Report(
                f"{label} failed: {text}", steps=(label,), declared=str(origin), declared_text=origin.text(), location=location, hint=hint
            )
        ) from error


def kept_table(kept: KeptIterable) -> pa.Table:
    """The records of kept files as one table, of the columns and types that hold all of them; remembered in this process for
    the other tasks that join with it."""
    key = tuple(file.path for file in kept.files)
    if key not in _tables:
        while len(_tables) >= MOST_TABLES:
            del _tables[next(iter(_tables))]
        _tables[key] = _table_of(kept)
    return _tables[key]


_tables: dict[tuple[str, ...], pa.Table] = {}
MOST_TABLES = 4


def _table_of(kept: KeptIterable) -> pa.Table:
    parts = [table_of(decode_batch(read_block(file, block)), None) for file in kept.files for block in file.blocks]
    return united(parts)


def _kept_frame(kept: KeptIterable) -> Frame:
    """The records of kept files as a frame that reads them when it is asked to, in the columns and types that hold all."""
    from dataflow.kernels.query import frame_of_stream

    def tables() -> Iterator[pa.Table]:
        for file in kept.files:
            for block in file.blocks:
                yield table_of(decode_batch(read_block(file, block)), None)

    layouts = list(dict.fromkeys(table.schema.remove_metadata() for table in tables()))
    layout = unify([("the records", one) for one in layouts])
    return frame_of_stream(lambda: (conform(table, layout) for table in tables()), layout)


def _read_frame(source: Source) -> Frame:
    """The records of a source that the kernel cannot scan, read as the query wants them."""
    from dataflow.kernels.query import frame_of_stream

    layout = source.columns()
    if layout is None:
        raise InputError(Report("the columns of the input are not known", location=source.describe()))

    def tables() -> Iterator[pa.Table]:
        for split in source.splits(1 << 26):
            for piece in source.read(split):
                if len(piece.batch):
                    yield conform(table_of(piece.batch, None), layout)

    return frame_of_stream(tables, layout)


def united(parts: list[pa.Table]) -> pa.Table:
    """Tables end to end, of the columns and types that hold all of them."""
    if not parts:
        return pa.table({})
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise SchemaError(Report(f"records disagree about their columns: {error}", hint="map them to one shape first")) from error
