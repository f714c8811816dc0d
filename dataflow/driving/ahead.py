"""A worker of short attempts has its next one before it is done with the first, so that it does not wait for the driver between them.

    queue ─ the phase's attempts are short ─> `next` of a busy worker ─ it is done ─> it runs at once
                                                 └─ another worker has nothing to do ─ "return" ─> ("returned", whether it had not begun)
                                                                                                    └─yes─> queue

A round trip costs a millisecond, and several where the driver shares its core: of an attempt of 50 ms that is too much, of one of a
second it is nothing, and there a worker that is slow would keep an attempt that others could run. What waits at a worker that dies
had not begun, and goes to another; where it is not sure that the worker is dead, that is another attempt (`Lost`), as both may write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

__all__ = ["Ahead"]

SHORT = 0.25  # seconds of an attempt, of which a round trip is one part in a hundred
DEEP = 3  # attempts for each worker: that it runs, its next one, and one that is for any of them
WEIGHT = 0.2  # of the latest attempt in the average

W = TypeVar("W")


class Ahead(Generic[W]):
    """How long attempts take, and which workers have one or two in hand."""

    def __init__(self) -> None:
        self.usual: dict[str, float] = {}  # seconds, by phase
        self.begun: dict[W, tuple[str, float]] = {}
        self.single: dict[W, None] = {}  # run an attempt, and have no next one
        self.double: dict[W, Any] = {}  # and what their next one is
        self.asked: dict[W, Any] = {}  # to give back what
        self.depth = 1

    def begins(self, worker: W, phase: str) -> None:
        """A worker runs an attempt from now on."""
        self.begun[worker] = (phase, time.monotonic())
        self.single[worker] = None

    def ends(self, worker: W, well: bool = True) -> Any:
        """It is done; gives what it begins now, None if that is nothing. After one that failed nothing waits: its parts may come first."""
        found = self.begun.pop(worker, None)
        if found is not None and not well:
            self.usual.pop(found[0], None)
            self.depth = 1
        elif found is not None:
            phase, since = found
            seconds = time.monotonic() - since
            self.usual[phase] = seconds if phase not in self.usual else (1 - WEIGHT) * self.usual[phase] + WEIGHT * seconds
            self.depth = DEEP if self.short(phase) else 1
        self.single.pop(worker, None)
        return self.double.pop(worker, None)

    def short(self, phase: str) -> bool:
        """Whether the attempts of a phase are known to be short."""
        return self.usual.get(phase, SHORT) < SHORT

    def could_take(self) -> Iterable[W]:
        """The workers that may have a next attempt."""
        return [worker for worker in self.single if self.short(self.begun[worker][0])] if self.depth > 1 else ()

    def takes(self, worker: W, queued: Any) -> None:
        """A worker has its next attempt."""
        del self.single[worker]
        self.double[worker] = queued

    def forget(self, worker: W) -> Any:
        """A worker is gone; gives what it had not begun, as far as is known."""
        self.begun.pop(worker, None)
        self.single.pop(worker, None)
        self.asked.pop(worker, None)
        return self.double.pop(worker, None)

    def returned(self, worker: W) -> None:
        """It gave its next one back, and may have another."""
        if self.double.pop(worker, None) is not None:
            self.single[worker] = None
