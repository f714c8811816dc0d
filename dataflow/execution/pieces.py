"""Reading a piece of an exchange: the rows of some buckets, of some hashes of a bucket, or of a key the shares of a split.

    blocks of the buckets ──(hashes)──> rows of the piece ──(shares)──> those between two places, each with its side

A block is read only if a row of it may be wanted. To know at which row of a share it begins, the rows before it are counted: from
the index where a block lies wholly in the piece, by reading it where it does not (there are few such: a heavy key has blocks of its own).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from dataflow.execution.group import rows_of_buckets
from dataflow.physical.program import ShuffleInput
from dataflow.shard.arrow import taken, to_numpy
from dataflow.shard.codec import HASH
from dataflow.shard.runfile import Block

__all__ = ["read_piece"]


def read_piece(given: ShuffleInput) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a piece with the number of their side, in order of the tasks that wrote them."""
    first, last = given.first or 0, given.last if given.last is not None else 1 << 16
    for number, file in enumerate(given.files):
        begin, end = _wanted(given, number, file.side)
        row = 0
        for block in file.blocks:
            if row >= end:
                break
            if block.last < first or block.first >= last or _apart(block, given.hashes):
                continue
            if row + block.rows <= begin and _within(block, first, last, given.hashes):
                row += block.rows
                continue
            batch = _of_hashes(rows_of_buckets(file, block, first, last), block, given.hashes)
            start, stop = max(begin - row, 0), min(end - row, batch.num_rows)
            row += batch.num_rows
            if start < stop:
                yield file.side, batch.slice(int(start), int(stop - start))


def _wanted(given: ShuffleInput, number: int, side: int) -> tuple[float, float]:
    """From which to which of a file's rows in the piece are wanted."""
    share = next((one for one in given.shares if one.side == side), None)
    if share is None:
        return 0, math.inf
    (first, begin), (last, end) = share.begin, share.end
    if not first <= number <= last:
        return 0, 0
    return begin if number == first else 0, end if number == last else math.inf


def _apart(block: Block, hashes: tuple[int, int] | None) -> bool:
    """Whether no row of a block has one of the hashes, as far as the index says."""
    return hashes is not None and block.hashes is not None and (block.hashes[1] < hashes[0] or block.hashes[0] > hashes[1])


def _within(block: Block, first: int, last: int, hashes: tuple[int, int] | None) -> bool:
    """Whether all rows of a block are in the piece."""
    if hashes is None:
        return bool(first <= block.first and block.last < last)
    return block.hashes is not None and hashes[0] <= block.hashes[0] and block.hashes[1] <= hashes[1]


def _of_hashes(batch: pa.RecordBatch, block: Block, hashes: tuple[int, int] | None) -> pa.RecordBatch:
    if hashes is None or not batch.num_rows:
        return batch
    own = to_numpy(batch.column(HASH))
    low, high = np.array(hashes, np.uint64)
    if block.hashes is not None:  # in order
        start, stop = np.searchsorted(own, low, "left"), np.searchsorted(own, high, "right")
        return batch.slice(int(start), int(stop - start))
    return taken(batch, np.flatnonzero((own >= low) & (own <= high)))
