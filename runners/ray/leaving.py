"""A machine that is about to go: Ray drains it, because a cloud wants it back or the cluster shrinks. What a run has there is saved.

    notice ─> no new attempts ─> those that run there end ─> its files are copied to the others ─> `PlaceMoved` ─> its agent goes
                                   └─ two thirds of the time are over: handed over (`Lost`), so that a third is left for the files

What is not copied when it goes is made again, as when it goes without notice. Attempts that began before the files moved may go on
reading where they were: the agent waits for them as long as there is time.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from dataflow.scheduling.events import AttemptId, Lost, PlaceMoved

if TYPE_CHECKING:
    from runners.ray.machine import Machine
    from runners.ray.pool import ClusterPool

__all__ = ["Leaving"]

SHARE = 1 / 3  # of the time that is left at the notice: for copying
PORTION = 32 << 20  # bytes that an agent copies at once: it does nothing else meanwhile


class Leaving:
    """One machine that goes, as a run's pool sees it. `look` is called again and again; the answers of agents come to the same thread."""

    def __init__(self, pool: ClusterPool, machine: Machine) -> None:
        self.pool, self.machine = pool, machine
        self.hand_over = machine.until - (machine.until - time.monotonic()) * SHARE
        self.moved: dict[str, tuple[str, str]] = {}
        self.asked = self.copied = self.done = False
        self.portions: list[list[str]] = []
        self.copying = 0
        self.readers: set[AttemptId] | None = None  # which may read where the files were

    def look(self) -> None:
        """The next step, if it is time for it."""
        if self.done or self.machine.place in self.pool.gone:
            return
        if self.copied and self.readers is None:  # not before the scheduler has heard of it: it gave attempts the old places until then
            self.readers = self._in_hand()
        if self.readers is not None:
            if not self.readers & self._in_hand() or time.monotonic() > self.machine.until:
                self.done = True
                self.pool.cluster.left(self.machine)
        elif not self.asked and self._quiet():
            if not self.pool.staying():
                self.pool.cluster.taking.need(None, 1)  # and others may come in time
                return
            self.asked = True
            self.pool.mail.when(self.machine.call("files", self.pool.run), self._listed)

    def _quiet(self) -> bool:
        """Whether no attempt runs there any more."""
        late = time.monotonic() > self.hand_over
        for worker in [worker for worker in self.pool.workers if worker.body.place == self.machine.place]:
            if worker.busy is None or late:
                if worker.busy is not None:
                    self.pool.news.append(Lost(worker.busy, "its machine is about to go"))
                self.pool.dismiss(worker)
        return not self.pool.has_on(self.machine)

    def _in_hand(self) -> set[AttemptId]:
        """The attempts that workers run or have."""
        waiting = {queued.attempt for queued in self.pool.ahead.double.values()}
        return waiting | {worker.busy for worker in self.pool.workers if worker.busy is not None}

    def _listed(self, done: Future[list[tuple[str, int]]]) -> None:
        """The agent says which files there are."""
        if done.exception() is not None:
            return  # it is gone before its time
        size = PORTION
        for path, length in done.result():
            if size + length > PORTION:
                self.portions.append([])
                size = 0
            self.portions[-1].append(path)
            size += length
        for one in self.pool.staying():
            self._copy(one)
        self._settle()

    def _copy(self, to: Machine) -> None:
        """Have another machine take the next portion."""
        if self.portions and to.place not in self.pool.gone:
            paths = self.portions.pop()
            self.copying += 1
            self.pool.cluster.taking.keep(to)
            self.pool.mail.when(to.call("adopt", self.pool.run, self.machine.place, paths), self._copied, to)

    def _copied(self, to: Machine, done: Future[dict[str, str]]) -> None:
        self.copying -= 1
        if done.exception() is None:
            self.moved.update((path, (to.place, new)) for path, new in done.result().items())
            self._copy(to)
        self._settle()

    def _settle(self) -> None:
        """All is copied that can be."""
        if self.copying:
            return
        self.copied = True
        if self.moved:
            self.pool.news.append(PlaceMoved(self.machine.place, self.moved))
