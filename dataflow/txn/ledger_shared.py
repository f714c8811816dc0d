"""The ledger of a store that several processes share (LMDB): its writers' lock makes them one line, and the store knows all commits.

    data   key      -> commit time, value
           key, ff  -> commit time           of who held the cell last; beside it, because a hold is no change for observers to see

Deletes and holds are remembered by a record without a value, which is collected later; a transaction older than that (``floor``) may not
commit, because it could miss the conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dataflow.kv import Edit
from dataflow.txn.collect import safe_point
from dataflow.txn.ledger import REMOVED, TIME, Frozen, Page, View, time_of
from dataflow.txn.prewrite import Intent

__all__ = ["SharedLedger"]

T = TypeVar("T")
_NOW = b"\x00"  # in "data", before all cells: the time of the last commit
_HELD = b"\xff"  # behind a cell's key; no key begins another, so this is no cell's


class SharedLedger:
    """Commits of several processes to one store that has a writers' lock."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.floor = 0

    def view(self) -> View:
        """What is committed now, by anybody."""
        frozen: Frozen = self.store.snapshot("data")
        return View(time_of(frozen.get(_NOW)), frozen)

    def frozen(self, family: str) -> Frozen:
        """A family as it is now."""
        taken: Frozen = self.store.snapshot(family)
        return taken

    def page(self, do: Callable[[Page], T], sync: bool) -> T:
        """A page under the writers' lock. It may be done again: the map of LMDB may be too small for it, and has grown then."""

        def locked(writing: Any) -> T:
            self.floor = safe_point(self.store)
            return do(_SharedPage(writing))

        done: T = self.store.exclusive(locked, sync=sync)
        return done

    def alone(self, intent: Intent, sync: bool) -> int:
        """Never: under the writers' lock a page costs nothing."""
        return 0

    def oldest(self) -> int:
        """The store keeps what snapshots see; those of other processes are not known, and need not be."""
        return self.view().timestamp

    def forget_deletes(self, safe: int) -> int:
        """Remove the records without a value."""
        removed, at = 0, b"\x01"

        def forget(writing: Any) -> tuple[int, bytes]:
            page = writing.scan("data", at, b"\xff", limit=REMOVED)
            dead = [key for key, packed in page if len(packed) == TIME and time_of(packed) < safe]
            for key in dead:
                writing.delete("data", key)
            return len(dead), page[-1][0] + b"\x00" if page else b""

        while at:
            count, at = self.store.exclusive(forget)
            removed += count
        return removed

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class _SharedPage:
    def __init__(self, writing: Any) -> None:
        self._writing = writing
        self.time = time_of(writing.get("data", _NOW))

    def committed(self, key: bytes) -> int:
        get = self._writing.get
        return max(time_of(get("data", key)), time_of(get("data", key + _HELD)))

    def add(self, intent: Intent, time: int, more: Sequence[Edit]) -> None:
        stamp, put = time.to_bytes(TIME, "big"), self._writing.put
        for key, value in intent.writes.items():
            put("data", key, stamp if value is None else stamp + value)
        for key in intent.holds:
            put("data", key + _HELD, stamp)
        for family, key, value in more:
            if value is None:
                self._writing.delete(family, key)
            else:
                put(family, key, value)

    def write(self, time: int) -> None:
        self._writing.put("data", _NOW, time.to_bytes(TIME, "big"))
