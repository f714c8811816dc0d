"""What a transaction asks of the engine that commits it; there are three.

    Transaction ── reads ──> Snapshot.get, .get_many, .scan          as of one time
                ── commit ─> Engine.commit_many([Intent, …])          of each all writes, or ConflictError

    embedded    this process owns the store (or LMDB serializes the writers): conflicts are found in memory, many commits are one write
    native      a store with transactions of its own, one PostgreSQL server: its snapshots, its conflicts
    percolator  a store that can change one row on a condition, from any number of processes: the paper's protocol

The three mean the same: snapshot isolation; a transaction sees the store as it was when it began, and of two that overlap and write the
same cell, one commits. `tests/txn` runs one set of tests over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from dataflow.errors import TransactionError
from dataflow.kv import Store
from dataflow.txn.notify import Pending, Trail
from dataflow.txn.prewrite import Intent
from dataflow.txn.snapshot_read import Version

__all__ = ["Engine", "Snapshot", "Version"]


class Snapshot(Protocol):
    """The store as of one time. Keys are those of cells, ``pack((row, column))``."""

    @property
    def timestamp(self) -> int:
        """The time: every commit up to it is seen, none after it."""
        ...

    @property
    def start(self) -> int:
        """The time; -1 if nothing was read yet, and so no time need be."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """A cell's value, None if there is none."""
        ...

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when."""
        ...

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that have a value, in the order of their keys."""
        ...

    def close(self) -> None:
        """Let go of it; what only it could see may be collected. Raises `SnapshotTooOldError` if that was done already."""
        ...


class Engine(Protocol):
    """Commits transactions."""

    name: str
    store: Store
    together: int  # transactions that one thread may have open, to commit them together
    takes_seen: bool  # whether a commit takes the notifications away that its transaction has seen

    def begin(self) -> Snapshot:
        """The store as it is now."""
        ...

    def begin_many(self, count: int) -> Sequence[Snapshot]:
        """Snapshots of so many transactions, as `begin` gives them; of one time, where engine and store allow."""
        ...

    def as_of(self, timestamp: int) -> Snapshot:
        """The store as it was. Raises `SnapshotTooOldError` for a time whose versions are not kept."""
        ...

    def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
        """Make the changes of each transaction visible, each at one time of its own, and together in as few writes as the engine can.

        Gives the times, and for those that are not committed the reason; each has at least one write.
        """
        ...

    def now(self) -> int:
        """A time not before any commit that was acknowledged."""
        ...

    def dirty(self, start: bytes, stop: bytes, wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
        """The cells of a range that observers have not looked at since they were changed; those that are ``wanted``, by their keys."""
        ...

    def drop(self, seen: Sequence[tuple[Pending, int]], gone_on: int | None = None) -> None:
        """Forget the notifications of changes up to a time, of each cell its own.

        ``gone_on``: the oldest change whose chain of observers goes on from these cells to others.
        """
        ...

    def note(self, key: bytes, trail: Trail) -> None:
        """Have a cell's observers look at it, outside of any transaction; if the trail is weak, run though it did not change."""
        ...

    def frontier(self) -> int:
        """The time up to which every change was looked at by its observers, and what these changed too."""
        ...

    def collect(self, before: int | None) -> tuple[int, int]:
        """Remove versions no snapshot of ``before`` (none: of any in use) or later can see: up to where it was safe, and how many."""
        ...

    def close(self) -> None:
        """Finish what is under way, and close the store."""
        ...
