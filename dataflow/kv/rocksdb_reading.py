"""How ranges of a RocksDB store are read, as they are now (`live_page`, `first`) and as they were at one moment (`RocksSnapshot`).

A scan reads page after page with a new iterator each. That costs 3 microseconds a page; in return no iterator is left open by who stops in
the middle, which would keep the folder locked after the store is closed, and old files on the disk.

A snapshot of rocksdict 0.3.29 is frozen for single keys only: its iterators show the store as it is now. An iterator is frozen where it is
made. So ours is both, made at one sequence number (`freeze`): keys are read from the one, 0.5 microseconds each, ranges from the other.

>>> import tempfile
>>> from dataflow.kv.rocksdb import RocksStore
>>> from dataflow.kv.store import Edit
>>> with RocksStore(tempfile.mkdtemp()) as store:
...     store.write([Edit("data", b"%02d" % number, b"v") for number in range(40)])
...     before = store.snapshot("data")
...     store.write([Edit("data", b"00", None)])
...     next(before.scan(b"", b"a")), next(store.scan("data", b"", b"a"))
((b'00', b'v'), (b'01', b'v'))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from dataflow.errors import StoreError
from dataflow.kv.embedded import pages
from dataflow.kv.store import Entry, Range

if TYPE_CHECKING:
    from types import TracebackType

    from rocksdict import Rdict, RdictIter, ReadOptions, Snapshot

__all__ = ["RocksSnapshot", "first", "first_of_each", "freeze", "live_page"]

_TRIES = 4  # to find no write between a snapshot and an iterator; another thread must write within their microsecond


def live_page(source: Rdict, options: ReadOptions, start: bytes, stop: bytes, reverse: bool, most: int) -> list[Entry]:
    """At most so many entries as they are now, from one side of a range."""
    options.set_iterate_upper_bound(stop)
    page: list[Any] = list(islice(source.items(reverse, stop if reverse else start, options), most))
    if reverse and page and page[-1][0] < start:  # rocksdict 0.3.29 takes a lower bound for an upper one, so there is none
        return [entry for entry in page if entry[0] >= start]
    if len(page) < most:
        _check_end(source.iter(options), start, stop, page, reverse)
    return page


def _check_end(found: RdictIter, start: bytes, stop: bytes, page: list[Entry], reverse: bool) -> None:
    """Raises if it was not the end of the range that ended a page: ``items`` does not say."""
    if not reverse:
        found.seek(page[-1][0] + b"\x00" if page else start)
    elif page:
        found.seek_for_prev(page[-1][0])
        found.prev()
    else:
        found.seek_for_prev(stop)
    found.status()


def first(family: Rdict, get: Callable[[Any], Any], options: Callable[[], ReadOptions], start: bytes, stop: bytes) -> Entry | None:
    """The first entry of a range as it is now; of a range of one key by ``get``, which is half the time of an iterator."""
    if stop == start + b"\x00":
        value = get(start)
        return None if value is None else (start, value)
    bounded = options()
    bounded.set_iterate_upper_bound(stop)
    found = family.iter(bounded)
    found.seek(start)
    key = found.key()
    if key is None or start >= stop:  # an upper bound below the start means nothing to RocksDB
        found.status()  # raises if it was a damaged block that ended it
        return None
    return key, found.value()


def first_of_each(family: Rdict, get: Callable[[Any], Any], options: ReadOptions, ranges: Sequence[Range]) -> list[Entry | None]:
    """The first entries of ranges at one moment: single keys in one list, else by one iterator."""
    if all(stop == start + b"\x00" for _, start, stop in ranges):
        values = get([start for _, start, _ in ranges])
        return [None if value is None else (start, value) for (_, start, _), value in zip(ranges, values, strict=True)]
    options.set_iterate_upper_bound(max(stop for _, _, stop in ranges))
    found = family.iter(options)
    entries: list[Entry | None] = []
    for _, start, stop in ranges:
        found.seek(start)
        key = found.key()
        if key is None:
            found.status()
        entries.append((key, found.value()) if key is not None and key < stop else None)
    return entries


def freeze(database: Rdict, family: Rdict) -> tuple[Snapshot | None, RdictIter]:
    """A snapshot and an iterator of one moment; without the snapshot if others write too often."""
    for _ in range(_TRIES):
        before = database.latest_sequence_number()
        keys, ranges = family.snapshot(), family.iter()
        if database.latest_sequence_number() == before:
            return keys, ranges
    return None, family.iter()


class RocksSnapshot:
    """A family as it was at one moment. To take one copies nothing."""

    __slots__ = ("__weakref__", "_keys", "_lock", "_ranges", "_refuse")

    def __init__(self, keys: Snapshot | None, ranges: RdictIter, refuse: Callable[[Exception], NoReturn]) -> None:
        self._keys = keys
        self._ranges: RdictIter | None = ranges
        self._refuse = refuse
        self._lock = threading.Lock()

    def get(self, key: bytes) -> bytes | None:
        """The value that the key had."""
        try:
            if self._keys is not None:
                return self._keys[key]
            page = self._page(key, key + b"\x00", False, 1)
            return page[0][1] if page else None
        except Exception as reason:
            if reason.args == ("key not found",):
                return None
            self._refused(reason)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values that the keys had, in their order."""
        return [*map(self.get, keys)]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries that were there, page by page."""

        def read(start: bytes, stop: bytes, most: int) -> list[Entry]:
            try:
                return self._page(start, stop, reverse, most)
            except Exception as reason:
                self._refused(reason)

        return pages(read, start, stop, reverse, limit)

    def _page(self, start: bytes, stop: bytes, reverse: bool, most: int) -> list[Entry]:
        page: list[Entry] = []
        with self._lock:  # an iterator stands in one place
            found = self._ranges
            if found is None:
                raise StoreError("this snapshot is closed")
            if reverse:
                found.seek_for_prev(stop)
                if found.key() == stop:
                    found.prev()
            else:
                found.seek(start)
            move = found.prev if reverse else found.next
            while len(page) < most:
                key = found.key()
                if key is None:
                    found.status()
                    break
                if key < start if reverse else key >= stop:
                    break
                page.append((key, found.value()))
                move()
        return page

    def close(self) -> None:
        """Let go of it. Twice is no error."""
        with self._lock:
            self._keys = self._ranges = None

    def pieces(self) -> object:
        """What it holds of the store."""
        return self._keys, self._ranges

    def _refused(self, reason: Exception) -> NoReturn:
        if self._ranges is None:
            raise StoreError("this snapshot is closed") from None
        self._refuse(reason)

    def __enter__(self) -> RocksSnapshot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
