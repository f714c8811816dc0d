"""Parquet files in ranges of a column by which they are in order: no key is in two, so what needs equal keys together needs no shuffle.

    orders    │1 ────── 10│11 ───── 25│26 ───── 40│        row groups, and their bounds in the footers
    lines     │1 ── 5│5 ── 10│11 ── 17│18 ── 30│31 ── 40│
    ranges    [  … 11 )         [ 11 … 26 )     [ 26 …  )  as cut at bounds of the first

Tables are often written in the order of their key: facts as they came, exports by id, our own sorted outputs. A range is the row groups
that touch it, a run of each file, and the condition that the key is in it, which is free where bounds fall on edges of row groups.

Life of a range: `key_ranges` cuts them from footers when the plan is made, to see whether it pays, and again when the run begins
(`RangedParquet.splits`); a task reads one from every source (`scan_splits`), each in the kernel's own scan. One that was too much for its
task is cut again, at edges of its row groups (`smaller`).

Where a key's rows may be in two files, where a key is null, and where one range would be too large for a task, there are no ranges, and
the plan shuffles.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflow.errors import InputError, Report
from dataflow.io.files import FileInfo
from dataflow.io.parquet import ParquetSource
from dataflow.io.source import Piece, Source, Split, at_least_eight
from dataflow.record import record

if TYPE_CHECKING:
    from dataflow.expr.types import Schema
    from dataflow.kernels.query import ParquetScan
    from dataflow.plan.statistics import Statistics

__all__ = ["KeyRange", "RangedParquet", "key_ranges"]


@record
class Group:
    """A row group: its file's number, its own and its first row's in the file, its rows, bytes of the columns read, and its bounds."""

    file: int
    number: int
    first: int
    rows: int
    bytes: int
    low: Any
    high: Any


@record
class KeyRange:
    """The keys from ``low`` up to, without, ``high``; None is without end. ``groups``: of each source, the row groups that touch it."""

    low: Any
    high: Any
    groups: tuple[tuple[Group, ...], ...]

    @property
    def bytes(self) -> int:
        return sum(group.bytes for some in self.groups for group in some)


def key_ranges(sides: Sequence[Sequence[Group]], target: int, most: int | None = None) -> list[KeyRange] | None:
    """Ranges of about ``target`` bytes of all sides; None where the row groups of one are not in order, where a range would need several
    files of it, or has more than ``most`` bytes.

    >>> groups = [Group(0, at, at * 9, 9, 100, at * 10, at * 10 + 9) for at in range(4)]
    >>> [(one.low, one.high, one.bytes) for one in key_ranges([groups], 200) or ()]
    [(None, 20, 200), (20, None, 200)]
    """
    if not all(side and _in_order(side) for side in sides):
        return None
    found, low = [], None
    for high in (*_cuts(sides, target), None):
        groups = _touching(sides, low, high)
        found.append(KeyRange(low, high, groups))
        if any(len({group.file for group in some}) > 1 for some in groups) or (most is not None and found[-1].bytes > most):
            return None
        low = high
    return found


def _touching(sides: Sequence[Sequence[Group]], low: Any, high: Any) -> tuple[tuple[Group, ...], ...]:
    """Of each side, which is in order, the row groups that have keys from ``low`` up to ``high``, as far as their bounds tell."""
    found = []
    for side in sides:
        first = 0 if low is None else bisect_left(side, low, key=attrgetter("high"))
        after = None if high is None else bisect_left(side, high, key=attrgetter("low"))
        found.append(tuple(side[first:after]))
    return tuple(found)


def _in_order(side: Sequence[Group]) -> bool:
    return all(one.high <= two.low for one, two in itertools.pairwise(side))


def _cuts(sides: Sequence[Sequence[Group]], target: int) -> Iterator[Any]:
    """The keys at which ranges begin, but for the first: lower bounds of row groups of the first side."""
    first, others = sides[0], [group for side in sides[1:] for group in side]
    others.sort(key=lambda group: group.low)
    held = at = 0
    last = first[0].low  # before which nothing of the first is
    for one, two in itertools.pairwise(first):
        held += one.bytes
        while at < len(others) and others[at].low < two.low:
            held += others[at].bytes
            at += 1
        if (held >= target or one.file != two.file) and two.low != last:
            yield two.low
            held, last = 0, two.low


@record(eq=True, slots=False)
class RangedParquet(Source):
    """Parquet files in ranges of a column of each, of which a task reads the same range of all."""

    parts: tuple[ParquetSource, ...]
    keys: tuple[str, ...]

    scans = True
    has_columns = True
    keeps_keys = True

    def describe(self) -> str:
        return f"{' | '.join(part.describe() for part in self.parts)} in ranges of {' | '.join(self.keys)}"

    def identity(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.keys, *(part.identity() for part in self.parts))

    def check(self) -> list[Report]:
        return [problem for part in self.parts for problem in part.check()]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for part in self.parts for path in part.paths)

    def columns(self) -> pa.Schema:
        """Those of the first part, as of a table that the others stand beside."""
        return self.parts[0].columns()

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        return sum(part.estimated_bytes(names) for part in self.parts)

    def statistics(self, schema: Schema) -> Statistics | None:
        return self.parts[0].statistics(schema)

    def kernel_scan(self) -> ParquetScan | None:
        return self.parts[0].kernel_scan()

    def tables_by(self, column: str) -> list[tuple[ParquetSource, str]]:
        """The tables that are read together, each with what a column of the first is called in it; none if the ranges are of another."""
        return list(zip(self.parts, self.keys, strict=True)) if column == self.keys[0] else []

    def ranges(self, target: int, most: int | None = None) -> list[KeyRange] | None:
        """The ranges there are now, see `key_ranges`; None too where the footers do not tell the bounds, or the kernel cannot scan."""
        sides = self._groups()
        return key_ranges(sides, target, most) if sides is not None else None

    def _groups(self) -> list[list[Group]] | None:
        """The row groups of each source; None where the footers do not tell their bounds."""
        found = [part.row_groups_by(column) for part, column in zip(self.parts, self.keys, strict=True)]
        return [[Group(*one) for one in groups or ()] for groups in found] if None not in found else None

    def splits(self, target: int) -> list[Split]:
        found = self.ranges(at_least_eight(self.estimated_bytes(), target))
        if found is None:
            raise InputError(Report(f"{self.describe()}: the files have changed since the run was planned", hint="run it again"))
        return self._splits(found)

    def _splits(self, found: Sequence[KeyRange]) -> list[Split]:
        sides = [(part.files(), part.layout()) for part in self.parts]  # once: files and footers may be many
        return [
            Split(next(sides[n][0][some[0].file].path for n, some in enumerate(one.groups) if some), at, at + 1, one.bytes,
                  extra=("", "", self._parts(one, sides)))
            for at, one in enumerate(found)
        ]  # fmt: skip

    def smaller(self, split: Split) -> list[Split]:
        """A range in two, cut at an edge of a row group of the source that has most of them; none if there is none in it."""
        low, high, *_ = split.extra[2]
        sides = self._groups()
        if sides is None:
            return []
        inner = _touching(sides, low, high)
        most = max(inner, key=len)
        edges = [one.low for one in most if (low is None or one.low > low) and one.low > most[0].low]
        if not edges:
            return []
        middle = edges[len(edges) // 2]
        return self._splits([KeyRange(low, middle, _touching(inner, low, middle)), KeyRange(middle, high, _touching(inner, middle, high))])

    def _parts(self, one: KeyRange, sides: Sequence[tuple[list[FileInfo], pa.Schema]]) -> tuple[Any, ...]:
        """The bounds of a range, and of each source the row groups that touch it; where none does, the first."""
        parts: list[Split] = []
        for (files, layout), groups in zip(sides, one.groups, strict=True):
            at = len(parts)
            some = groups or tuple(Group(*group) for group in (self.parts[at].row_groups_by(self.keys[at]) or ())[:1])
            info = files[some[0].file]
            rows = (some[0].first, sum(group.rows for group in some))
            parts.append(Split(info.path, some[0].number, some[-1].number + 1, one.bytes, info.version, (layout, "", rows)))
        return (one.low, one.high, *parts)

    def scan_splits(self, splits: Sequence[Split]) -> tuple[ParquetScan, ...]:
        """The scans of one range, one of each source."""
        (split,) = splits
        low, high, *parts = split.extra[2]
        found = []
        for source, part, column in zip(self.parts, parts, self.keys, strict=True):
            (scan,) = source.scan_splits([part])
            found.append(replace(scan, between=(column, low, high)))
        return tuple(found)

    def read(self, split: Split) -> Iterator[Piece]:
        raise InputError(Report(f"{self.describe()}: the files have changed since the run was planned", hint="run it again"))
