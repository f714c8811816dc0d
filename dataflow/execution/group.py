"""Reading a grouping shuffle: a range of hashes in, (key, values) out, in bounded memory.

    blocks of the range ─┬─ fit the budget:  order by hash, cut where it changes        (`_in_memory`)
                         └─ do not:          by buckets that fit; a bucket that does not: sorted runs on disk,
                                             merged by rounds; a group too large for memory: values in a file (`_external`)

Values of a group come in the order of the map tasks and, within one, of its elements. Two keys of one hash are told
apart by comparing the keys themselves, so a collision costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import canonical, order_key
from dataflow.execution.combine import DictCombiner
from dataflow.execution.context import TaskContext
from dataflow.execution.shuffle import bucket_of
from dataflow.kernels.combining import ACC_CODINGS, is_native_key, merge_accumulators, present_accumulators
from dataflow.physical.program import GroupRoot, ShuffleInput
from dataflow.shard.batch import Batch, Pairs
from dataflow.shard.codec import coding_of, decode, decode_batch, encode_batch
from dataflow.shard.merge import merge_rounds
from dataflow.shard.runfile import Block, RunFile, RunWriter, read_block

__all__ = ["SpilledValues", "read_groups"]

GROUPS = 4096
SPREAD = 6  # Python values take about this many times their Arrow bytes


def read_groups(root: GroupRoot, given: ShuffleInput, context: TaskContext) -> Iterator[Batch]:
    """Batches of (key, values) pairs; with ``root.merge``, of (key, result)."""
    budget = max(context.memory // 2, 1 << 16)
    low, high = given.first or 0, given.last if given.last is not None else 1 << 16
    for first, last, size in _ranges(given, low, high, budget // SPREAD):
        if size <= budget // SPREAD or size < 1 << 16:
            parts = list(_read(given, first, last))
            context.bytes_read += size
            if root.merge is not None:
                yield from _merged(root, parts)
            else:
                yield from _in_memory(root, parts)
        else:
            context.bytes_read += size
            yield from _external(root, _read(given, first, last), context, budget)


def _ranges(given: ShuffleInput, low: int, high: int, budget: int) -> Iterator[tuple[int, int, int]]:
    """Ranges of buckets of about the budget's size; one bucket alone may be larger."""
    weight = np.zeros(high - low)
    for file in given.files:
        for block in file.blocks:
            first, last = max(block.first, low), min(block.last, high - 1)
            if first <= last:
                width = block.last - block.first + 1
                weight[first - low : last - low + 1] += block.length / width
    total = np.concatenate([[0.0], np.cumsum(weight)])
    start = 0
    while start < high - low:
        stop = int(np.searchsorted(total, total[start] + budget, side="right")) - 1
        stop = min(max(stop, start + 1), high - low)
        size = int(total[stop] - total[start])
        if size:
            yield low + start, low + stop, size
        start = stop


