"""Ledgers: who knows what was committed when, for the embedded engine.

    OwnedLedger     this process owns the store: recent commits stand in memory (`ledger_owned.py`)
    SharedLedger    several processes share the store (LMDB), and the store knows all commits (`ledger_shared.py`)

A group of commits is one page: it is begun, asked when cells were last `committed`, told what to `add`, and written. Of the one before
its time is the ``floor``: what was committed up to it may be forgotten, so a transaction that began earlier may not commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from dataflow.kv import Edit, Store
from dataflow.txn.prewrite import Intent

__all__ = ["REMOVED", "TIME", "Frozen", "Ledger", "Page", "View", "time_of"]

T = TypeVar("T")
TIME = 8  # bytes of a commit time before a value in "data"
REMOVED = 10_000  # records that are removed in one write


class Frozen(Protocol):
    """A family of a store as it was at one moment."""

    def get(self, key: bytes) -> bytes | None:
        """The value at a key."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys."""
        ...

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a range."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class View:
    """What was committed up to a time. ``used``: somebody began with it."""

    __slots__ = ("__weakref__", "frozen", "get", "timestamp", "used")

    def __init__(self, timestamp: int, frozen: Frozen) -> None:
        self.timestamp, self.frozen, self.get, self.used = timestamp, frozen, frozen.get, False


class Page(Protocol):
    """A group of commits that will be one write."""

    time: int

    def committed(self, key: bytes) -> int:
        """When a cell was last committed; 0 if that was before all snapshots in use."""
        ...

    def add(self, intent: Intent, time: int, more: Sequence[Edit]) -> None:
        """A commit, at a time, with what else is written for it."""
        ...

    def write(self, time: int) -> None:
        """Write all that was added, and publish the time of the last."""
        ...


class Ledger(Protocol):
    """Knows what was committed when."""

    store: Store
    floor: int

    def view(self) -> View:
        """What is committed now."""
        ...

    def frozen(self, family: str) -> Frozen:
        """A family as it is now."""
        ...

    def page(self, do: Callable[[Page], T], sync: bool) -> T:
        """What is done with a page for a group of commits; only one at a time. ``sync``: force it to the disk.

        It may be done again, with a page anew, as long as it was not written.
        """
        ...

    def alone(self, intent: Intent, sync: bool) -> int:
        """Commit one transaction without a page, and give its time; 0 if only a page can tell, and nothing was done."""
        ...

    def oldest(self) -> int:
        """The time of the oldest snapshot in use."""
        ...

    def forget_deletes(self, safe: int) -> int:
        """Remove what is remembered of deletes before a time, and say how many; called while no page is open."""
        ...

    def close(self) -> None:
        """Say that no more times are used, and close the store."""
        ...


def time_of(packed: bytes | None) -> int:
    """The commit time that a record of "data" begins with; 0 if there is none."""
    return int.from_bytes(packed[:TIME], "big") if packed else 0
