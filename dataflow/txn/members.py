"""Members: which workers are alive, what they observe, and which part of the work is whose.

    meta: ("worker", id) -> a number that grows, {column: its observers}      written by each, four times in a lease
    a number that did not change for a lease, by the reader's own clock: that worker is dead, its part is the others'

The rows of a column are divided among the workers that observe it. Parts are by hash, so no worker asks another. For a moment two may think
that the same row is theirs, or nobody; the first is harmless, because their transactions exclude each other, and the second ends when both
have looked again.

Workers that observe one column must have the same observers of it. One that has run its own takes the notification away, and those
that only others have would never run. So who comes and finds somebody at work with others takes nothing of that column; and when
that one is seen to be alive, and not what a dead process left, it gives up and says what both have.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence

from dataflow.errors import Report, TransactionError
from dataflow.kv import Edit, Store, end_of_row, pack, pack_element, unpack

__all__ = ["Members"]

LEASE = 2.0  # seconds
_PREFIX = pack_element("worker")


class Members:
    """One worker's view of all. ``observers``: their names, of each column that it observes.

    >>> from dataflow.kv import MemoryStore
    >>> store, now, observers = MemoryStore(), [0.0], {"text": ["count_words"]}
    >>> first, second = (Members(store, lambda: now[0], lambda: observers) for _ in range(2))
    >>> now[0] += 1; first.look(); second.look(); now[0] += 1; first.look()
    >>> [first.mine("text", b"row"), second.mine("text", b"row")].count(True)
    1
    >>> now[0] += 1; first.look(); now[0] += 2; first.look()  # the second is silent
    >>> first.mine("text", b"row")
    True
    """

    def __init__(self, store: Store, clock: Callable[[], float], observers: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        self._store, self._clock, self._observers = store, clock, observers
        self._id = os.getpid().to_bytes(4, "big") + os.urandom(8)
        self._key = pack(("worker", self._id))
        self._beats = 0
        self._heard: dict[bytes, tuple[bytes, float]] = {}
        self._before: dict[bytes, bytes] | None = None  # who was there when we came, and what it said then
        self._looked = -LEASE
        self._parts: dict[str, tuple[int, int]] = {}
        self.look()

    def look(self) -> None:
        """Say that we live, and see who else does; a quarter of a lease apart.

        Raises `TransactionError` if one that was there before us has other observers of a column.
        """
        now = self._clock()
        if now - self._looked < LEASE / 4:
            return
        self._looked = now
        self._beats += 1
        ours = {column: sorted(names) for column, names in self._observers().items()}
        said = self._beats.to_bytes(8, "big") + json.dumps(ours).encode()
        self._store.write([Edit("meta", self._key, said)], sync=False)
        found = dict(self._store.scan("meta", _PREFIX, end_of_row(_PREFIX)))
        self._heard = {
            key: (beat, now if key not in self._heard or self._heard[key][0] != beat else self._heard[key][1])
            for key, beat in found.items()
        }
        dead = [key for key, (_, when) in self._heard.items() if now - when >= LEASE]
        if dead:
            self._store.write([Edit("meta", key, None) for key in dead[:1]], sync=False)  # one row at a time
        # We are alive, also if somebody who took us for dead just now says otherwise.
        alive = {key: json.loads(beat[8:] or b"{}") for key, (beat, _) in self._heard.items() if key not in dead} | {self._key: ours}
        if self._before is None:
            self._before = {key: beat for key, beat in found.items() if key != self._key}
        self._parts = {column: self._part(column, names, alive) for column, names in ours.items()}

    def _part(self, column: str, names: list[str], alive: dict[bytes, dict[str, list[str]]]) -> tuple[int, int]:
        """Among how many workers a column is divided, and the number of ours; a number beyond them if we may not take anything."""
        assert self._before is not None
        same = sorted(key for key, theirs in alive.items() if theirs.get(column) == names)
        for key in self._before.keys() & alive.keys():
            theirs = alive[key].get(column, names)
            if theirs != names:
                if self._heard[key][0] != self._before[key]:
                    raise _different(column, names, theirs, unpack(key)[1])
                return len(same), len(same)
        return len(same), same.index(self._key)

    def mine(self, column: str, part: bytes) -> bool:
        """Whether a part of the work of a column is this worker's."""
        count, mine = self._parts[column]
        return zlib.crc32(part) % count == mine

    def leave(self) -> None:
        """Leave the work to the others at once."""
        self._store.write([Edit("meta", self._key, None)], sync=False)


def _different(column: str, ours: list[str], theirs: list[str], other: bytes) -> TransactionError:
    process = int.from_bytes(other[:4], "big")
    return TransactionError(
        Report(
            f"column {column!r} is observed here by {_listed(ours)}, and in process {process} by {_listed(theirs)}",
            hint="let all processes that observe a column register the same observers of it; stop the others before you change them",
        )
    )


def _listed(names: list[str]) -> str:
    return " and ".join(map(repr, names))
