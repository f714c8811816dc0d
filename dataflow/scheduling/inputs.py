"""What the tasks of a phase read: splits put together, ranges of hashes, ranges of keys.

How many there are depends on the bytes there are and on the memory allowed, never on the number of workers.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from dataflow.io.source import Split
from dataflow.physical.program import ShuffleInput, ShuffleLeaf, TaskInput
from dataflow.shard.runfile import RunFile

__all__ = ["BUCKETS", "gathered", "hash_ranges", "key_ranges", "range_count", "ranges_of"]

BUCKETS = 1 << 16
RANGE_BYTES = 64 << 20
SORTED_BYTES = 128 << 20  # of a range of a sort: it reads a block too much at each end of every run (60 million rows: 1.9 times its bytes)
LEAST_BYTES = 1 << 18  # of a range: a task takes some milliseconds, whatever it does


def hash_ranges(leaf: ShuffleLeaf, files: tuple[RunFile, ...], memory: int) -> list[TaskInput]:
    """Ranges of buckets, as many as the bytes ask for, or as the user does."""
    total = sum(file.bytes for file in files)
    count = ranges_of(leaf, total, memory)
    numbered = leaf.partitioner is not None or leaf.kind == "deal"  # by the number of the part, in the place of the bucket
    edges = [i if numbered else BUCKETS * i // count for i in range(count + 1)]
    size = total // max(1, len(edges) - 1)
    return [TaskInput(shuffle=ShuffleInput((), a, b, size), bytes=size) for a, b in itertools.pairwise(edges)]


def key_ranges(files: tuple[RunFile, ...], memory: int) -> list[TaskInput]:
    """Ranges of keys of about equal bytes, cut at first keys of blocks."""
    blocks = sorted(((b.first, b.size) for file in files for b in file.blocks), key=lambda pair: pair[0])
    total = sum(length for _, length in blocks)
    count = range_count(total, memory, SORTED_BYTES)
    edges: list[Any] = [None]
    held = 0
    for first, length in blocks:
        if held >= total / count and first != edges[-1]:
            edges.append(first)
            held = 0
        held += length
    edges.append(None)
    size = total // (len(edges) - 1)
    return [TaskInput(shuffle=ShuffleInput((), a, b, size), bytes=size) for a, b in itertools.pairwise(edges)]


def ranges_of(leaf: ShuffleLeaf, total: int, memory: int) -> int:
    """How many ranges a shuffle of so many bytes is read in, which is fed by such leaves; of a sort and of columns that is about."""
    if leaf.partitioner is not None or leaf.kind == "deal":
        return leaf.partitions or 1
    return leaf.partitions or range_count(total, memory, SORTED_BYTES if leaf.kind == "sort" else RANGE_BYTES)


def range_count(total: int, memory: int, most: int = RANGE_BYTES) -> int:
    """How many ranges a shuffle of so many bytes is read in; each takes about five times its bytes, and two or more are read at once."""
    size = min(most, max(LEAST_BYTES, memory // 16))
    return max(math.ceil(total / size), 4 if total > 16 << 20 else 1)


def gathered(splits: list[Split], target: int) -> list[TaskInput]:
    """Splits put together until a task has enough to do: several small files a task."""
    total = sum(split.bytes for split in splits)
    target = min(target, max(1 << 20, total // 8))
    inputs: list[TaskInput] = []
    held: list[Split] = []
    size = 0
    for split in splits:
        if held and (size + split.bytes > target * 1.25 or len(held) >= 1000):
            inputs.append(TaskInput(tuple(held), bytes=size))
            held, size = [], 0
        held.append(split)
        size += split.bytes
    if held:
        inputs.append(TaskInput(tuple(held), bytes=size))
    return inputs
