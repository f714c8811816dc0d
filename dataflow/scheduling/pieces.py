"""The pieces of an exchange, from the sizes that are there: about equal, a heavy bucket cut by hash, a heavy key split.

    index of the run files ─> bytes of each bucket, of each heavy hash, on each side

    buckets      0 ········ a          b ························ 65535
    bytes        ▂▂▂▂▂▂▂▂▂▂▂█▂▂▂▂▂▂▂▂▂▂█▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
    pieces       [  ][  ][ ]│[   ][   ]│[   ][   ][   ][   ][   ]
                            │          └─ a bucket of many keys: ranges of the hash's further bits
                            └─ one key: shares of one side's rows, each with all of the other side's

A key is split only if the exchange's tree may run on any part of that side (`splittable`, which the optimizer decided); where it may on
both, and both are heavy, every share of one meets every share of the other. It is what Spark does with a skewed join (adaptive query
execution, OptimizeSkewedJoin). Only the index is looked at, never the number of workers.

Life of a plan: `pieces_of` cuts the hash space; `_Cutter.keys` a heavy bucket; `_Cutter._split` a heavy key; `smaller` does the same for
one piece that ran out of memory.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dataflow.physical.program import Share, ShuffleInput, TaskInput
from dataflow.record import record
from dataflow.scheduling.inputs import BUCKETS, range_count
from dataflow.scheduling.result import shown_bytes
from dataflow.shard.runfile import Block, RunFile

__all__ = ["Pieces", "piece_ranges", "pieces_of", "smaller"]

TOO_LARGE = 1.5  # times the size aimed at; what is less is not worth a cut
STEPS = 4  # in which a piece is put together
LEAST = 1 << 12  # bytes: a piece that fails and is as small as this does not fail for its size
INSIDE = 48  # bits of a hash below its bucket
NAMES = ("left", "right")
Range = tuple[int, int]


@record(eq=True)
class Pieces:
    """What the tasks of an exchange read, and what to say of it."""

    inputs: list[TaskInput]
    remarks: list[str]


@dataclass(slots=True)
class _Index:
    """The bytes of every bucket, how many blocks of mixed buckets touch it, and of heavy buckets the blocks of their own."""

    files: tuple[RunFile, ...]
    sides: int
    bytes: np.ndarray
    mixed: np.ndarray
    blocks: dict[int, list[tuple[int, Block]]] = field(default_factory=lambda: defaultdict(list))  # with the number of the file

    @classmethod
    def of(cls, files: tuple[RunFile, ...], sides: int) -> _Index:
        """``mixed`` is counted beside the bytes because those are spread evenly over a block's buckets, and rounded."""
        found = cls(files, sides, np.zeros(BUCKETS + 1), np.zeros(BUCKETS + 1, np.int64))
        for number, file in enumerate(files):
            whole = [block for block in file.blocks if block.hashes is None]
            firsts = np.array([block.first for block in whole], np.int64)
            after = np.array([block.last for block in whole], np.int64) + 1
            each = np.array([block.size for block in whole]) / (after - firsts)
            for change, sign in ((found.bytes, each), (found.mixed, np.ones(len(whole), np.int64))):
                np.add.at(change, firsts, sign)
                np.subtract.at(change, after, sign)
            for block in file.blocks:
                if block.hashes is not None:
                    found.blocks[block.first].append((number, block))
        found.mixed = np.cumsum(found.mixed)[:BUCKETS]
        found.bytes = np.where(found.mixed > 0, np.cumsum(found.bytes)[:BUCKETS], 0.0)
        for bucket, blocks in found.blocks.items():
            found.bytes[bucket] += sum(block.size for _, block in blocks)
        return found

    def touched(self, bucket: int, hashes: Range) -> bool:
        """Whether a row may have one of the hashes."""
        return bool(self.mixed[bucket]) or any(_meet(block, hashes) for _, block in self.blocks.get(bucket, ()))

    def by_side(self, bucket: int, hashes: Range) -> list[float]:
        """The bytes of a heavy hash on each side, as far as blocks are of it alone."""
        found = [0.0] * self.sides
        for number, block in self.blocks[bucket]:
            if block.hashes == hashes:
                found[self.files[number].side] += block.size
        return found


def piece_ranges(files: tuple[RunFile, ...], sides: int, splittable: Sequence[int], memory: int) -> Pieces:
    """The pieces of a whole exchange, of a size that the memory allows."""
    total = sum(file.bytes for file in files)
    return pieces_of(files, sides, splittable, range_count(total, memory))


