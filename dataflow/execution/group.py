"""Reading a grouping shuffle: a range of hashes in, (key, values) out, in bounded memory.

    blocks of the range ─┬─ fit the budget:  ordered by hash, cut where it changes     (`group_in_memory`)
                         └─ do not:          by buckets that fit; a bucket that does
                                             not, by sorted runs on disk               (`group_external`)

Values of a group come in the order of the map tasks and, within one, of its elements.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from dataflow.execution.context import TaskContext
from dataflow.execution.group_external import SPREAD, external_groups
from dataflow.execution.group_in_memory import groups_in_memory, merged_groups
from dataflow.execution.hashed_run import bucket_of
from dataflow.physical.program import GroupRoot, ShuffleInput
from dataflow.shard.arrow import to_numpy
from dataflow.shard.batch import Batch
from dataflow.shard.codec import HASH
from dataflow.shard.runfile import Block, RunFile, read_block

__all__ = ["read_groups", "read_range", "rows_of_buckets"]


def read_groups(root: GroupRoot, given: ShuffleInput, context: TaskContext) -> Iterator[Batch]:
    """Batches of (key, values) pairs; with ``root.merge``, of (key, result)."""
    budget = max(context.memory // 2, 1 << 16)
    low, high = given.first or 0, given.last if given.last is not None else 1 << 16
    for first, last, size in _ranges(given, low, high, budget // SPREAD):
        if size <= budget // SPREAD or size < 1 << 16:
            parts = list(read_range(given, first, last))
            context.bytes_read += size
            if root.merge is not None:
                yield from merged_groups(root, parts, context)
            else:
                yield from groups_in_memory(root, parts)
        else:
            context.bytes_read += size
            yield from external_groups(root, read_range(given, first, last), context, budget)


def _ranges(given: ShuffleInput, low: int, high: int, budget: int) -> Iterator[tuple[int, int, int]]:
    """Ranges of buckets of about the budget's size; one bucket alone may be larger."""
    weight = np.zeros(high - low)
    for file in given.files:
        for block in file.blocks:
            first, last = max(block.first, low), min(block.last, high - 1)
            if first <= last:
                width = block.last - block.first + 1
                weight[first - low : last - low + 1] += block.size / width
    total = np.concatenate([[0.0], np.cumsum(weight)])
    start = 0
    while start < high - low:
        stop = int(np.searchsorted(total, total[start] + budget, side="right")) - 1
        stop = min(max(stop, start + 1), high - low)
        if (size := total[stop] - total[start]) > 0:  # of a wide block a few buckets may be less than a byte, and have rows
            yield low + start, low + stop, max(1, int(size))
        start = stop


def read_range(given: ShuffleInput, first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows of buckets [first, last) of every file, in order of the tasks that wrote them."""
    for file in given.files:
        for block in file.blocks:
            if block.last < first or block.first >= last:
                continue
            batch = rows_of_buckets(file, block, first, last)
            if batch.num_rows:
                yield batch


def rows_of_buckets(file: RunFile, block: Block, first: int, last: int) -> pa.RecordBatch:
    """The rows of a block that are of buckets [first, last)."""
    batch = read_block(file, block)
    if block.first < first or block.last >= last:
        buckets = bucket_of(to_numpy(batch.column(HASH)))
        start, stop = np.searchsorted(buckets, [first, last])
        batch = batch.slice(int(start), int(stop - start))
    return batch
