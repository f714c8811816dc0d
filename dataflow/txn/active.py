"""Active: the oldest snapshot in use of each process, for those who collect garbage.

    meta: ("active", id) -> the oldest snapshot, a number that grows     written once a second while a snapshot is in use
    a note that did not change for `SILENT` seconds, by the reader's own clock: its process is dead, and the note goes
    no snapshot in use for a while, or the end of the process: it takes its note away itself

Who collects for the first time cannot know since when a note stands as it does, so it waits until the note changes, or has been silent for
long enough. A process that lives for one collection, as that of a command line or of a job, would else never get past what a dead one left.

Clocks decide here only how often a snapshot turns out too old (`collect.py`): to take a living process for dead is safe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Edit, Equals, Mutation, end_of_row, pack, pack_element, row_of
from dataflow.txn.ground import Ground
from dataflow.txn.records import NEVER

__all__ = ["SILENT", "Active"]

SILENT = 10.0  # seconds: ten notes that did not come
_EVERY = 1.0  # seconds between two notes
_QUIET = 5  # times that no snapshot was in use; a process that is busy has none at many a moment
_PREFIX = pack_element("active")


class _Heard(NamedTuple):
    """A note as it was first seen, and when. ``lives``: it was another before."""

    note: bytes
    when: float
    lives: bool = False


class Active:
    """This process's note, and what it hears of the others. ``oldest``: the oldest snapshot in use here; `NEVER` if there is none."""

    def __init__(self, ground: Ground, oldest: Callable[[], int]) -> None:
        self._ground, self._store, self._oldest = ground, ground.store, oldest
        self._heard: dict[bytes, _Heard] = {}
        self._begin()

    def _begin(self) -> None:
        self._key = pack(("active", os.getpid().to_bytes(4, "big") + os.urandom(12)))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._noted, self._when = NEVER, 0.0  # the snapshot in the note that stands
        self._beats = self._quiet = 0
        self._beating = False
        self._process = os.getpid()

    def begun(self, timestamp: int) -> None:
        """A snapshot of this time is in use from now on."""
        if self._process != os.getpid():
            self._begin()  # a fork has not the thread, and its parent has that note
        if timestamp < self._noted or self._ground.clock() - self._when > _EVERY:
            with self._lock:
                self._note(self._oldest())
                if not self._beating and not self._stop.is_set():
                    self._beating = True
                    threading.Thread(target=self._beat, name="dataflow-active", daemon=True).start()

    def _note(self, oldest: int) -> None:
        """Called with the lock held, as the last note must be of what was seen last."""
        self._beats += 1
        value = oldest.to_bytes(8, "big") + self._beats.to_bytes(8, "big") if oldest != NEVER else None
        self._store.write([Edit("meta", self._key, value)], sync=False)
        self._noted, self._when, self._quiet = oldest, self._ground.clock(), 0

    def _beat(self) -> None:
        while not self._stop.wait(_EVERY) and self.beat():
            pass

    def beat(self) -> bool:
        """Say that the snapshots in use still are; gives whether there is a note."""
        with self._lock:
            if self._noted != NEVER and not self._stop.is_set():
                oldest = self._oldest()
                self._quiet = self._quiet + 1 if oldest == NEVER else 0
                if oldest != NEVER or self._quiet >= _QUIET:
                    with suppress(StoreError):  # the next one says it
                        self._note(oldest)
            self._beating = self._noted != NEVER
            return self._beating

    def others(self) -> list[int]:
        """The oldest snapshots of the other processes that live; it waits for those of which it does not know."""
        attempt = 0
        while True:
            now, mine = self._ground.clock(), self._key
            found = dict(self._store.scan("meta", _PREFIX, end_of_row(_PREFIX)))
            self._heard = {key: _hear(self._heard.get(key), note, now) for key, note in found.items() if key != mine}
            silent = [key for key, heard in self._heard.items() if now - heard.when >= SILENT]
            for key in silent:
                note = Equals("meta", key, self._heard.pop(key).note)
                with suppress(OutcomeUnknownError):
                    self._store.mutate(Mutation(row_of(key), (note,), (Edit("meta", key, None),)), sync=False)
            if all(heard.lives for heard in self._heard.values()):
                return [int.from_bytes(heard.note[:8], "big") for heard in self._heard.values()]
            attempt += 1
            self._ground.wait(attempt)

    def close(self) -> None:
        """Take the note away; if the store is gone, the others will hear that it is silent."""
        self._stop.set()
        if self._process == os.getpid():
            with self._lock:
                if self._noted != NEVER:
                    with suppress(StoreError):
                        self._note(NEVER)


def _hear(before: _Heard | None, note: bytes, now: float) -> _Heard:
    if before is None:
        return _Heard(note, now)
    return before if before.note == note else _Heard(note, now, lives=True)
