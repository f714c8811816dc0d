"""The ledger of the one process that owns a store with snapshots.

What it keeps in memory are the commits of the last while. Older ones are forgotten when no view in use is old enough to conflict with
them (FoundationDB's resolver does it so, by time), and if none is in use at all, nothing need be remembered. A view is in use as long as
some transaction refers to it, which Python counts anyhow, so beginning and ending a transaction that reads costs no bookkeeping.

Times go on after a crash where the *limit* says that they may have been used up to; it is written once a million.

A delete deletes, and stands in memory as any commit; a record without a value is left only where observers must see that the cell changed.

What a commit costs beside RocksDB is counted in calls: in a group an `add` for each, which puts its cells into the batch at once, and
alone (`alone`) nothing but the put.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from dataflow.kv import Edit, pack
from dataflow.txn.ledger import REMOVED, TIME, Frozen, Page, View, time_of
from dataflow.txn.prewrite import Intent

__all__ = ["OwnedLedger"]

T = TypeVar("T")
_AHEAD = 1_000_000
_LIMIT = pack(("embedded", "limit"))
_REMEMBERED = 200_000


class _Edits:
    """A batch for a store that has none of its own."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.add: Callable[[Iterable[Edit]], None] = self.edits.extend

    def put(self, key: bytes, value: bytes) -> None:
        self.edits.append(Edit("data", key, value))

    def delete(self, key: bytes) -> None:
        self.edits.append(Edit("data", key, None))


class OwnedLedger:
    """Commits of the one process that owns a store with snapshots.

    All cells are written by the page that is open, and no condition is ever put on them: the store's latches are not needed.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self._batches = hasattr(store, "batch")
        if self._batches:
            self._empty: Callable[[], Any] = partial(store.batch, "data")
            self._write: Callable[..., None] = store.write_batch
        else:
            self._empty, self._write = _Edits, lambda batch, sync: store.write(batch.edits, sync=sync)
        self._recent: dict[bytes, int] = {}
        self._most = _REMEMBERED
        self._views: set[weakref.ref[View]] = set()  # those that somebody refers to
        self._ended = self._views.discard
        self._current: View | None = None
        self._mutex = Lock()  # held while what is published changes
        found = store.get("meta", _LIMIT)
        self.time = self._limit = int.from_bytes(found, "big") if found else 0
        self.floor = self.time
        self._new: dict[bytes, int] = {}
        self._batch: Any = None
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
        view = View(self.time, self.store.snapshot("data"))
        self._views.add(weakref.ref(view, self._ended))
        self._current = view
        return view

    def alone(self, intent: Intent, sync: bool) -> int:
        """One cell that is put, with nothing else to be written for it: one call of the store."""
        start, writes, holds, notify, _, seen = intent
        time = self.time + 1
        if len(writes) != 1 or holds or notify or seen or time > self._limit or not self._batches:
            return 0
        (key,) = writes
        value = writes[key]
        if value is None or (start >= 0 and (start < self.floor or self._recent.get(key, 0) > start)):
            return 0
        with self._mutex:
            try:
                if self._views:
                    self._remember({key: time})
                else:
                    self.floor = time
                self.time = time
                self.store.puts[sync](key, time.to_bytes(TIME, "big") + value)
                if self._current is not None:
                    self._renew()
            except BaseException as reason:
                self._current, self.time = None, time
                if isinstance(reason, Exception):
                    self.store.refuse_write(reason)
                raise
        return time

    def page(self, do: Callable[[Page], T], sync: bool) -> T:
        """The page is the ledger itself. What was not written is forgotten; a batch that stayed would keep the store's folder locked."""
        self._new, self._batch, self._sync = {}, self._empty(), sync
        try:
            return do(self)
        finally:
            self._batch = None

    def committed(self, key: bytes) -> int:
        """When a cell was last committed."""
        return self._new.get(key) or self._recent.get(key, 0)

    def add(self, intent: Intent, time: int, more: Sequence[Edit]) -> None:
        """A commit, at a time."""
        _, writes, holds, notify, _, _ = intent
        stamp, new, batch = time.to_bytes(TIME, "big"), self._new, self._batch
        for key, value in writes.items():
            new[key] = time
            if value is not None:
                batch.put(key, stamp + value)
            elif key in notify:  # a delete that observers are to see stays as a record without a value, until it is collected
                batch.put(key, stamp)
            else:
                batch.delete(key)
        for key in holds:
            new[key] = time
        if more:
            batch.add(more)

    def write(self, time: int) -> None:
        """Write, publish, and have a new view ready if the last one was used."""
        if time == self.time:
            return
        batch, limit = self._batch, self._limit
        if time > limit:
            limit = time + _AHEAD
            batch.add((Edit("meta", _LIMIT, limit.to_bytes(8, "big")),))
        with self._mutex:
            try:
                # If it fails, or is interrupted, it may have been written all the same. So first, and whatever becomes of it: who began
                # before conflicts with it, and who begins now sees it.
                if self._views:
                    self._remember(self._new)
                else:
                    self.floor = time  # nobody is left who could conflict with it
                self.time = time
                self._write(batch, sync=self._sync)
                self._limit = limit
                if self._current is not None:
                    self._renew()
            except BaseException:
                self._current, self.time = None, time
                raise

    def _remember(self, new: dict[bytes, int]) -> None:
        """Keep the times of commits for those who began before; forget those before which nobody is left."""
        recent = self._recent
        recent.update(new)
        if len(recent) > self._most:
            self.floor = floor = max(self.floor, self.oldest())
            self._recent = {key: when for key, when in recent.items() if when > floor}
            self._most = max(_REMEMBERED, 2 * len(self._recent))

    def _renew(self) -> None:
        """Have a new view ready if the last one was used."""
        assert self._current is not None
        if self._current.used:
            self._freeze()
        else:
            self._current = None

    def oldest(self) -> int:
        """The time of the oldest view in use."""
        return min([self.time, *(view.timestamp for ref in self._views.copy() if (view := ref()) is not None)])

    def forget_deletes(self, safe: int) -> int:
        """Remove the records without a value."""
        dead = [key for key, packed in self.store.scan("data", b"\x01", b"\xff") if len(packed) == TIME and time_of(packed) < safe]
        for at in range(0, len(dead), REMOVED):
            part = dead[at : at + REMOVED]
            found = self.store.get_many("data", part)
            self.store.write(
                [Edit("data", key, None) for key, packed in zip(part, found, strict=True) if packed and len(packed) == TIME], sync=False
            )
        return len(dead)

    def close(self) -> None:
        """No time above the last commit's was used: the next process need not skip any."""
        try:
            if self.time < self._limit:
                self.store.write([Edit("meta", _LIMIT, self.time.to_bytes(8, "big"))], sync=False)
        finally:
            self.store.close()  # also on a full disk: else the folder could not be opened again in this process