def pieces_of(files: tuple[RunFile, ...], sides: int, splittable: Sequence[int], count: int) -> Pieces:
    """About so many pieces, of about equal bytes."""
    total = sum(file.bytes for file in files)
    if count == 1:
        return Pieces([_input(0, BUCKETS, total)], [])
    cutter = _Cutter(_Index.of(files, sides), tuple(splittable), total / count)
    edges = [BUCKETS * at // (STEPS * count) for at in range(STEPS * count + 1)]
    return Pieces(list(cutter.ranges(edges)), cutter.remarks)


def smaller(given: TaskInput, files: tuple[RunFile, ...], sides: int, splittable: Sequence[int]) -> list[TaskInput] | None:
    """A piece that was too large, in two or more; None if it cannot be cut."""
    shuffle = given.shuffle
    assert shuffle is not None
    first, last = shuffle.first or 0, shuffle.last if shuffle.last is not None else BUCKETS
    if shuffle.shares:
        return _halves(given, shuffle)
    cutter = _Cutter(_Index.of(files, sides), tuple(splittable), max(given.bytes / 4, LEAST))
    if last - first > 1:
        parts = list(cutter.ranges(sorted({first + (last - first) * at // (2 * STEPS) for at in range(2 * STEPS + 1)})))
    else:
        parts = list(cutter.keys(first, shuffle.hashes or _hashes(first)))
    return parts if len(parts) > 1 else None


def _halves(given: TaskInput, shuffle: ShuffleInput) -> list[TaskInput] | None:
    """Half of a share of one file's rows, or of the files; the side with more of either."""
    for share in sorted(shuffle.shares, key=lambda one: (one.begin[0] - one.end[0], one.begin[1] - one.end[1])):
        (first, begin), (last, end) = share.begin, share.end
        middle = ((first + last + 1) // 2, 0) if last > first else (first, (begin + end) // 2)
        if share.begin < middle < share.end:
            parts = (replace(share, end=middle), replace(share, begin=middle))
            others = tuple(one for one in shuffle.shares if one is not share)
            return [replace(given, shuffle=replace(shuffle, shares=(*others, part)), bytes=given.bytes // 2) for part in parts]
    return None


@dataclass(slots=True)
class _Cutter:
    """Cuts what an index shows into pieces of about ``target`` bytes."""

    index: _Index
    splittable: tuple[int, ...]
    target: float
    remarks: list[str] = field(default_factory=list)

    def ranges(self, edges: list[int]) -> Iterator[TaskInput]:
        """Pieces of buckets, put together from the steps between ``edges`` and what those are made of where they are heavy."""
        sums = np.concatenate([[0.0], np.cumsum(self.index.bytes)])
        filled = np.concatenate([[0], np.cumsum((self.index.mixed > 0) | np.isin(np.arange(BUCKETS), list(self.index.blocks)))])
        held: list[Range] = []

        def size(first: int, last: int) -> float:
            return float(sums[last] - sums[first])

        def put_together() -> Iterator[TaskInput]:
            if held and filled[held[0][0]] < filled[held[-1][1]]:
                yield _input(held[0][0], held[-1][1], size(held[0][0], held[-1][1]))
            held.clear()

        for first, last in _fine(itertools.pairwise(edges), size, self.target / 2):
            if last - first == 1 and size(first, last) > self.target * TOO_LARGE:
                yield from put_together()
                yield from self.keys(first, _hashes(first))
                continue
            if held and size(held[0][0], held[-1][1]) + size(first, last) / 2 > self.target:
                yield from put_together()
            held.append((first, last))
        yield from put_together()

    def keys(self, bucket: int, hashes: Range) -> Iterator[TaskInput]:
        """Pieces of a bucket that is too large for one: a heavy hash alone, the others in ranges."""
        single: dict[int, int] = defaultdict(int)
        points: list[tuple[int, float]] = []
        known = 0
        for _, block in self.index.blocks.get(bucket, ()):
            assert block.hashes is not None
            if block.hashes[0] == block.hashes[1]:
                single[block.hashes[0]] += block.size
            else:
                points += _spread(block.hashes, block.size, self.target)
            known += block.size
        heavy = sorted(one for one, size in single.items() if size > self.target * TOO_LARGE and hashes[0] <= one <= hashes[1])
        points += [(one, float(size)) for one, size in single.items() if one not in heavy]
        points += _spread(_hashes(bucket), float(self.index.bytes[bucket]) - known, self.target)
        points.sort()
        low = hashes[0]
        for one in heavy:
            yield from self._between(bucket, (low, one - 1), points)
            yield from self._split(bucket, one)
            low = one + 1
        yield from self._between(bucket, (low, hashes[1]), points)

    def _between(self, bucket: int, hashes: Range, points: list[tuple[int, float]]) -> Iterator[TaskInput]:
        """Ranges of the hashes between two heavy ones. ``points``: bytes by where they begin."""
        low, held = hashes[0], 0.0
        for at, size in points:
            if not hashes[0] <= at <= hashes[1]:
                continue
            if held and at > low and held + size / 2 > self.target:
                yield _input(bucket, bucket + 1, held, (low, at - 1))
                low, held = at, 0.0
            held += size
        if low <= hashes[1] and self.index.touched(bucket, (low, hashes[1])):
            yield _input(bucket, bucket + 1, held, (low, hashes[1]))

    def _split(self, bucket: int, one: int) -> Iterator[TaskInput]:
        """A heavy hash: shares of a side that may be split, each with all of the other sides."""
        sizes = self.index.by_side(bucket, (one, one))
        whole = _input(bucket, bucket + 1, sum(sizes), (one, one))
        ways = self._ways(sizes)
        if math.prod(ways.values()) == 1:
            self.remarks.append(f"one key of {shown_bytes(sum(sizes))} in one piece: it cannot be split")
            yield whole
            return
        for side, count in ways.items():
            name = NAMES[side] if self.index.sides == len(NAMES) else f"side {side}"
            self.remarks.append(f"split {count} ways: one key of {shown_bytes(sizes[side])} on the {name}")
        each = sum(sizes[side] / count for side, count in ways.items()) + sum(sizes[side] for side in range(len(sizes)) if side not in ways)
        for shares in itertools.product(*(self._shares(bucket, one, side, count) for side, count in ways.items())):
            assert whole.shuffle is not None
            yield replace(whole, shuffle=replace(whole.shuffle, shares=shares, bytes=int(each)), bytes=int(each))

    def _ways(self, sizes: list[float]) -> dict[int, int]:
        """In how many shares which sides go. What a share meets of the other sides counts with it, if it is less than the share."""
        able = sorted((side for side in self.splittable if sizes[side]), key=lambda side: -sizes[side])
        if not able:
            return {}
        rest = sum(sizes) - sizes[able[0]]
        if rest <= self.target / 2:
            return {able[0]: math.ceil(sizes[able[0]] / (self.target - rest))}
        both = {side: math.ceil(sizes[side] / (self.target / 2)) for side in able}
        if len(both) > 1:
            return {side: count for side, count in both.items() if count > 1}
        return {able[0]: math.ceil(sizes[able[0]] / max(self.target / 2, rest))}

    def _shares(self, bucket: int, one: int, side: int, count: int) -> list[Share]:
        """The rows of a hash on one side in so many shares of about equal bytes."""
        sizes: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for number, block in self.index.blocks[bucket]:
            if block.hashes == (one, one) and self.index.files[number].side == side:
                sizes[number][0] += block.size
                sizes[number][1] += block.rows
        numbers = sorted(sizes)
        ends = list(itertools.accumulate(sizes[number][0] for number in numbers))
        edges = [(0, 0)]
        for at in range(1, count):
            wanted = ends[-1] * at / count
            which = bisect_right(ends, wanted)
            size, rows = sizes[numbers[which]]
            edges.append((numbers[which], round((wanted - ends[which] + size) / size * rows)))
        edges.append((len(self.index.files), 0))
        return [Share(side, begin, end) for begin, end in itertools.pairwise(edges)]


def _hashes(bucket: int) -> Range:
    return bucket << INSIDE, ((bucket + 1) << INSIDE) - 1


def _meet(block: Block, hashes: Range) -> bool:
    assert block.hashes is not None
    return block.hashes[0] <= hashes[1] and hashes[0] <= block.hashes[1]


def _spread(hashes: Range, size: float, target: float) -> list[tuple[int, float]]:
    """Bytes of a range of hashes as points in it."""
    if size < 1:
        return []
    count = min(math.ceil(size / target * STEPS), 1 << 12)
    return [(hashes[0] + (hashes[1] - hashes[0] + 1) * at // count, size / count) for at in range(count)]


def _fine(steps: Iterable[Range], size: Callable[[int, int], float], most: float) -> Iterator[Range]:
    """Ranges in halves, until each has at most so many bytes or is one bucket."""
    todo = list(steps)[::-1]
    while todo:
        first, last = todo.pop()
        if last - first > 1 and size(first, last) > most:
            middle = (first + last) // 2
            todo += [(middle, last), (first, middle)]
        elif last > first:
            yield first, last


def _input(first: int, last: int, size: float, hashes: Range | None = None) -> TaskInput:
    if hashes == _hashes(first):
        hashes = None
    return TaskInput(shuffle=ShuffleInput((), first, last, int(size), hashes), bytes=int(size))
