"""Step *collect*: remove versions that no snapshot can see any more.

    safe point := oldest snapshot in use        written to the store first, and never lowered
    locks older than the safe point             waited for, at most for their life, and resolved
    cleared := safe point                       from now on such a lock is one that came again (`marks.py`)
    of each cell, below the safe point          the newest put is kept; a delete, tombstones, holds and all older versions go

Why the safe point is written first, and why every transaction looks at it last: a snapshot older than the safe point may miss versions that
were collected while it read, and a commit older than it may miss the record of a conflict (a delete that was collected, a tombstone). So
before what it read counts, and between locking and committing, a transaction that is older than the safe point gives up
(`SnapshotTooOldError`). Its function may have seen what never was, and failed over it: that, too, counts for nothing. Its locks stood
before it looked, and the collector resolves old locks after it wrote the safe point; so one of the two sees the other.

Live snapshots are registered so that this is rare, but nothing depends on that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dataflow.errors import Report, SnapshotTooOldError
from dataflow.kv import Edit, Store
from dataflow.txn.ground import Ground
from dataflow.txn.marks import CLEARED, SAFE_POINT, mark, raise_to
from dataflow.txn.records import DELETE, PUT, lock_of, timestamp_in, version_key, write_of
from dataflow.txn.resolve import resolve

__all__ = ["Collected", "check_age", "collect", "collect_versions", "raise_safe_point", "resolve_before", "safe_point", "too_old"]

_EDITS = 1_000  # of one row, made together


class Collected(NamedTuple):
    """What a collection removed, and up to where it was safe."""

    safe_point: int
    versions: int
    locks: int


def safe_point(store: Store) -> int:
    """The time below which versions may be missing."""
    return mark(store, SAFE_POINT)


def check_age(store: Store, start: int) -> None:
    """Raises `SnapshotTooOldError` if what a snapshot of this time read may be incomplete."""
    safe = safe_point(store)
    if start < safe:
        raise too_old(start, safe)


def too_old(start: int, safe: int) -> SnapshotTooOldError:
    """That a snapshot is older than the safe point."""
    return SnapshotTooOldError(
        Report(
            f"the snapshot of time {start} is older than {safe}, up to which garbage was collected",
            hint="run the transaction again; let no snapshot live longer than collections are apart",
        )
    )


def collect(ground: Ground, before: int) -> Collected:
    """Remove what no snapshot of ``before`` or later can see."""
    resolved = resolve_before(ground, before)  # first, so that who is committing still can
    safe = raise_safe_point(ground.store, before)
    resolved += resolve_before(ground, safe)  # placed since we looked; its owner will see the safe point
    raise_to(ground.store, CLEARED, safe)
    return Collected(safe, collect_versions(ground.store, safe), resolved)


def resolve_before(ground: Ground, before: int) -> int:
    """Finish or undo the transactions that began before a time, waiting for the life of their locks; gives the number of these."""
    locks = ground.store.scan("lock", b"\x01", b"\xff")
    standing = [(key, lock, packed) for key, packed in locks if (lock := lock_of(packed)).start < before]
    resolved, attempt = len(standing), 0
    while standing := [(key, lock, packed) for key, lock, packed in standing if not resolve(ground, key, lock, packed)]:
        attempt += 1
        ground.wait(attempt)
    return resolved


def collect_versions(store: Store, safe: int) -> int:
    """Remove the write records that only snapshots older than the safe point could need, and say how many."""
    return sum(_clean(store, key, entries, safe) for key, entries in _cells(store))


def raise_safe_point(store: Store, before: int) -> int:
    """Write that versions before a time may be missing from now on, and give the time that stands there then."""
    return raise_to(store, SAFE_POINT, before)


def _cells(store: Store) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """The write records of each cell, newest first."""
    key, entries = b"", list[tuple[bytes, bytes]]()
    for entry in store.scan("write", b"\x01", b"\xff"):
        if entry[0][:-8] != key:
            if entries:
                yield key, entries
            key, entries = entry[0][:-8], []
        entries.append(entry)
    if entries:
        yield key, entries


def _clean(store: Store, key: bytes, entries: list[tuple[bytes, bytes]], safe: int) -> int:
    edits: list[Edit] = []
    removed, kept = 0, False
    for found, packed in entries:
        timestamp, write = timestamp_in(found), write_of(packed)
        if timestamp >= safe:
            continue
        if write.kind == PUT and not kept:
            kept = True
            continue
        kept |= write.kind == DELETE
        removed += 1
        edits.append(Edit("write", found, None))
        if write.kind == PUT and write.value is None:
            edits.append(Edit("data", version_key(key, write.start), None))
    # The oldest go first: of a delete and the puts it hides, the delete goes last, or a crash in between would bring a put back.
    edits.reverse()
    for at in range(0, len(edits), _EDITS):
        store.write(edits[at : at + _EDITS], sync=False)
    return removed
