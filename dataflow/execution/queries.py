"""A relational query at work in one task: its inputs become lazy frames, its result comes back batch by batch.

    sources (scanned by the kernel itself) ─┐
                                            ├─> kernels.relations.query ─> streaming engine ─> Records, Records, …
    side values (kept files of the run) ────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataflow.errors import DataflowError, InputError, Report, SchemaError, StepError
from dataflow.execution.sides import KeptIterable
from dataflow.expr.typing import ExprError
from dataflow.io.schema import table_of
from dataflow.io.source import Source
from dataflow.physical.program import QueryRoot
from dataflow.plan.relational import Given
from dataflow.plan.traversal import topological
from dataflow.shard.batch import Batch, Records
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import read_block

__all__ = ["run_query"]


def run_query(root: QueryRoot, label: str, sides: dict[str, Any]) -> Iterator[Batch]:
    """The records of a query, in batches, in order where it has one."""
    from dataflow.kernels.query import batches, frame_of_table, scan_parquet
    from dataflow.kernels.relations import query

    frames = []
    for given in root.inputs:
        if isinstance(given, str):
            frames.append(frame_of_table(_kept_table(sides[given])))
        elif (scan := given.kernel_scan()) is not None:
            frames.append(scan_parquet(scan))
        else:
            frames.append(frame_of_table(_read_table(given)))
    leaves = {id(node): frames[node.index] for node in topological((root.relation,)) if isinstance(node, Given)}
    try:
        for table in batches(query(root.relation, leaves)):
            yield Records(table)
    except DataflowError:
        raise
    except ExprError as error:
        raise _failed(root, label, str(error), error.hint) from error
    except Exception as error:
        raise _failed(root, label, " ".join(str(error).split())[:400]) from error


def _failed(root: QueryRoot, label: str, text: str, hint: str = "") -> StepError:
    origin = root.origin
    return StepError(Report(f"{label} failed: {text}", steps=(label,), declared=str(origin), declared_text=origin.text(), hint=hint))


def _kept_table(kept: KeptIterable) -> pa.Table:
    """The records of kept files as one table, of the columns and types that hold all of them."""
    parts = [table_of(decode_batch(read_block(file, block)), None) for file in kept.files for block in file.blocks]
    return _united(parts)


def _read_table(source: Source) -> pa.Table:
    parts = [table_of(piece.batch, None) for split in source.splits(1 << 28) for piece in source.read(split)]
    if not parts:
        schema = source.columns()
        if schema is None:
            raise InputError(Report("the input holds no record, so its columns are not known", location=source.describe()))
        return schema.empty_table()
    return _united(parts)


def _united(parts: list[pa.Table]) -> pa.Table:
    if not parts:
        return pa.table({})
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise SchemaError(Report(f"records disagree about their columns: {error}", hint="map them to one shape first")) from error
