"""What a transaction of LMDB sees and changes, in terms of families; and keys that are longer than LMDB takes.

LMDB takes keys up to 511 bytes. A longer one lies in a bucket: a record under its first 511 bytes, which holds the rest of the key and the
value, and those of all other keys that begin with the same 511 bytes, in order. A record under 511 bytes is always a bucket, a shorter
one never. So keys stay in order, and short ones cost nothing; a change in a bucket writes the whole bucket.

    key of 7 bytes                      -> value
    first 511 bytes of a longer one     -> (rest, value) (rest, value) …

>>> unfold(fold([(b"a", b"1"), (b"b", b"")]))
[(b'a', b'1'), (b'b', b'')]
"""

from __future__ import annotations

import struct
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.errors import StoreError
from dataflow.kv.embedded import pages
from dataflow.kv.store import Condition, Edit, Entry, Equals

if TYPE_CHECKING:
    from types import TracebackType

    from dataflow.kv.lmdb_map import Gate

__all__ = ["LONG", "LmdbSnapshot", "Transaction", "View", "fold", "unfold"]

Transaction = Any  # lmdb's: beside our lmdb.py, type checkers take that for the package

LONG = 511  # LMDB 0.9 takes no longer key; a key as long as this, or longer, lies in a bucket


def fold(bucket: Sequence[Entry]) -> bytes:
    """The rests and values of a bucket as one value."""
    return b"".join(struct.pack("<II", len(rest), len(value)) + rest + value for rest, value in bucket)


def unfold(record: bytes) -> list[Entry]:
    """The rests and values of a bucket."""
    bucket: list[Entry] = []
    at = 0
    while at < len(record):
        rest, value = struct.unpack_from("<II", record, at)
        at += 8 + rest + value
        bucket.append((record[at - value - rest : at - value], record[at - value : at]))
    return bucket


class View:
    """A transaction, reading or writing. For one thread at a time."""

    __slots__ = ("_families", "transaction")

    def __init__(self, transaction: Transaction, families: dict[str, Any]) -> None:
        self.transaction, self._families = transaction, families

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        if len(key) < LONG:
            return self.transaction.get(key, None, self._families[family])
        bucket, at, found = self._sought(family, key)
        return bucket[at][1] if found else None

    def first(self, family: str, start: bytes, stop: bytes) -> Entry | None:
        """The first entry of a range."""
        if len(start) < LONG:
            cursor = self.transaction.cursor(self._families[family])
            if start >= stop or not cursor.set_range(start):
                return None
            key, value = cursor.item()
            if len(key) < LONG:
                return (key, value) if key < stop else None
        page = self.page(family, start, stop, False, 1)
        return page[0] if page else None

    def page(self, family: str, start: bytes, stop: bytes, reverse: bool, most: int) -> list[Entry]:
        """At most so many entries, from one side of a range."""
        page: list[Entry] = []
        if start >= stop or most <= 0:
            return page
        for key, value in self._backwards(family, stop) if reverse else self._forwards(family, start):
            if key < start if reverse else key >= stop:
                break
            if key >= stop if reverse else key < start:
                continue  # of the bucket in which the range begins
            page.append((key, value))
            if len(page) == most:
                break
        return page

    def _forwards(self, family: str, start: bytes) -> Iterator[Entry]:
        cursor = self.transaction.cursor(self._families[family])
        if cursor.set_range(start[:LONG]):
            for key, value in cursor.iternext():
                if len(key) < LONG:
                    yield key, value
                else:
                    yield from ((key + rest, one) for rest, one in unfold(value))

    def _backwards(self, family: str, stop: bytes) -> Iterator[Entry]:
        cursor = self.transaction.cursor(self._families[family])
        if cursor.set_range(stop[:LONG]):
            # the record found is at or behind the stop; only if it is the stop's own bucket may it hold something before it
            placed = (len(stop) > LONG and cursor.key() == stop[:LONG]) or cursor.prev()
        else:
            placed = cursor.last()
        if placed:
            for key, value in cursor.iterprev():
                if len(key) < LONG:
                    yield key, value
                else:
                    yield from ((key + rest, one) for rest, one in reversed(unfold(value)))

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> list[Entry]:
        """The entries with ``start <= key < stop``, in the order of their keys."""
        return self.page(family, start, stop, reverse, limit if limit is not None else 1 << 62)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Put a value at a key."""
        if len(key) < LONG:
            self.transaction.put(key, value, db=self._families[family])
            return
        bucket, at, found = self._sought(family, key)
        bucket[at : at + found] = [(key[LONG:], value)]
        self.transaction.put(key[:LONG], fold(bucket), db=self._families[family])

    def delete(self, family: str, key: bytes) -> None:
        """Delete what is at a key; that nothing is there is no error."""
        if len(key) < LONG:
            self.transaction.delete(key, db=self._families[family])
            return
        bucket, at, found = self._sought(family, key)
        if found:
            del bucket[at]
            if bucket:
                self.transaction.put(key[:LONG], fold(bucket), db=self._families[family])
            else:
                self.transaction.delete(key[:LONG], db=self._families[family])

    def _sought(self, family: str, key: bytes) -> tuple[list[Entry], int, bool]:
        """A long key's bucket, its place there, and whether it is there."""
        bucket = unfold(self.transaction.get(key[:LONG], b"", self._families[family]))
        at = bisect_left(bucket, key[LONG:], key=lambda entry: entry[0])
        return bucket, at, at < len(bucket) and bucket[at][0] == key[LONG:]

    def holds(self, require: tuple[Condition, ...]) -> bool:
        """Whether all conditions hold."""
        for condition in require:
            if isinstance(condition, Equals):
                if self.get(condition.family, condition.key) != condition.value:
                    return False
            elif self.first(*condition) is not None:
                return False
        return True

    def apply(self, edits: Sequence[Edit]) -> None:
        """Make edits."""
        for family, key, value in edits:
            if value is None:
                self.delete(family, key)
            else:
                self.put(family, key, value)


class LmdbSnapshot:
    """A family as it was at one moment. To take one costs about a microsecond, and copies nothing."""

    _view: View | None = None

    def __init__(self, name: str, families: dict[str, Any], family: str, gate: Gate) -> None:
        self._name, self._families, self._family, self._gate = name, families, family, gate
        self._lock = threading.Lock()  # a transaction is for one thread at a time
        self._stays = weakref.ref(self, gate.go)  # who is gone stays no longer, also if Ctrl-C came into its `close`

    def begin(self, begin: Callable[[], Transaction]) -> None:
        """Be of this moment."""
        self._gate.stay(self._stays)
        self._view = View(begin(), self._families)

    def get(self, key: bytes) -> bytes | None:
        """The value that the key had."""
        with self._lock:
            return self._alive().get(self._family, key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values that the keys had, in their order."""
        with self._lock:
            view = self._alive()
            return [view.get(self._family, key) for key in keys]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries that were there, page by page."""

        def read(start: bytes, stop: bytes, most: int) -> list[Entry]:
            with self._lock:
                return self._alive().page(self._family, start, stop, reverse, most)

        return pages(read, start, stop, reverse, limit)

    def close(self) -> None:
        """Let go of it. Twice is no error."""
        with self._lock:
            view, self._view = self._view, None
            try:
                if view is not None:
                    view.transaction.abort()
            finally:
                self._gate.go(self._stays)

    def _alive(self) -> View:
        if self._view is None:
            raise StoreError(f"a snapshot of {self._name} is closed")
        return self._view

    def __enter__(self) -> LmdbSnapshot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._view is not None:
            self.close()
