"""Step *read*: a cell as it was when a transaction began.

    lock at or before start?  ──yes──> resolve it, or wait, and look again
         │ no
    newest write record at or before start  ──> its value, or "nothing"

Why the lock is looked at before the write record: a transaction W that this snapshot must see wrote its locks before it asked for its
commit time, and that was before our start. So when we look, its lock is there, or has been replaced by its write record, which is then
there when we look for it. The other way round, W could replace the lock between our two looks, and we would see neither.

A lock younger than the snapshot is nothing to us: what it will write is younger still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from dataflow.errors import SnapshotTooOldError, StoreError
from dataflow.kv import Entry, Store, single
from dataflow.txn.collect import safe_point
from dataflow.txn.ground import Ground, cell_name
from dataflow.txn.records import DELETE, HOLD, PUT, Lock, lock_of, newest, timestamp_in, version_key, write_of
from dataflow.txn.resolve import resolve

__all__ = ["Version", "committed", "newest_committed", "read", "read_one", "scan", "scan_committed"]

_PAGE = 512


class Version(NamedTuple):
    """What a cell was changed to, and when. ``value``: None if it was deleted."""

    timestamp: int
    value: bytes | None


def read(ground: Ground, keys: Sequence[bytes], start: int) -> list[Version | None]:
    """The cells at a time; None for one that was never written before it."""
    found: list[Version | None] = [None] * len(keys)
    left = list(range(len(keys)))
    attempt = 0
    while left:
        entries = _looks(ground.store, [keys[at] for at in left], start)
        waiting, standing = [], False
        for at, (locked, written) in zip(left, entries, strict=True):
            if locked is not None and _concerns(lock := lock_of(locked[1]), start):
                standing |= not resolve(ground, keys[at], lock, locked[1])
                waiting.append(at)  # to be read anew, also if the lock is gone now
            elif written is not None:
                found[at] = newest_committed(ground.store, keys[at], written)
        if standing:
            attempt += 1
            ground.wait(attempt)
        left = waiting
    return found


def read_one(ground: Ground, key: bytes, start: int) -> Version | None:
    """One cell at a time, where no lock is in the way without anything that is needed only for several."""
    locked, written = ground.store.firsts((single("lock", key), newest(key, start)))
    if locked is not None and _concerns(lock_of(locked[1]), start):
        return read(ground, (key,), start)[0]
    return newest_committed(ground.store, key, written) if written is not None else None


def _looks(store: Store, keys: Sequence[bytes], start: int) -> Iterable[tuple[Entry | None, Entry | None]]:
    """The lock and the newest write record of each cell, looked at in this order.

    All locks and then all write records are, in RocksDB, one call for the locks and one iterator for the records. Over shards, what is
    of one row must stand together, or it is two messages.
    """
    if store.atomic == "row":
        entries = store.firsts([looked for key in keys for looked in (single("lock", key), newest(key, start))])
        return zip(entries[::2], entries[1::2], strict=True)
    entries = store.firsts([*(single("lock", key) for key in keys), *(newest(key, start) for key in keys)])
    return zip(entries[: len(keys)], entries[len(keys) :], strict=True)


def _concerns(lock: Lock, start: int) -> bool:
    """Whether a lock may become a change that a snapshot sees. One that holds a cell changes nothing."""
    return lock.start <= start and lock.kind != HOLD


def newest_committed(store: Store, key: bytes, entry: tuple[bytes, bytes]) -> Version | None:
    """The version a write record stands for; for a tombstone or a hold, which change nothing, that of the next older one that does."""
    while True:
        write, timestamp = write_of(entry[1]), timestamp_in(entry[0])
        if write.kind == PUT:
            value = write.value if write.value is not None else store.get("data", version_key(key, write.start))
            if value is None:
                if (safe := safe_point(store)) > timestamp:
                    raise SnapshotTooOldError(f"{cell_name(key)} of time {timestamp} was collected as garbage, up to {safe}")
                raise StoreError(f"{cell_name(key)} of time {timestamp} has a write record and no data; was the store copied in parts?")
            return Version(timestamp, value)
        if write.kind == DELETE:
            return Version(timestamp, None)
        (older,) = store.firsts([newest(key, timestamp - 1)])
        if older is None:
            return None
        entry = older


def committed(store: Store, key: bytes, at: int) -> Version | None:
    """What a cell was last changed to before or at a time, where no locks need be looked at."""
    (entry,) = store.firsts([newest(key, at)])
    return newest_committed(store, key, entry) if entry else None


def scan(ground: Ground, start: bytes, stop: bytes, at: int, *, reverse: bool = False) -> Iterator[tuple[bytes, Version]]:
    """The cells from ``start`` up to ``stop`` at a time, in the order of their keys, the deleted ones too.

    Page by page: the locks of a page are looked at before its write records, as for one cell.
    """
    return _pages(ground.store, start, stop, at, reverse, lambda low, high: _clear(ground, low, high, at))


def scan_committed(store: Store, start: bytes, stop: bytes, at: int, *, reverse: bool = False) -> Iterator[tuple[bytes, Version]]:
    """The same, where no locks need be looked at."""
    return _pages(store, start, stop, at, reverse, lambda low, high: None)


def _pages(
    store: Store, start: bytes, stop: bytes, at: int, reverse: bool, clear: Callable[[bytes, bytes], None]
) -> Iterator[tuple[bytes, Version]]:
    while True:
        low, high, last = _page(store, start, stop, reverse)
        clear(low, high)
        cells = _newest_of_each(store, low, high, at)
        yield from reversed(cells) if reverse else cells
        if last:
            return
        start, stop = (start, low) if reverse else (high, stop)


def _page(store: Store, start: bytes, stop: bytes, reverse: bool) -> tuple[bytes, bytes, bool]:
    """The bounds of the next page: about so many write records, ending between two cells."""
    keys = [key for key, _ in store.scan("write", start, stop, reverse=reverse, limit=_PAGE)]
    if len(keys) < _PAGE:
        return start, stop, True
    edge = keys[-1][:-8]
    if reverse:
        return edge, stop, False
    return start, edge + b"\xff" * 9, False  # behind all versions of that cell, and before the next cell: cells' keys are prefix-free


def _clear(ground: Ground, low: bytes, high: bytes, at: int) -> None:
    """Wait until no lock of a transaction that this snapshot may have to see stands in a range."""
    attempt = 0
    while True:
        standing = False
        for key, packed in list(ground.store.scan("lock", low, high)):
            lock = lock_of(packed)
            standing |= _concerns(lock, at) and not resolve(ground, key, lock, packed)
        if not standing:
            return
        attempt += 1
        ground.wait(attempt)


def _newest_of_each(store: Store, low: bytes, high: bytes, at: int) -> list[tuple[bytes, Version]]:
    cells: list[tuple[bytes, Version]] = []
    done = b""
    for found, packed in store.scan("write", low, high):
        key, timestamp = found[:-8], timestamp_in(found)
        if key == done or timestamp > at:
            continue
        write = write_of(packed)
        if write.kind not in (PUT, DELETE):
            continue
        done = key
        version = newest_committed(store, key, (found, packed))
        assert version is not None
        cells.append((key, version))
    return cells
