"""Groups of shuffle rows that do not fit in memory: sorted runs on disk, merged by rounds.

rows of one bucket ─> runs sorted by hash ─merge_rounds─> whole groups, a few at a time
                                                └─ a hash that goes on for longer than memory: values to a file of
                                                   their own (`SpilledValues`), read as often as the user iterates
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import canonical, order_key
from dataflow.execution.context import TaskContext
from dataflow.execution.group_in_memory import groups_in_memory, in_value_order, keys_apart, merged, merged_groups
from dataflow.execution.shuffle import with_column
from dataflow.physical.program import GroupRoot
from dataflow.shard.arrow import from_numpy, taken, to_numpy
from dataflow.shard.batch import MOST_BYTES, Batch, Pairs, Rows
from dataflow.shard.codec import HASH, decode_batch, encode_batch
from dataflow.shard.merge import merge_rounds
from dataflow.shard.runfile import Block, RunFile, RunWriter, read_block

__all__ = ["SPREAD", "SpilledValues", "external_groups"]

SPREAD = 6  # Python values take about this many times their Arrow bytes


class _HashPart:
    """A stretch of a run sorted by hash."""

    __slots__ = ("batch", "hashes")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.hashes = to_numpy(batch.column(HASH))

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def last(self) -> int:
        return int(self.hashes[-1])

    def cut(self, bound: int) -> tuple[_HashPart, _HashPart]:
        at = int(np.searchsorted(self.hashes, np.uint64(bound), side="right"))
        return _HashPart(self.batch.slice(0, at)), _HashPart(self.batch.slice(at))


def external_groups(root: GroupRoot, parts: Iterator[pa.RecordBatch], context: TaskContext, budget: int) -> Iterator[Batch]:
    """The groups of rows that do not fit: sorted runs, merged; a group that does not fit by itself is kept in a file."""
    file, runs = _sorted_runs(parts, context, budget // SPREAD)
    try:
        streams = [iter(_HashPart(read_block(file, block)) for block in run) for run in runs]
        if root.merge is not None:
            yield from _external_merge(root, streams, context)
        else:
            yield from _external_groups(root, streams, context, budget)
    finally:
        _unlink(file.path)


def _external_groups(root: GroupRoot, streams: list[Any], context: TaskContext, budget: int) -> Iterator[Batch]:
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = 0
    large: dict[int, dict[Any, SpilledValues]] = {}
    for round_, bound in merge_rounds(streams):
        for part in round_:
            waiting.append(part.batch)
            waiting_bytes += part.batch.nbytes
        for done in [h for h in large if h < bound]:
            waiting, waiting_bytes = _into_large(waiting, large[done], done)
            yield from _finished(large.pop(done))
        ready, waiting = _split_at(waiting, bound)
        if ready:
            yield from groups_in_memory(root, ready)
        waiting_bytes = sum(batch.nbytes for batch in waiting)
        if waiting_bytes * SPREAD > budget or (waiting and bound in large):  # all of one hash: it will not fit
            groups = large.setdefault(bound, _Spilling(root, context))
            waiting, waiting_bytes = _into_large(waiting, groups, bound)
    for done in list(large):
        waiting, waiting_bytes = _into_large(waiting, large[done], done)
        yield from _finished(large.pop(done))
    yield from groups_in_memory(root, waiting)


class _Spilling(dict[Any, "SpilledValues"]):
    """The large groups of one hash (more than one only after a collision)."""

    def __init__(self, root: GroupRoot, context: TaskContext) -> None:
        super().__init__()
        self.root, self.context = root, context


def _into_large(waiting: list[pa.RecordBatch], groups: Any, hash_: int) -> tuple[list[pa.RecordBatch], int]:
    """Move the rows of one hash into the files of its groups."""
    rest = []
    for batch in waiting:
        hashes = to_numpy(batch.column(HASH))
        start, stop = np.searchsorted(hashes, np.uint64(hash_)), np.searchsorted(hashes, np.uint64(hash_), side="right")
        if start < stop:
            keys, values = decode_batch(batch.slice(int(start), int(stop - start))).pairs()
            for key, group in keys_apart(keys, values):
                known = canonical(key)
                if known not in groups:
                    groups[known] = SpilledValues(key, groups.root, groups.context)
                groups[known].extend(group)
        rest += [part for part in (batch.slice(0, int(start)), batch.slice(int(stop))) if part.num_rows]
    return rest, sum(batch.nbytes for batch in rest)


def _finished(groups: dict[Any, SpilledValues]) -> Iterator[Batch]:
    for group in groups.values():
        group.seal()
        yield Pairs([group.key], [group])
        group.remove()


def _split_at(batches: list[pa.RecordBatch], bound: int) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Rows below the bound, whose groups are whole, and rows at it, whose group may go on."""
    ready, waiting = [], []
    for batch in batches:
        at = int(np.searchsorted(to_numpy(batch.column(HASH)), np.uint64(bound)))
        ready += [batch.slice(0, at)] if at else []
        waiting += [batch.slice(at)] if at < batch.num_rows else []
    return ready, waiting


