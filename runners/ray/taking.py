"""What the runs of this process need of the cluster's machines is taken, and what they have no use for is given back while they go on.

    `need`: no room for workers ─> asked for, what Ray gives of it; a machine that others hold is no reason not to ask for another
    `enter`: a worker is started ─> stays ─ `leave`: a run has none any more ─┐
    no run uses it or wanted to for `Cluster.rest` seconds <──────────────────┘
        └─> its workers have ended ─> given back ─ the agent has no files ─> it goes as well (`Cluster.away`), and another comes when needed

So pools go to zero between stages. What is needed or left is only noted; the driver's looks (`Cluster.look`), a second apart,
take and give.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import ray

from dataflow.plan.steps import Resources
from runners.ray.holding import Holding, not_held, room, usable
from runners.ray.machine import Machine

if TYPE_CHECKING:
    from runners.ray.cluster import Cluster

__all__ = ["LOOK", "START", "Taking"]

START = 10.0  # seconds that the first run waits for an agent; where none comes, the run itself says what it lacks
PENDING = 3.0  # seconds after which what is asked for and not there is looked after: other jobs may hold some of it
LOOK = 1.0
GROW = 5.0


class Taking:
    """What is taken of the machines of a cluster. ``workers``: how many there may be of a run."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.workers = cluster, 0

    def need(self, asked: Resources | None, workers: int) -> None:
        """A run could use so many workers more than there is room for. Machines of which others hold too much are asked for as well, as
        they may give it back, but not counted on."""
        with self.cluster.lock:
            now = time.monotonic()
            away, machines = self.cluster.away, self.cluster.machines
            workers -= sum(room(asked, one.full) for one, _ in self.cluster.coming.values() if now - one.since < START)
            fit = [one for one in [*machines.values(), *away.values()] if one.stays and room(asked, one.full) and not one.room(asked, {})]
            free = not_held() if len(fit) > 1 and workers > 0 and self.cluster.link.head_answers() else {}
            for one in sorted(fit, key=lambda one: (not one.asks(asked), -room(asked, free.get(one.node, {})), one.node in away)):
                if workers <= 0:
                    return
                if away.pop(one.node, None) is not None or any(not self._needed(part, now) for part in one.parts(asked)):
                    self.cluster.looked = 0.0  # the next look asks for it, and for another agent where there is none
                for part in one.parts(asked):
                    part.needed = now
                workers -= room(asked, one.expected(now - PENDING))

    def enter(self, one: Machine, asked: Resources | None, run: str) -> bool:
        """Whether a run may have a worker on a machine now. What it uses is not given back until the run has left it."""
        with self.cluster.lock:
            if self.cluster.machines.get(one.node) is one and one.room(asked, {}):
                for part in one.parts(asked):
                    part.runs.add(run)
                return True
            return False

    def leave(self, part: Holding, run: str) -> None:
        """A run has no workers any more that use a part of a machine."""
        with self.cluster.lock:
            part.runs.discard(run)

    def keep(self, one: Machine) -> None:
        """A run is about to have files on a machine, though no worker."""
        with self.cluster.lock:
            one.cores.needed, one.cores.files = time.monotonic(), None

    def _needed(self, part: Holding, now: float) -> bool:
        return bool(part.runs) or now - part.needed <= self.cluster.rest

    def look(self, now: float) -> None:
        """Ask for what runs need, and give back what they do not."""
        free: dict[str, dict[str, float]] = {}
        for one in [one for one in self.cluster.machines.values() if one.stays]:
            for part in (one.cores, one.other):
                if not self._needed(part, now):
                    self._rest(one, part)
                    continue
                part.files = None
                if part.useless(now):
                    part.give()  # another job may wait for it, with as much that is of no use to it: one of the two goes back first
                    continue
                there = {**one.full, "CPU": one.slots} if part is one.other else one.full
                could = {name: amount for name, amount in usable(there, self.cluster.asked).items() if name in part.full}
                if not could:
                    part.give()  # with the cores that are held no step can use it
                elif part.coming is None and not part.has and now - part.when > LOOK:
                    part.ask(could)
                elif not part.whole and now - part.when > (PENDING if part.coming is not None else GROW):
                    free = free or not_held()
                    look = part.reduce if part.coming is not None else part.grow
                    look(free.get(one.node, {}), self.cluster.asked, there)
        self._count()

    def _rest(self, one: Machine, part: Holding) -> None:
        """Give back what is held, when the workers that used it have ended; have the agent go where it has nothing else to do."""
        if part.files is None:
            part.files = one.call("kept") if part or part is one.cores else None
        elif ray.wait([part.files], timeout=0)[0]:
            files = 1
            with contextlib.suppress(ray.exceptions.RayError):
                files = ray.get(part.files)
            part.give()
            if not files and part is one.cores and self.cluster.machines.get(one.node) is one:
                del self.cluster.machines[one.node]
                self.cluster.away[one.node] = one
                threading.Thread(target=one.end, args=(1.0,), daemon=True).start()

    def _count(self) -> None:
        """How many workers there may be, also where what was given back can be taken again, or is on its way."""
        since = time.monotonic() - PENDING
        coming = [one for one, _ in self.cluster.coming.values() if one.since > since]
        there = [one for one in [*self.cluster.machines.values(), *self.cluster.away.values()] if one.stays]
        self.workers = sum(int(one.expected(since).get("CPU", 0)) for one in (*coming, *there))
