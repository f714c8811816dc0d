"""The workers of a run on the machines of a cluster: the same pool as on one machine, with agents to start them.

`_grow` ─> agent.launch ─> a connection at the `Door` ─> `_enter`: a worker like any other
a machine goes ─> `Leaving`: no new attempts, its files are copied
EOF  ─> agent.death ─┬─> how it ended, at which rows ─> Died
                     └─> the agent does not answer either: the machine is gone ─> Lost, PlaceLost
a file of another machine cannot be read ─> `Doubts`: is somebody there?
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import socket
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import ray

from dataflow.driving.pool import MISSTARTS, Death, PooledWorker, Queued, WorkerPool
from dataflow.driving.sending import Indices
from dataflow.errors import DataflowError
from dataflow.execution.task import Attempt
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import AttemptId, Event, Failed, Finished, Lost, News, PlaceLost
from dataflow.shard.places import is_shared, read_range, remove_file
from dataflow.shard.runfile import RunFile
from dataflow.worker import Channel
from runners.ray.choosing import nearest, ran_here
from runners.ray.cluster import Cluster
from runners.ray.door import Door
from runners.ray.doubts import Doubts
from runners.ray.failures import cannot_start, in_our_words
from runners.ray.holding import Holding
from runners.ray.homes import Homes
from runners.ray.leaving import Leaving
from runners.ray.machine import Machine, RemoteProcess
from runners.ray.mailbox import Mailbox
from runners.ray.transport import copied

__all__ = ["ClusterPool"]

_log = logging.getLogger("dataflow")

ASK = 0.25  # seconds between looks at the machines
ENTRY = 30.0  # seconds from the start of a worker until it has come in
BUSY = 90.0  # seconds in which an agent does what it was asked before, such as copying files, and says how a worker ended
IDLE = 0.5  # seconds to tear down for a worker that has nothing to do, and makes room
WINDOW = 16  # attempts that wait, of which a worker has the one with most of its bytes on its machine
GONE = "its machine is gone"
UNREACHED = "its machine cannot be reached now"


class ClusterPool(WorkerPool):
    """The workers of one run. ``folders``: of this process's files. ``shared``: where tasks write what others read, if not on their
    machines."""

    def __init__(self, cluster: Cluster, run: str, folders: list[str], shared: str) -> None:
        super().__init__()
        self.cluster, self.run, self.folders, self.shared = cluster, run, folders, shared
        self.indices = Indices(self._located)
        self.mail = Mailbox()
        self.selector.register(self.mail.bell, selectors.EVENT_READ, self.mail.open)
        self.door = Door(cluster.address, cluster.token, lambda number, connection: self.mail.put(self._enter, number, connection))
        self.known: dict[str, Machine] = {}  # by place
        self.gone: set[str] = set()
        self.starting: dict[int, tuple[Machine, Resources | None]] = {}
        self.misstarts_on: Counter[Machine] = Counter()  # how many workers on it did not start, one after the other
        self.launched: dict[int, float] = {}  # when they were started, or will have been at the latest
        self.seats: dict[Machine, Counter[Resources | None]] = {}  # workers that are there or coming, by what their steps ask for
        self.leaving: set[PooledWorker] = set()  # take no more, as others need what they hold
        self.dying: dict[PooledWorker, float] = {}  # of which it is being asked how they ended, and since when
        self.doubts = Doubts(self.mail, cluster.transport.answer, self._gone, super()._failed)
        self.going: dict[str, Leaving] = {}  # by place
        self.entered: dict[Holding, Machine] = {}  # what workers of this run use, or did a while ago
        self.lacking: dict[Resources | None, int] = {}  # for how many workers there was no room
        self._made = 0
        self._looked = 0.0
        self.homes = Homes(self)
        self._look()

    @property
    def slots(self) -> int:
        """How many attempts may be here: one for every worker that the machines have room for, more where they are short."""
        return self.parallel * self.ahead.depth

    @property
    def parallel(self) -> int:
        """How many workers the machines have room for, with what was given back and can be taken again."""
        return self.cluster.taking.workers

    def staying(self) -> list[Machine]:
        """The machines that have not said that they go."""
        return [one for one in list(self.cluster.machines.values()) if one.stays]

    def left_at_work(self) -> list[Machine]:
        """The machines that go, and have attempts that may end there before."""
        return [one for one in map(_machine, [worker for worker in self.workers if worker.busy is not None]) if not one.stays]

    def has_on(self, one: Machine) -> bool:
        """Whether workers are on a machine, or are coming or dying there."""
        theirs = [*map(_machine, [*self.workers, *self.dying]), *(machine for machine, _ in self.starting.values())]
        return one in theirs

    # -- workers

    def _coming(self) -> bool:
        return bool(self.starting) or super()._coming()

    def _grow(self) -> None:
        """Workers for what is queued now. Steps that ask for something come first: only some machines have it."""
        machines = self.staying()
        wanted = Counter(queued.program.resources for queued in self.queue)
        self.lacking.clear()
        if not any(wanted):
            self.leaving.clear()
        for asked in sorted(wanted, key=lambda asked: asked is None):
            homes = [one for one in machines if one.room(asked, {})]
            self.homes.found(asked) if homes else self.homes.lacks(asked)
            count = wanted[asked] - sum(kind == asked for _, kind in self.starting.values())
            count -= sum(w.busy is None and w.resources == asked and w not in self.leaving for w in self.workers)
            while count > 0 and homes:
                homes = [one for one in homes if one.room(asked, self._seats(one)) or self._made_room(one, asked, wanted)]
                for one in homes[:count]:
                    self._launch(one, asked)
                count -= len(homes)
            self.lacking[asked] = max(0, count)

    def _seats(self, one: Machine) -> Counter[Resources | None]:
        return self.seats.setdefault(one, Counter())

    def _made_room(self, one: Machine, asked: Resources | None, wanted: Counter[Resources | None]) -> bool:
        """Whether there is room now that workers that have nothing to do are gone. Where steps that ask for nothing hold what another asks
        for, the next to be done goes."""
        others = [worker for worker in self.workers if _machine(worker) is one and worker.resources != asked]
        for worker in [worker for worker in others if worker in self.free and (worker in self.leaving or not wanted[worker.resources])]:
            self.dismiss(worker)
            if one.room(asked, self._seats(one)):
                return True
        if asked is not None and not any(worker in self.leaving for worker in others):
            self.leaving.update([worker for worker in others if worker.resources is None][:1])
        return False

    def dismiss(self, worker: PooledWorker) -> None:
        """Let a worker tear down, if it is at rest, and end."""
        if worker.busy is None:
            with contextlib.suppress(OSError):
                worker.channel.send("stop")
        self._let_go(worker)
        _machine(worker).call("kill", _body(worker).name, IDLE if worker.busy is None else 0.0)

    def _launch(self, one: Machine, asked: Resources | None) -> None:
        if not self.cluster.taking.enter(one, asked, self.run):
            return  # it was given back just now
        self.entered.update(dict.fromkeys(one.parts(asked), one))
        number = self._made
        self._made += 1
        self.starting[number], self.launched[number] = (one, asked), time.monotonic() + BUSY
        self._seats(one)[asked] += 1
        gpus = asked.gpus if asked is not None else 0.0
        self.mail.when(one.call("launch", number, self.run, self.door.address, gpus, one.other.gpus), self._launched, one, number)

    def _launched(self, one: Machine, number: int, done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, ray.exceptions.RayTaskError):
            self._not_started(number, str(error))
        elif isinstance(error, ray.exceptions.ActorUnavailableError):
            self._not_started(number, UNREACHED)
            self.doubts.about(one)
        elif error is not None:
            self._went(one, error)
        elif number in self.starting:
            self.launched[number] = time.monotonic()

    def _not_started(self, number: int, how: str) -> None:
        """A worker that was to come does not. Another may."""
        machine, asked = self.starting.pop(number, (None, None))
        self.launched.pop(number, None)
        if machine is None:
            return
        self._seats(machine)[asked] -= 1
        self.misstarts_on[machine] += 1
        if self.misstarts_on[machine] < MISSTARTS:
            return
        how = f"{how} (on {machine.address})"
        if not any(one is not machine for one in self.staying()):
            raise cannot_start(how)
        _log.warning("a machine of the Ray cluster is left, as no worker starts there: %s", how)
        self._gone(machine)

    def _enter(self, number: int, connection: socket.socket) -> None:
        """A worker has come in."""
        machine, asked = self.starting.pop(number, (None, None))
        self.launched.pop(number, None)
        if machine is None or machine.place in self.gone:
            connection.close()
            return
        body = RemoteProcess(machine, os.path.join(machine.folder, self.run, f"worker-{number}"))
        worker = PooledWorker(body, Channel(connection), asked)
        self.misstarts_on.pop(machine, None)
        self._add(worker)
        with contextlib.suppress(OSError):  # if it has died, its socket says so
            transport = ("runners.ray.transport", "FlightTransport", (machine.place,), self.cluster.token)
            worker.channel.send({**self.cluster.setup(machine), "transport": transport})

    def _let_go(self, worker: PooledWorker) -> None:
        if worker in self.workers:
            self._seats(_machine(worker))[worker.resources] -= 1
            self.leaving.discard(worker)
        super()._let_go(worker)

    def _cannot_start(self, death: Death) -> DataflowError:
        return cannot_start(death.how)

    def _suited(self, worker: PooledWorker, queued: Any) -> bool:
        asked, (task, number) = queued.program.resources, queued.attempt
        if not self._usable(worker, asked):
            return False
        return not number or not ran_here(task, worker, self.workers, lambda one: self._usable(one, asked))

    def _usable(self, worker: PooledWorker, asked: Resources | None) -> bool:
        return worker.resources == asked and worker not in self.leaving and _machine(worker).stays

    def _nearest(self, worker: PooledWorker) -> Queued:
        first = self.queue[0]
        if first.attempt.number or not first.files:  # what runs again is not passed over
            return first
        place, phase = worker.body.place, first.program.phase
        those = [one for one in itertools.islice(self.queue, WINDOW) if one.program.phase == phase and self._suited(worker, one)]
        return max(those, key=lambda one: sum(file.stored for file in one.files if file.place == place), default=first)

    def _best(self, idle: list[PooledWorker], attempt: Attempt) -> PooledWorker:
        return nearest(idle, attempt)

    def _sent(self, worker: PooledWorker, attempt: Attempt) -> Attempt:
        given = attempt.input
        shuffle = replace(given.shuffle, files=self._located(given.shuffle.files)) if given.shuffle is not None else None
        sides = {name: replace(side, files=self._located(side.files)) for name, side in attempt.sides.items()}
        folder = os.path.join(_machine(worker).folder, self.run)
        given = replace(given, files=self._located(given.files), shuffle=shuffle)
        return replace(attempt, input=given, sides=sides, spill=folder, shared=self.shared)

    def _located(self, files: tuple[RunFile, ...]) -> tuple[RunFile, ...]:
        """Files of this process say where that is."""
        here = self.cluster.here
        return tuple(file if file.place or is_shared(file.path) else replace(file, place=here) for file in files)

    def _finished(self, worker: PooledWorker, attempt: AttemptId, result: Any) -> Event:
        place = worker.body.place
        result.outputs = [
            replace(one, place=place) if isinstance(one, RunFile) and not is_shared(one.path) else one for one in result.outputs
        ]
        if result.skipped_path:
            target = os.path.join(self.folders[0], os.path.basename(result.skipped_path))
            try:
                copied(lambda offset, length: read_range(place, result.skipped_path, offset, length), target)
            except OSError as error:
                return Lost(attempt, f"the records that it skipped cannot be fetched: {error}")
            remove_file(place, result.skipped_path)
            result.skipped_path = target
        return Finished(attempt, result)

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt."""
        for worker in self.dying:
            if worker.busy == attempt:
                worker.busy = None
        super().cancel(attempt)

    # -- machines

    def wait(self, timeout: float) -> list[News]:
        """The events of all workers."""
        if time.monotonic() - self._looked > ASK:
            self._look()
        return super().wait(timeout)

    def _look(self) -> None:
        """Which machines are there?"""
        self._looked = time.monotonic()
        self.mail.open()  # who has come while this process was busy is here
        self._rest()
        for asked, count in self.lacking.items() if self.queue else ():
            self.cluster.taking.need(asked, count)
        self.cluster.look()
        current = {one.place: one for one in list(self.cluster.machines.values())}
        for one in [one for place, one in self.known.items() if current.get(place) is not one]:
            self._gone(one)
        self.known = current
        self.doubts.again()
        for worker in [worker for worker, since in self.dying.items() if time.monotonic() - since > BUSY]:
            self._unreached(worker)
        for number in [number for number, since in self.launched.items() if time.monotonic() - since > ENTRY]:
            self._not_started(number, f"a worker was started, and did not come to {self.door.address[0]}:{self.door.address[1]}")
        for one in [one for one in current.values() if not one.stays]:
            self.going.setdefault(one.place, Leaving(self, one)).look()

    def _rest(self) -> None:
        """Leave what was not used for a while: others may need it."""
        now = time.monotonic()
        idle = {worker for worker, since in self.free.items() if now - since >= self.cluster.rest}
        using = [(_machine(worker), worker.resources) for worker in self.workers if worker not in idle]
        using += [(_machine(worker), worker.resources) for worker in self.dying]
        used = {part for machine, asked in (*using, *self.starting.values()) for part in machine.parts(asked)}
        for part, one in [(part, one) for part, one in self.entered.items() if part not in used]:
            for worker in [w for w in self.workers if _machine(w) is one and part in one.parts(w.resources)]:
                self.dismiss(worker)
            self.cluster.taking.leave(part, self.run)
            del self.entered[part]

    def _mourn(self, worker: PooledWorker) -> None:
        self.dying[worker] = time.monotonic()
        body: Any = worker.body
        self.mail.when(body.machine.call("death", body.name), self._told, worker)

    def _told(self, worker: PooledWorker, done: Future[Death]) -> None:
        """The agent of a dead worker says how it ended, or does not say."""
        if worker not in self.dying:
            return
        if isinstance(error := done.exception(), ray.exceptions.ActorUnavailableError):
            self._unreached(worker)
            return
        if error is not None:
            self._went(_machine(worker), error)
            return
        del self.dying[worker]
        death, machine = done.result(), _machine(worker)
        where = f" on machine {machine.address}" + (f", which logs to {machine.log}" if machine.log else "")
        self._died(worker, death._replace(how=f"{death.how}{where}"))

    def _unreached(self, worker: PooledWorker) -> None:
        """Nobody says how a worker ended."""
        del self.dying[worker]
        self._died(worker, Death(UNREACHED, counts=False))
        self.doubts.about(_machine(worker))

    def take(self, event: Event) -> None:
        """An event of an attempt that ran in this process."""
        if isinstance(event, Failed):
            self._failed(event)
        else:
            self.news.append(event)

    def _failed(self, failed: Failed) -> None:
        """A file that cannot be read is no failure of the reader, if its machine is gone."""
        where = failed.report.location if failed.kind in ("corrupt", "gone") and failed.report is not None else ""
        one = next((one for place, one in self.known.items() if where.startswith(place)), None)
        if any(where.startswith(place) for place in self.gone):
            self.news.append(Lost(failed.attempt, "a machine whose files it read is gone"))
        elif one is not None:
            self.doubts.about(one, failed)
        else:
            super()._failed(failed)

    def _went(self, machine: Machine, error: BaseException) -> None:
        """A machine's agent has ended, and Ray says why: it may have been out of memory."""
        self.homes.last_gone = in_our_words(error, machine.address).report.sentence
        _log.warning("a machine of the Ray cluster is gone: %s", self.homes.last_gone)
        self._gone(machine)

    def _gone(self, machine: Machine) -> None:
        """A machine is gone, with its workers and its files."""
        if machine.place in self.gone:
            return
        self.gone.add(machine.place)
        self.known.pop(machine.place, None)
        self.entered = {part: one for part, one in self.entered.items() if one is not machine}
        self.cluster.drop(machine)
        self.starting = {number: one for number, one in self.starting.items() if one[0] is not machine}
        dead = [worker for worker in self.workers if _machine(worker) is machine]
        for worker in dead:
            self._let_go(worker)
        dead += [worker for worker in self.dying if _machine(worker) is machine]
        self.dying = {worker: since for worker, since in self.dying.items() if _machine(worker) is not machine}
        self.seats.pop(machine, None)
        self.news += [Lost(worker.busy, GONE) for worker in dead if worker.busy is not None]
        self.news += [Lost(self.orphans.pop(worker).attempt, GONE) for worker in dead if worker in self.orphans]
        self.news += [Lost(failed.attempt, "a machine whose files it read is gone") for failed in self.doubts.settle(machine)]
        self.news.append(PlaceLost(machine.place))

    def close(self) -> None:
        """End all workers."""
        self.door.close()
        super().close()
        self.mail.close()


def _body(worker: PooledWorker) -> RemoteProcess:
    assert isinstance(worker.body, RemoteProcess)
    return worker.body


def _machine(worker: PooledWorker) -> Machine:
    return _body(worker).machine
