"""Whether the files of a shuffle are worth putting together before they are read, and which go together (`physical.merging`).

    index of the files ─> blocks and bytes that the readers would read, once as they are, once of larger files ─ much sooner? ─> merges

Only sizes and the memory of the run decide, never the number of workers: how many ranges are read, and so how many files come out, depends
on the bytes that there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from dataflow.physical.program import TaskInput
from dataflow.scheduling.filed import task_of
from dataflow.shard.runfile import BLOCK_BYTES, RunFile

__all__ = ["merge_inputs", "worth_merging"]

BLOCK_SECONDS = 25e-6  # to read, check and decode a block of 20 rows, of a file on this machine
BYTE_SECONDS = 1e-9  # to read, check and decompress a byte of a large one
MERGE_SECONDS = 4e-9  # to read a byte, put it in order, compress and write it
PAYS = 1.3  # times the work of merging and reading larger files: the estimate is one
LEAST_SECONDS = 4.0  # of work in all; merging is another pass, which all readers wait for
AT_LEAST = 8  # merges, to be done beside each other
MORE = 1.25  # times what is aimed at, rather than one file less
PART = 48  # of the memory: what a merge puts in order at once, if sixteen run


def worth_merging(files: Sequence[RunFile], ranges: int, memory: int) -> bool:
    """Whether so many readers of a shuffle have done sooner with larger files.

    >>> from dataflow.shard.runfile import Block
    >>> tiny = [RunFile(f"{n}", f"map/{n}", (Block(0, 1200, 0, 20, 0, 0, 65535, size=1200),)) for n in range(2000)]
    >>> worth_merging(tiny, 2000, 1 << 30), worth_merging(tiny, 20, 1 << 30)
    (True, False)
    """
    as_they_are = sum(_reading(len(file.blocks), len({block.run for block in file.blocks}), file.bytes, ranges) for file in files)
    if as_they_are < LEAST_SECONDS:
        return False
    merged = [sum(file.bytes for file in one) for one in _together(files, ranges, memory)]
    work = sum(len(file.blocks) for file in files) * BLOCK_SECONDS + sum(merged) * MERGE_SECONDS
    after = (_reading(max(1, size // BLOCK_BYTES), math.ceil(size / _most(memory) / MORE), size, ranges) for size in merged)
    return as_they_are > PAYS * (work + sum(after))


def merge_inputs(files: Sequence[RunFile], side: int, ranges: int, memory: int) -> list[TaskInput]:
    """What the merges of one side of a shuffle read: files of tasks that follow each other.

    >>> from dataflow.shard.runfile import Block
    >>> files = [RunFile(f"{n}", f"map/{n}", (Block(0, 1200, 0, 20, 0, 0, 65535, size=1200),)) for n in range(2000)]
    >>> [len(one.files) for one in merge_inputs(files, 0, 2000, 1 << 30)]
    [250, 250, 250, 250, 250, 250, 250, 250]
    """
    found = _together([file for file in files if file.side == side], ranges, memory)
    return [TaskInput(files=tuple(one), bytes=sum(file.bytes for file in one)) for one in found]


def _reading(blocks: int, runs: int, size: int, ranges: int) -> float:
    """The seconds of all readers for a file: of every run, each reads the blocks of its range, of which two have rows of others."""
    reads = blocks + ranges * runs
    return reads * BLOCK_SECONDS + size * reads / max(1, blocks) * BYTE_SECONDS


def _most(memory: int) -> int:
    return max(1, memory // PART)


def _together(files: Iterable[RunFile], ranges: int, memory: int) -> list[list[RunFile]]:
    """Files that are put together: as much that a block of the whole is of one range, where memory has room for it. Those of one task
    stay together, by which a merge knows its files (`FiledFiles.current`)."""
    tasks = [list(one) for _, one in itertools.groupby((file for file in files if file.blocks), key=task_of)]
    sizes = [sum(file.bytes for file in one) for one in tasks]
    most = max(1, min(ranges * BLOCK_BYTES, _most(memory), math.ceil(sum(sizes) / AT_LEAST)))
    found: list[list[RunFile]] = []
    held = most
    for one, size in zip(tasks, sizes, strict=True):
        if held >= most or held + size > most * MORE:
            found.append([])
            held = 0
        found[-1] += one
        held += size
    return found
