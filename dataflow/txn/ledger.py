"""Ledgers: who knows what was committed when, for the embedded engine.

    OwnedLedger     this process owns the store: recent commits stand in memory, snapshots are shared by all who begin at one time
    SharedLedger    several processes share the store (LMDB): its writers' lock makes them one line, and the store knows all commits

A group of commits is one page: it is opened, asked when cells were last `committed`, told what to `add`, and written.

What an owner keeps in memory are the commits of the last while. Older ones are forgotten when no snapshot in use is old enough to conflict
with them (FoundationDB's resolver does it so, by time). A view is alive as long as some transaction refers to it, which Python counts
anyhow, so beginning and ending a transaction that reads costs no bookkeeping.

Times go on after a crash where the *limit* says that they may have been used up to; it is written once a million.

Deletes: an owner deletes, and remembers that it did. Several processes remember by a record without a value, which is collected later; a
transaction older than that (``floor``) may not commit, because it could miss the conflict. An owner leaves such a record only where
observers must see that the cell changed.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, Protocol

from dataflow.kv import Edit, Store, pack
from dataflow.txn.collect import safe_point
from dataflow.txn.prewrite import Intent

__all__ = ["TIME", "Frozen", "Ledger", "OwnedLedger", "Page", "SharedLedger", "View"]

TIME = 8  # bytes of a commit time before a value in "data"
_AHEAD = 1_000_000
_LIMIT = pack(("embedded", "limit"))
_NOW = b"\x00"  # in "data", before all cells: the time of the last commit of a shared store
_REMEMBERED = 200_000
_REMOVED = 10_000  # records in one write


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

    def open(self, sync: bool) -> AbstractContextManager[Page]:
        """A page for a group of commits; only one at a time. ``sync``: force it to the disk."""
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


class OwnedLedger:
    """Commits of the one process that owns a store with snapshots."""

    floor = 0  # nothing is forgotten that somebody could conflict with

    def __init__(self, store: Any) -> None:
        self.store = store
        # All cells are written by the page that is open, and no condition is ever put on them: the store's latches are not needed.
        self._write: Callable[..., None] = getattr(store, "write_alone", store.write)
        self._recent: dict[bytes, int] = {}
        self._views: list[weakref.ref[View]] = []
        self._current: View | None = None
        self._mutex = Lock()  # held while what is published changes
        found = store.get("meta", _LIMIT)
        self.time = self._limit = int.from_bytes(found, "big") if found else 0
        self._new: dict[bytes, int] = {}
        self._edits: list[Edit] = []
        self._sync = True

    def view(self) -> View:
        """What is published: without waiting, if somebody has read since the last commit."""
        view = self._current
        if view is None:
            with self._mutex:
                view = self._current or self._freeze()
        view.used = True
        return view

    def frozen(self, family: str) -> Frozen:
        """A family as it is now."""
        taken: Frozen = self.store.snapshot(family)
        return taken

    def _freeze(self) -> View:
        view = self._current = View(self.time, self.store.snapshot("data"))
        if len(self._views) > 100:
            self._views = [ref for ref in self._views if ref() is not None]
        self._views.append(weakref.ref(view))
        return view

    def open(self, sync: bool) -> OwnedLedger:
        """The page is the ledger itself."""
        self._new, self._edits, self._sync = {}, [], sync
        return self

    def __enter__(self) -> OwnedLedger:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing: what was not written is forgotten when the next page is opened."""

    def committed(self, key: bytes) -> int:
        """When a cell was last committed."""
        return self._new.get(key) or self._recent.get(key, 0)

    def add(self, intent: Intent, time: int, more: Sequence[Edit]) -> None:
        """A commit, at a time."""
        _, writes, holds, notify, _ = intent
        stamp, new, edits = time.to_bytes(TIME, "big"), self._new, self._edits
        for key, value in writes.items():
            new[key] = time
            # A delete that observers are to see stays as a record without a value, until it is collected.
            edits.append(Edit("data", key, stamp + value if value is not None else stamp if key in notify else None))
        for key in holds:
            new[key] = time
        if more:
            edits += more

    def write(self, time: int) -> None:
        """Write, publish, and have a new view ready if the last one was used."""
        if not self._edits:
            return
        limit = self._limit
        if time > limit:
            limit = time + _AHEAD
            self._edits.append(Edit("meta", _LIMIT, limit.to_bytes(8, "big")))
        with self._mutex:
            try:
                self._write(self._edits, sync=self._sync)
                self._limit = limit
            except BaseException:
                self._current = None
                raise
            finally:
                # If it failed, it may have been written all the same: who began before conflicts with it, and who begins now sees it.
                self._recent.update(self._new)
                self.time = time
            if self._current is not None:
                if self._current.used:
                    self._freeze()
                else:
                    self._current = None
        if len(self._recent) > 2 * _REMEMBERED:
            floor = self.oldest()
            self._recent = {key: when for key, when in self._recent.items() if when > floor}

    def oldest(self) -> int:
        """The time of the oldest view in use."""
        return min([self.time, *(view.timestamp for ref in list(self._views) if (view := ref()) is not None)])

    def forget_deletes(self, safe: int) -> int:
        """Remove the records without a value."""
        dead = [key for key, packed in self.store.scan("data", b"\x01", b"\xff") if len(packed) == TIME and _time(packed) < safe]
        for at in range(0, len(dead), _REMOVED):
            part = dead[at : at + _REMOVED]
            found = self.store.get_many("data", part)
            self.store.write(
                [Edit("data", key, None) for key, packed in zip(part, found, strict=True) if packed and len(packed) == TIME], sync=False
            )
        return len(dead)

    def close(self) -> None:
        """No time above the last commit's was used: the next process need not skip any."""
        if self.time < self._limit:
            self.store.write([Edit("meta", _LIMIT, self.time.to_bytes(8, "big"))], sync=False)
        self.store.close()