def _external_merge(root: GroupRoot, streams: list[Any], context: TaskContext) -> Iterator[Batch]:
    """Accumulators are merged as they come: a hash never waits with more than one a key."""
    assert root.merge is not None
    waiting: list[pa.RecordBatch] = []
    for round_, bound in merge_rounds(streams):
        waiting += [part.batch for part in round_]
        ready, waiting = _split_at(waiting, bound)
        if ready:
            yield from merged_groups(root, ready, context)
        if len(waiting) > 1:
            coded = encode_batch(Pairs(*merged(root.merge, waiting, context)))
            waiting = [with_column(coded, HASH, from_numpy(np.full(coded.num_rows, bound, np.uint64)))]
    yield from merged_groups(root, waiting, context)


def _sorted_runs(parts: Iterator[pa.RecordBatch], context: TaskContext, budget: int) -> tuple[RunFile, list[list[Block]]]:
    """The rows as runs sorted by hash in one file; a merge reads one block of each run at a time."""
    writer = RunWriter(context.spill_path("merge"), context.task)
    held: dict[Any, list[pa.RecordBatch]] = {}
    size = runs = 0

    def flush() -> None:
        nonlocal held, size, runs
        for batches in held.values():
            table = pa.concat_batches(batches)
            order = np.argsort(to_numpy(table.column(HASH)), kind="stable")
            per_block = max(1, int(len(order) * (budget // 16) / max(table.nbytes, 1)))
            for start in range(0, len(order), per_block):
                writer.write(taken(table, order[start : start + per_block]), runs)
            runs += 1
        held, size = {}, 0

    for part in parts:
        held.setdefault(str(part.schema) + str(part.schema.metadata), []).append(part)
        size += part.nbytes
        if size > min(budget, MOST_BYTES):
            flush()
    flush()
    file = writer.close()
    context.bytes_spilled += file.stored
    return file, [[block for block in file.blocks if block.run == run] for run in range(runs)]


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class SpilledValues:
    """The values of a group that is larger than memory: iterate as often as you like, while the function runs."""

    def __init__(self, key: Any, root: GroupRoot, context: TaskContext) -> None:
        self.key, self.root, self.context = key, root, context
        self._writer = RunWriter(context.spill_path("group"), context.task)
        self._file: RunFile | None = None
        self._held: list[Any] = []
        self._count = self._runs = 0

    def extend(self, values: list[Any]) -> None:
        """Add values; they are on disk once enough came together."""
        self._held.extend(values)
        self._count += len(values)
        if len(self._held) >= 8192:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        held = in_value_order(self.root, self._held)
        for start in range(0, len(held), 1024):
            self._writer.write(encode_batch(Rows(held[start : start + 1024])), self._runs)
        self._held = []
        self._runs += 1

    def seal(self) -> None:
        """No more values will come."""
        self._flush()
        self._file = self._writer.close()
        self.context.bytes_spilled += self._file.stored

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        assert self._file is not None
        if not self.root.sort_values:
            for block in self._file.blocks:
                yield from decode_batch(read_block(self._file, block)).rows()
            return
        import heapq

        key = self.root.sort_key
        runs = [self._run(run) for run in range(self._runs)]
        yield from heapq.merge(*runs, key=(lambda v: order_key(key(v))) if key else order_key)

    def _run(self, run: int) -> Iterator[Any]:
        assert self._file is not None
        for block in self._file.blocks:
            if block.run == run:
                yield from decode_batch(read_block(self._file, block)).rows()

    def remove(self) -> None:
        """Remove the file; the function has returned."""
        if self._file is not None:
            _unlink(self._file.path)

    def __repr__(self) -> str:
        return f"<{self._count} values on disk>"
