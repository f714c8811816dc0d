"""Reading a sorting shuffle: a range of keys in, elements in order out, in bounded memory.

Every run is sorted already, so a range is a contiguous stretch of each. If all the stretches fit the budget they are
put end to end and sorted once more by a vector sort; else they are merged by rounds of one block a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import order_key
from dataflow.execution.context import TaskContext
from dataflow.execution.shuffle import sort_column
from dataflow.kernels.sorting import has_native_order, key_at, sort_order, upper_bound
from dataflow.physical.program import ShuffleInput, SortRoot
from dataflow.shard import batch as batches
from dataflow.shard.arrow import taken
from dataflow.shard.batch import Batch, Rows
from dataflow.shard.codec import ORDER, decode, decode_batch
from dataflow.shard.merge import merge_rounds
from dataflow.shard.narrow import alike, together
from dataflow.shard.runfile import Block, RunFile, read_block

__all__ = ["read_sorted"]

ROWS = 1 << 16


def read_sorted(root: SortRoot, given: ShuffleInput, context: TaskContext) -> Iterator[Batch]:
    """The elements with keys in [first, last), in order (``descending``: the other way round, range by range)."""
    runs = [(file, run) for file in given.files for run in _runs(file)]
    size = sum(block.size for file in given.files for block in file.blocks if _overlaps(block, given))
    context.bytes_read += size
    if size <= min(context.memory // 3, batches.MOST_BYTES):
        parts = [part.batch for file, run in runs for part in _parts(file, run, given)]
        rounds: Iterator[list[pa.RecordBatch]] = iter([parts] if parts else [])
    else:
        streams = [_parts(file, run, given) for file, run in runs]
        rounds = ([part.batch for part in round_] for round_, _ in merge_rounds(streams))
    if root.descending:
        yield from _reversed(rounds, context)
    else:
        for parts in rounds:
            yield from _in_order(parts)


class _SortedPart:
    """A stretch of a sorted run."""

    __slots__ = ("batch", "coding", "column")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.column, self.coding = sort_column(batch)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def last(self) -> Any:
        return key_at(self.column, self.coding, len(self) - 1)

    def cut(self, bound: Any) -> tuple[_SortedPart, _SortedPart]:
        at = upper_bound(self.column, self.coding, bound)
        return _SortedPart(self.batch.slice(0, at)), _SortedPart(self.batch.slice(at))


def _runs(file: RunFile) -> list[list[Block]]:
    runs: dict[int, list[Block]] = {}
    for block in file.blocks:
        runs.setdefault(block.run, []).append(block)
    return list(runs.values())


def _overlaps(block: Block, given: ShuffleInput) -> bool:
    return (given.first is None or block.last >= given.first) and (given.last is None or block.first < given.last)


def _parts(file: RunFile, run: list[Block], given: ShuffleInput) -> Iterator[_SortedPart]:
    for block in run:
        if not _overlaps(block, given):
            continue
        part = _SortedPart(read_block(file, block))
        start = (
            upper_bound(part.column, part.coding, given.first, strict=True) if given.first is not None and block.first < given.first else 0
        )
        stop = (
            upper_bound(part.column, part.coding, given.last, strict=True)
            if given.last is not None and block.last >= given.last
            else len(part)
        )
        if start or stop < len(part):
            part = _SortedPart(part.batch.slice(start, stop - start))
        if len(part):
            yield part


def _in_order(parts: list[pa.RecordBatch]) -> Iterator[Batch]:
    """The rows of sorted parts in one order."""
    if not parts:
        return
    parts[:] = alike(parts)
    first = parts[0]
    column, coding = sort_column(first)
    if all(part.schema.equals(first.schema, check_metadata=True) for part in parts) and has_native_order(column.type, coding):
        whole = first
        if len(parts) > 1:
            whole = together(parts)
            parts.clear()
            order = sort_order(*sort_column(whole))
            if (at := whole.schema.get_field_index(ORDER)) >= 0:
                whole = whole.remove_column(at)  # it has said what it had to
            whole = taken(whole, order)  # at once, column by column: half the time of one batch after another
        for start in range(0, whole.num_rows, ROWS):
            yield decode_batch(whole.slice(start, ROWS))
        return
    keyed: list[tuple[Any, Any]] = []
    for part in parts:
        column, coding = sort_column(part)
        keyed.extend(zip(map(order_key, decode(column, coding)), decode_batch(part).rows(), strict=True))
    keyed.sort(key=lambda pair: pair[0])
    for start in range(0, len(keyed), ROWS):
        yield Rows([element for _, element in keyed[start : start + ROWS]])


def _reversed(rounds: Iterator[list[pa.RecordBatch]], context: TaskContext) -> Iterator[Batch]:
    """The whole range the other way round: its batches are kept on disk and read from the last."""
    from dataflow.shard.codec import encode_batch
    from dataflow.shard.runfile import RunWriter

    writer = RunWriter(context.spill_path("reverse"), context.task)
    for parts in rounds:
        for batch in _in_order(parts):
            writer.write(encode_batch(batch))
    file = writer.close()
    try:
        for block in reversed(file.blocks):
            batch = read_block(file, block)
            yield decode_batch(taken(batch, np.arange(batch.num_rows - 1, -1, -1)))
    finally:
        import contextlib
        import os

        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.path)
