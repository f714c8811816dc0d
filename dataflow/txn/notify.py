"""Step *notify*: what changed and was not yet looked at by its observers.

    commit of a change        ──> notify: cell + commit time -> Trail          in the mutation that makes the change visible
    an observer's run, start s ──> ack cell := the version's time, in its own transaction; then each notification up to s is dropped

One entry a change, with the change's commit time in its key: so an observer drops exactly those its snapshot saw, and one that came in
meanwhile stays. (One entry a cell, overwritten by each change and then dropped, would lose the newest; the paper is silent here, Fluo's
tests are not.) Many changes of a cell are one run: messages collapse.

A weak notification is an entry without a change: `note` writes it outside of any transaction, and its run is not at most one. It needs a
time that no commit and no other note has, or one would be written over the other, and dropped with it.

The value of an entry is its trail: which observers led to it, so that a circle among them is seen and named, and when the first change of
the chain was. That change is reflected when its chain has come to its end, so the frontier stays below it until then
(`hops.py`: also while the chain goes on under the look).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from dataflow.kv import Edit, Entry, Mutation, Store, row_of
from dataflow.txn.records import notification_key, timestamp_in

__all__ = ["Pending", "Trail", "dirty", "drop", "note", "oldest", "pending_in", "trail_of"]

_TRAIL = struct.Struct(">?IQ")
_KEPT = 8  # names in a trail; its length is counted on


class Trail(NamedTuple):
    """How a notification came to be: the length of the chain of observers that led to it, and the last of their names.

    ``origin``: the time of the change that the chain began with; 0 if it is this one.
    """

    length: int = 0
    names: tuple[str, ...] = ()
    weak: bool = False
    origin: int = 0

    def then(self, name: str, origin: int) -> Trail:
        """The trail of what an observer's run changes.

        >>> Trail().then("words", 7).then("counts", 7)
        Trail(length=2, names=('words', 'counts'), weak=False, origin=7)
        """
        return Trail(self.length + 1, (*self.names, name)[-_KEPT:], False, origin)

    def packed(self) -> bytes:
        """As bytes."""
        return _TRAIL.pack(self.weak, self.length, self.origin) + "\n".join(self.names).encode()[:60_000]


def trail_of(packed: bytes) -> Trail:
    """A trail from its bytes.

    >>> trail_of(Trail().then("words", 7).packed())
    Trail(length=1, names=('words',), weak=False, origin=7)
    """
    weak, length, origin = _TRAIL.unpack_from(packed)
    names = packed[_TRAIL.size :].decode("utf-8", "replace")
    return Trail(length, tuple(names.split("\n")) if names else (), weak, origin)


class Pending(NamedTuple):
    """A cell with changes not yet looked at: the times of them, the oldest first; the longest of their trails, with the oldest origin."""

    key: bytes
    timestamps: tuple[int, ...]
    trail: Trail


def dirty(store: Store, start: bytes = b"\x01", stop: bytes = b"\xff", wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
    """The cells of a range that have notifications, each once; those that are ``wanted``, by their keys."""
    return pending_in(store.scan("notify", start, stop), wanted)


def pending_in(entries: Iterable[Entry], wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
    """The cells that notifications are for, each once; those that are ``wanted``, by their keys."""
    key, timestamps, trail, ours = b"", list[int](), Trail(), False
    for found, packed in entries:
        if found[:-8] != key:
            if timestamps:
                yield Pending(key, tuple(timestamps), trail)
            key, timestamps, trail = found[:-8], [], Trail()
            ours = wanted is None or wanted(key)
        if not ours:
            continue
        timestamp, this = timestamp_in(found, newest_first=False), trail_of(packed)
        origin = this.origin or timestamp
        origin = min(origin, trail.origin) if timestamps else origin
        timestamps.append(timestamp)
        longer = this if this.length >= trail.length else trail
        trail = Trail(longer.length, longer.names, this.weak or trail.weak, origin)
    if timestamps:
        yield Pending(key, tuple(timestamps), trail)


def drop(store: Store, seen: Sequence[tuple[Pending, int]]) -> None:
    """Forget the notifications that runs have seen the changes of, whose snapshots are of these times; not one that is newer.

    Of many cells together: on LMDB each change of the store waits for the disk.
    """
    dropped = [
        Mutation(row_of(pending.key), (), tuple(edits))
        for pending, start in seen
        if (
            edits := [
                Edit("notify", notification_key(pending.key, timestamp), None) for timestamp in pending.timestamps if timestamp <= start
            ]
        )
    ]
    if dropped:
        store.mutate_many(dropped, sync=False)


def note(store: Store, key: bytes, timestamp: int, trail: Trail) -> None:
    """Have a cell's observers look at it, outside of any transaction; if the trail is weak, run even though it did not change.

    ``timestamp``: nobody else's.
    """
    store.write([Edit("notify", notification_key(key, timestamp), trail.packed())], sync=False)


def oldest(pending: Iterable[Pending]) -> int | None:
    """The time of the oldest change whose chain of observers has not come to its end; None if there is none."""
    return min((one.trail.origin for one in pending), default=None)