class SharedLedger:
    """Commits of several processes to one store that has a writers' lock."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.floor = 0

    def view(self) -> View:
        """What is committed now, by anybody."""
        frozen: Frozen = self.store.snapshot("data")
        return View(_time(frozen.get(_NOW)), frozen)

    def frozen(self, family: str) -> Frozen:
        """A family as it is now."""
        taken: Frozen = self.store.snapshot(family)
        return taken

    @contextlib.contextmanager
    def open(self, sync: bool) -> Generator[_SharedPage, None, None]:
        """A page under the writers' lock."""
        with self.store.exclusive(sync=sync) as writing:
            self.floor = safe_point(self.store)
            yield _SharedPage(writing)

    def oldest(self) -> int:
        """The store keeps what snapshots see; those of other processes are not known, and need not be."""
        return self.view().timestamp

    def forget_deletes(self, safe: int) -> int:
        """Remove the records without a value."""
        removed, at = 0, b"\x01"
        while True:
            with self.store.exclusive() as writing:
                page = [entry for _, entry in zip(range(_REMOVED), writing.scan("data", at, b"\xff"), strict=False)]
                for key, packed in page:
                    if len(packed) == TIME and _time(packed) < safe:
                        writing.delete("data", key)
                        removed += 1
            if not page:
                return removed
            at = page[-1][0] + b"\x00"

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class _SharedPage:
    def __init__(self, writing: Any) -> None:
        self._writing = writing
        self.time = _time(writing.get("data", _NOW))

    def committed(self, key: bytes) -> int:
        packed = self._writing.get("data", key)
        return _time(packed[:TIME]) if packed else 0

    def add(self, intent: Intent, time: int, more: Sequence[Edit]) -> None:
        stamp, put = time.to_bytes(TIME, "big"), self._writing.put
        for key, value in intent.writes.items():
            put("data", key, stamp if value is None else stamp + value)
        for key in intent.holds:
            packed = self._writing.get("data", key)
            put("data", key, stamp + packed[TIME:] if packed else stamp)
        for family, key, value in more:
            put(family, key, value)

    def write(self, time: int) -> None:
        self._writing.put("data", _NOW, time.to_bytes(TIME, "big"))


def _time(packed: bytes | None) -> int:
    return int.from_bytes(packed, "big") if packed else 0
