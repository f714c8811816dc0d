"""A store in this process's memory, for tests and for what need not outlive the process.

A family is a dictionary, and its keys in order; one lock makes every change whole. Ctrl-C may come between any two edits of one: what
is to be made stands in a list until all of it is, and whoever comes next makes it again, which changes nothing that was made.

>>> from dataflow.kv import Absent
>>> store = MemoryStore()
>>> store.mutate(Mutation(b"a", (Equals("data", b"a1", None),), (Edit("data", b"a1", b"x"),)))
True
>>> store.mutate(Mutation(b"a", (Absent("data", b"a", b"b"),), (Edit("data", b"a2", b"y"),)))
False
>>> list(store.scan("data", b"a", b"b"))
[(b'a1', b'x')]
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal

from dataflow.kv.store import FAMILIES, Condition, Edit, Entry, Equals, Mutation, Outcome, Range

__all__ = ["MemorySnapshot", "MemoryStore"]

_PAGE = 256


class MemoryStore:
    """An ordered map of bytes to bytes, in memory."""

    name = "memory:"
    atomic: Literal["row", "store"] = "store"
    shared = False

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = {family: {} for family in FAMILIES}
        self._keys: dict[str, list[bytes]] = {family: [] for family in FAMILIES}
        self._lock = threading.RLock()
        self._under_way: Sequence[Edit] = ()

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        if self._under_way:  # by another thread, or by one that was interrupted
            return self.get_many(family, (key,))[0]
        return self._values[family].get(key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        with self._lock:
            self._make()
            return [*map(self._values[family].get, keys)]

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, page by page."""
        left = limit if limit is not None else 1 << 62
        while left > 0:
            page = self._page(family, start, stop, reverse, min(left, _PAGE))
            yield from page
            left -= len(page)
            if len(page) < _PAGE:
                return
            start, stop = (start, page[-1][0]) if reverse else (page[-1][0] + b"\x00", stop)

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range."""
        with self._lock:
            return [next(iter(self._page(*found, False, 1)), None) for found in ranges]

    def _page(self, family: str, start: bytes, stop: bytes, reverse: bool, most: int) -> list[Entry]:
        with self._lock:
            self._make()
            keys, values = self._keys[family], self._values[family]
            low, high = bisect_left(keys, start), bisect_left(keys, stop)
            found = keys[max(low, high - most) : high][::-1] if reverse else keys[low : min(high, low + most)]
            return [(key, values[key]) for key in found]

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together."""
        with self._lock:
            self._make()
            self._under_way = edits
            self._make()

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold."""
        with self._lock:
            self._make()
            if not all(map(self._holds, mutation.require)):
                return False
            self.write(mutation.edits)
            return True

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently."""
        return [self.mutate(mutation) for mutation in mutations]

    def snapshot(self, family: str) -> MemorySnapshot:
        """A family as it is now: a copy.

        >>> store = MemoryStore()
        >>> before = store.snapshot("data")
        >>> store.write([Edit("data", b"k", b"v")])
        >>> before.get(b"k"), store.get("data", b"k")
        (None, b'v')
        """
        with self._lock:
            self._make()
            frozen = MemoryStore()
            frozen._values[family], frozen._keys[family] = dict(self._values[family]), list(self._keys[family])
            return MemorySnapshot(frozen, family)

    def close(self) -> None:
        """Nothing to let go of; the entries stay as long as the object."""

    def _holds(self, condition: Condition) -> bool:
        if isinstance(condition, Equals):
            return self._values[condition.family].get(condition.key) == condition.value
        keys = self._keys[condition.family]
        at = bisect_left(keys, condition.start)
        return at == len(keys) or keys[at] >= condition.stop

    def _make(self) -> None:
        """What is under way, from its first edit."""
        if self._under_way:
            for family, key, value in self._under_way:
                self._put(family, key, value)
            self._under_way = ()

    def _put(self, family: str, key: bytes, value: bytes | None) -> None:
        """One edit, of which a part may have been made."""
        keys = self._keys[family]
        at = bisect_left(keys, key)
        there = at < len(keys) and keys[at] == key
        if value is not None:
            self._values[family][key] = value
            if not there:
                keys.insert(at, key)
        else:
            if there:
                del keys[at]
            self._values[family].pop(key, None)


class MemorySnapshot:
    """A family as it was."""

    def __init__(self, frozen: MemoryStore, family: str) -> None:
        self._frozen, self._family = frozen, family

    def get(self, key: bytes) -> bytes | None:
        """The value at a key."""
        return self._frozen.get(self._family, key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        return self._frozen.get_many(self._family, keys)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries of a range, in the order of their keys."""
        return self._frozen.scan(self._family, start, stop, reverse=reverse, limit=limit)

    def close(self) -> None:
        """Let go of it."""

    def __enter__(self) -> MemorySnapshot:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
