"""The judge by times. There is another, by lists alone (`lists.py`); neither knows how an engine works.

`by_times` is told when each transaction began and committed, and plays all commits again in that order:

    reads of a transaction     == the state that the commits up to its start give
    writes of one cell         of two transactions, the later began after the earlier committed (first committer wins)
    held cells                 were not changed between start and commit
    acknowledged before begun  == seen
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from tests.txn.histories import Done

__all__ = ["Anomaly", "by_times"]


class Anomaly(NamedTuple):
    """What is wrong, in the words of the literature, and the transactions it is seen by."""

    kind: str
    names: tuple[str, ...]
    text: str


class _Version(NamedTuple):
    commit: int
    value: Any
    done: Done


def by_times(history: Iterable[Done], final: Mapping[str, Any] | None = None, *, exact: bool = True) -> list[Anomaly]:
    """What contradicts snapshot isolation, given the times. ``final``: the cells at the end, all of them.

    ``exact``: a snapshot is just the commits up to its time. Of an engine whose snapshots may see some that are later
    (PostgreSQL's numbers of transactions) it is not asked that they do not; that they fit together is what `by_lists` sees.
    """
    committed = [done for done in history if done.outcome == "committed"]
    wrong: list[Anomaly] = []
    versions: dict[str, list[_Version]] = defaultdict(list)
    at: dict[int, Done] = {}
    for done in committed:
        if not done.writes:
            continue
        assert done.commit is not None
        if done.commit <= done.start:
            wrong.append(Anomaly("time", (done.name,), f"{done.name} began at {done.start} and committed at {done.commit}"))
        if (other := at.setdefault(done.commit, done)) is not done:
            wrong.append(Anomaly("time", (done.name, other.name), f"{done.name} and {other.name} both committed at {done.commit}"))
        for cell, value in done.writes.items():
            versions[cell].append(_Version(done.commit, value, done))
    for ones in versions.values():
        ones.sort(key=itemgetter(0))
    times = {cell: [version.commit for version in ones] for cell, ones in versions.items()}
    tables: dict[str, set[str]] = defaultdict(set)
    for cell in versions:
        tables[cell.partition("/")[0]].add(cell)

    def seen_at(cell: str, start: int) -> tuple[Any, str]:
        place = bisect_right(times.get(cell, ()), start)
        return (versions[cell][place - 1].value, versions[cell][place - 1].done.name) if place else (None, "nobody")

    for done in committed:
        for cell, value in done.reads.items():
            there, writer = seen_at(cell, done.start)
            if value == there:
                continue
            later = [version.value for version in versions.get(cell, ()) if version.commit > done.start]
            if exact or value not in later:
                text = f"{done.name} of {done.start} read {value!r} at {cell}, and {writer} had left {there!r}"
                wrong.append(Anomaly("read", (done.name, writer), text))
        for table, found in done.scans.items():
            for cell in tables[table] | found.keys():
                there, writer = seen_at(cell, done.start)
                value = found.get(cell)
                if value != there and (exact or value not in [v.value for v in versions.get(cell, ()) if v.commit > done.start]):
                    text = f"{done.name} of {done.start} scanned {value!r} at {cell}, and {writer} had left {there!r}"
                    wrong.append(Anomaly("scan", (done.name, writer), text))
        wrong += _held(done, versions)
    for cell, ones in versions.items():
        for earlier, later in pairwise(ones):
            read = later.done.reads.get(cell, _NOT_READ)
            overlap = read != earlier.value if read is not _NOT_READ and not exact else later.done.start < earlier.commit
            if overlap:
                text = (
                    f"{cell}: {later.done.name} began at {later.done.start} and committed at {later.commit}, "
                    f"{earlier.done.name} committed at {earlier.commit}"
                )
                wrong.append(Anomaly("first committer wins", (earlier.done.name, later.done.name), text))
    if exact:
        wrong += _real_time(committed)
    if final is not None:
        for cell in versions.keys() | final.keys():
            last = versions[cell][-1].value if cell in versions else None
            if final.get(cell) != last:
                wrong.append(Anomaly("final state", (), f"{cell} holds {final.get(cell)!r} at the end, and was left as {last!r}"))
    return wrong


_NOT_READ = object()


def _held(done: Done, versions: Mapping[str, Sequence[_Version]]) -> list[Anomaly]:
    """The next version of a held cell after the one that was read must be later than our commit."""
    wrong = []
    for cell in done.holds:
        for earlier, later in pairwise([_Version(0, None, done), *versions.get(cell, ())]):
            if earlier.value == done.reads[cell] and done.commit is not None and later.commit < done.commit and later.done is not done:
                text = f"{done.name} held {cell} and committed at {done.commit}; {later.done.name} changed it at {later.commit}"
                wrong.append(Anomaly("hold", (done.name, later.done.name), text))
    return wrong


def _real_time(committed: Sequence[Done]) -> list[Anomaly]:
    """Who was acknowledged before we began is not later than our start."""
    answered = sorted((done for done in committed if done.writes and done.ended != float("inf")), key=lambda done: done.ended)
    wrong, newest, at = list[Anomaly](), None, 0
    for done in sorted(committed, key=lambda done: done.began):
        while at < len(answered) and answered[at].ended < done.began:
            if newest is None or (answered[at].commit or 0) > (newest.commit or 0):
                newest = answered[at]
            at += 1
        if newest is not None and (newest.commit or 0) > done.start:
            text = f"{done.name} began at time {done.start}, after {newest.name} was acknowledged as committed at {newest.commit}"
            wrong.append(Anomaly("real time", (done.name, newest.name), text))
    return wrong
