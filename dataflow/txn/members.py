"""Members: which workers are alive, and which part of the work is whose.

    meta: ("worker", id) -> a number that grows          written by each, four times in a lease
    a number that did not change for a lease, by the reader's own clock: that worker is dead, its part is the others'

Parts are by hash, so no worker asks another. For a moment two may think that the same row is theirs, or nobody; the first is harmless,
because their transactions exclude each other, and the second ends when both have looked again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

from dataflow.kv import Edit, Store, end_of_row, pack, pack_element

__all__ = ["Members"]

LEASE = 2.0  # seconds
_PREFIX = pack_element("worker")


class Members:
    """One worker's view of all.

    >>> from dataflow.kv import MemoryStore
    >>> store, now = MemoryStore(), [0.0]
    >>> first, second = Members(store, lambda: now[0]), Members(store, lambda: now[0])
    >>> now[0] += 1; first.look(); second.look(); now[0] += 1; first.look()
    >>> [first.mine(b"row"), second.mine(b"row")].count(True)
    1
    >>> now[0] += 1; first.look(); now[0] += 2; first.look()  # the second is silent
    >>> first.mine(b"row")
    True
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._id = os.getpid().to_bytes(4, "big") + os.urandom(8)
        self._beats = 0
        self._heard: dict[bytes, tuple[bytes, float]] = {}
        self._looked = -LEASE
        self._count, self._mine = 1, 0
        self.look()

    def look(self) -> None:
        """Say that we live, and see who else does; a quarter of a lease apart."""
        now = self._clock()
        if now - self._looked < LEASE / 4:
            return
        self._looked = now
        self._beats += 1
        self._store.write([Edit("meta", pack(("worker", self._id)), self._beats.to_bytes(8, "big"))], sync=False)
        found = dict(self._store.scan("meta", _PREFIX, end_of_row(_PREFIX)))
        self._heard = {
            key: (beat, now if key not in self._heard or self._heard[key][0] != beat else self._heard[key][1])
            for key, beat in found.items()
        }
        dead = [key for key, (_, when) in self._heard.items() if now - when >= LEASE]
        if dead:
            self._store.write([Edit("meta", key, None) for key in dead[:1]], sync=False)  # one row at a time
        me = pack(("worker", self._id))
        alive = sorted({me, *self._heard}.difference(dead))  # we are, also if somebody who took us for dead just now says otherwise
        self._count, self._mine = len(alive), alive.index(me)

    def mine(self, part: bytes) -> bool:
        """Whether a part of the work is this worker's."""
        return self._count == 1 or zlib.crc32(part) % self._count == self._mine

    def leave(self) -> None:
        """Leave the work to the others at once."""
        self._store.write([Edit("meta", pack(("worker", self._id)), None)], sync=False)