def _read(given: ShuffleInput, first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows of buckets [first, last) of every file, in order of the tasks that wrote them."""
    for file in given.files:
        for block in file.blocks:
            if block.last < first or block.first >= last:
                continue
            batch = read_block(file, block)
            if block.first < first or block.last >= last:
                buckets = bucket_of(batch.column("#h").to_numpy())
                start, stop = np.searchsorted(buckets, [first, last])
                batch = batch.slice(int(start), int(stop - start))
            if batch.num_rows:
                yield batch


def _in_memory(root: GroupRoot, parts: list[pa.RecordBatch]) -> Iterator[Batch]:
    """The groups of rows at hand."""
    if not parts:
        return
    hashes, keys, values = _columns(parts)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    starts = np.concatenate([[0], np.flatnonzero(hashes[1:] != hashes[:-1]) + 1, [len(hashes)]])
    keys, values = _taken(keys, order), _taken(values, order)
    begin = starts.tolist()
    collided = _collisions(keys, hashes)
    out_keys: list[Any] = []
    out_values: list[Any] = []
    for i, j in zip(begin, begin[1:], strict=False):
        if i in collided:
            for key, group in _apart(keys[i:j], values[i:j]):
                out_keys.append(key)
                out_values.append(_ordered(root, group))
        else:
            out_keys.append(keys[i])
            out_values.append(_ordered(root, values[i:j]))
        if len(out_keys) >= GROUPS:
            yield Pairs(out_keys, out_values)
            out_keys, out_values = [], []
    if out_keys:
        yield Pairs(out_keys, out_values)


def _ordered(root: GroupRoot, values: list[Any]) -> list[Any]:
    if not root.sort_values:
        return values
    key = root.sort_key
    return sorted(values, key=(lambda v: order_key(key(v))) if key else order_key)


def _columns(parts: list[pa.RecordBatch]) -> tuple[np.ndarray, Any, Any]:
    """Hashes, and keys and values: still Arrow where all parts agree, else as lists."""
    hashes = np.concatenate([part.column("#h").to_numpy() for part in parts])
    codings = [coding_of(part) for part in parts]
    found: list[Any] = []
    for name, at in (("k", 1), ("v", 2)):
        columns = [part.column(name) for part in parts]
        if all(c[at] == codings[0][at] for c in codings) and len({c.type for c in columns}) == 1:
            found.append((pa.concat_arrays(columns), codings[0][at]))
        else:
            found.append([x for part, c in zip(columns, codings, strict=True) for x in decode(part, c[at])])
    return hashes, found[0], found[1]


def _taken(column: Any, order: np.ndarray) -> list[Any]:
    if isinstance(column, tuple):
        array, coding = column
        return decode(array.take(pa.array(order)), coding)
    return list(map(column.__getitem__, order.tolist()))


def _collisions(keys: list[Any], hashes: np.ndarray) -> set[int]:
    """Where runs of one hash start that hold more than one key (keys equal by value may differ as objects)."""
    found: set[int] = set()
    same = np.flatnonzero(hashes[1:] == hashes[:-1]).tolist()
    for i in same:
        one, two = keys[i], keys[i + 1]
        if one is not two and one != two and canonical(one) != canonical(two):
            start = int(np.searchsorted(hashes, hashes[i]))
            found.add(start)
    return found


def _apart(keys: Sequence[Any], values: Sequence[Any]) -> Iterator[tuple[Any, list[Any]]]:
    groups: dict[Any, tuple[Any, list[Any]]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(canonical(key), (key, []))[1].append(value)
    yield from groups.values()


def _merged(root: GroupRoot, parts: list[pa.RecordBatch]) -> Iterator[Batch]:
    """One result a key, of accumulators at hand."""
    aggregator = root.merge
    assert aggregator is not None
    if not parts:
        return
    kind = aggregator.native
    codings = [coding_of(part) for part in parts]
    if kind is not None and all(c[1:] == ["p", ACC_CODINGS[kind]] for c in codings):
        shapes = {(part.column("k").type, part.column("v").type) for part in parts}
        if len(shapes) == 1 and is_native_key(parts[0].column("k").type):
            keys, accs = (pa.concat_arrays([part.column(name) for part in parts]) for name in "kv")
            merged = merge_accumulators(kind, keys, accs)
            if merged is not None:
                yield Pairs(merged[0], present_accumulators(kind, merged[1]))
                return
    combiner = DictCombiner(_Merging(aggregator))
    for part in parts:
        keys_, values = decode_batch(part).pairs()
        combiner.add(keys_, values)
    keys_, accs_ = combiner.drain()
    for start in range(0, len(keys_), 1 << 16):
        yield Pairs(keys_[start : start + (1 << 16)], [aggregator.present(acc) for acc in accs_[start : start + (1 << 16)]])


class _Merging:
    """An aggregator whose values are another's accumulators."""

    def __init__(self, inner: Any) -> None:
        self.create, self.add, self.present = inner.create, inner.merge, inner.present

    def add_all(self, acc: Any, values: Any) -> Any:
        for value in values:
            acc = self.add(acc, value)
        return acc


class _HashPart:
    """A stretch of a run sorted by hash."""

    __slots__ = ("batch", "hashes")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.hashes = batch.column("#h").to_numpy()

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def last(self) -> int:
        return int(self.hashes[-1])

    def cut(self, bound: int) -> tuple[_HashPart, _HashPart]:
        at = int(np.searchsorted(self.hashes, np.uint64(bound), side="right"))
        return _HashPart(self.batch.slice(0, at)), _HashPart(self.batch.slice(at))


def _external(root: GroupRoot, parts: Iterator[pa.RecordBatch], context: TaskContext, budget: int) -> Iterator[Batch]:
    """The groups of rows that do not fit: sorted runs, merged; a group that does not fit by itself is kept in a file."""
    file, runs = _sorted_runs(parts, context, budget // SPREAD)
    try:
        streams = [iter(_HashPart(read_block(file, block)) for block in run) for run in runs]
        if root.merge is not None:
            yield from _external_merge(root, streams)
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
            yield from _in_memory(root, ready)
        waiting_bytes = sum(batch.nbytes for batch in waiting)
        if waiting_bytes * SPREAD > budget or (waiting and bound in large):  # all of one hash: it will not fit
            groups = large.setdefault(bound, _Spilling(root, context))
            waiting, waiting_bytes = _into_large(waiting, groups, bound)
    for done in list(large):
        waiting, waiting_bytes = _into_large(waiting, large[done], done)
        yield from _finished(large.pop(done))
    yield from _in_memory(root, waiting)


class _Spilling(dict[Any, "SpilledValues"]):
    """The large groups of one hash (more than one only after a collision)."""

    def __init__(self, root: GroupRoot, context: TaskContext) -> None:
        super().__init__()
        self.root, self.context = root, context


def _into_large(waiting: list[pa.RecordBatch], groups: Any, hash_: int) -> tuple[list[pa.RecordBatch], int]:
    """Move the rows of one hash into the files of its groups."""
    rest = []
    for batch in waiting:
        hashes = batch.column("#h").to_numpy()
        start, stop = np.searchsorted(hashes, np.uint64(hash_)), np.searchsorted(hashes, np.uint64(hash_), side="right")
        if start < stop:
            keys, values = decode_batch(batch.slice(int(start), int(stop - start))).pairs()
            for key, group in _apart(keys, values):
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
        at = int(np.searchsorted(batch.column("#h").to_numpy(), np.uint64(bound)))
        ready += [batch.slice(0, at)] if at else []
        waiting += [batch.slice(at)] if at < batch.num_rows else []
    return ready, waiting


def _external_merge(root: GroupRoot, streams: list[Any]) -> Iterator[Batch]:
    """Accumulators are merged as they come: a hash never waits with more than one a key."""
    assert root.merge is not None
    waiting: list[pa.RecordBatch] = []
    for round_, bound in merge_rounds(streams):
        waiting += [part.batch for part in round_]
        ready, waiting = _split_at(waiting, bound)
        if ready:
            yield from _merged(root, ready)
        if len(waiting) > 1:
            combiner = DictCombiner(_Merging(root.merge))
            for batch in waiting:
                combiner.add(*decode_batch(batch).pairs())
            coded = encode_batch(Pairs(*combiner.drain()))
            from dataflow.execution.shuffle import _with

            waiting = [_with(coded, "#h", pa.array(np.full(coded.num_rows, bound, np.uint64)))]
    yield from _merged(root, waiting)


def _sorted_runs(parts: Iterator[pa.RecordBatch], context: TaskContext, budget: int) -> tuple[RunFile, list[list[Block]]]:
    """The rows as runs sorted by hash in one file; a merge reads one block of each run at a time."""
    writer = RunWriter(context.spill_path("merge"), context.task)
    held: dict[Any, list[pa.RecordBatch]] = {}
    size = runs = 0

    def flush() -> None:
        nonlocal held, size, runs
        for batches in held.values():
            table = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
            order = np.argsort(table.column("#h").to_numpy(), kind="stable")
            per_block = max(1, int(len(order) * (budget // 16) / max(table.nbytes, 1)))
            for start in range(0, len(order), per_block):
                writer.write(table.take(pa.array(order[start : start + per_block])), runs)
            runs += 1
        held, size = {}, 0

    for part in parts:
        held.setdefault(str(part.schema) + str(part.schema.metadata), []).append(part)
        size += part.nbytes
        if size > budget:
            flush()
    flush()
    file = writer.close()
    context.bytes_spilled += file.bytes
    return file, [[block for block in file.blocks if block.run == run] for run in range(runs)]


def _unlink(path: str) -> None:
    import contextlib
    import os

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
        from dataflow.shard.batch import Rows

        if not self._held:
            return
        held = _ordered(self.root, self._held)
        for start in range(0, len(held), 1024):
            self._writer.write(encode_batch(Rows(held[start : start + 1024])), self._runs)
        self._held = []
        self._runs += 1

    def seal(self) -> None:
        """No more values will come."""
        self._flush()
        self._file = self._writer.close()
        self.context.bytes_spilled += self._file.bytes

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
