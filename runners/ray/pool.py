"""The workers of a run on the machines of a cluster: the same pool as on one machine, with agents to start them.

grow ─> agent.launch ─> a connection at the pool's door, with the run's token ─> a worker like any other
EOF  ─> agent.death: how it ended, at which rows ─┬─> Died
                                                  └─ the agent does not answer either: the machine is gone ─> Lost, PlaceLost
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import socket
import time
from dataclasses import replace
from typing import Any

import ray

from dataflow.driving.pool import Death, PooledWorker, WorkerPool
from dataflow.errors import DataflowError, Report
from dataflow.execution.task import Attempt
from dataflow.physical.program import ShuffleInput, TaskInput
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import AttemptId, Event, Finished, Lost, PlaceLost
from dataflow.shard.places import is_shared, read_range, remove_file
from dataflow.shard.runfile import RunFile
from dataflow.worker import Channel
from runners.ray.cluster import Cluster, Machine
from runners.ray.failures import cannot_start
from runners.ray.transport import copied

__all__ = ["ClusterPool"]

ASK = 0.5  # seconds between looks at the machines
SILENT = 2.0  # seconds after which an agent that does not answer is looked for
ANSWER = 5.0
HOMELESS = 60.0  # seconds that a step waits for a machine that may come


class _RemoteProcess:
    """A worker process, through the agent of its machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name, self.place = machine, name, machine.place

    def kill(self) -> None:
        self.machine.call("kill", self.name)

    def end(self, patience: float) -> None:
        if not patience:
            self.kill()

    def death(self) -> Death:
        try:
            found: Death = ray.get(self.machine.call("death", self.name), timeout=ANSWER)
        except ray.exceptions.RayError:
            return Death("its machine is gone", counts=False)
        return found

    def stack(self) -> str:
        with contextlib.suppress(ray.exceptions.RayError):
            return str(ray.get(self.machine.call("stack", self.name), timeout=ANSWER))
        return ""


class ClusterPool(WorkerPool):
    """The workers of one run. ``shared``: where tasks write what others read, if not on their machines."""

    def __init__(self, cluster: Cluster, run: str, folders: list[str], shared: str) -> None:
        super().__init__()
        self.cluster, self.run, self.folders, self.shared = cluster, run, folders, shared
        self.door = socket.create_server((cluster.address, 0), backlog=128)
        self.selector.register(self.door, 1, self._open)
        self.known: dict[str, Machine] = {}  # by place
        self.starting: dict[int, tuple[Machine, Any]] = {}
        self.pings: dict[str, tuple[Any, float]] = {}
        self._made = 0
        self._asked = 0.0
        self._homeless = 0.0
        self._meet()

    @property
    def slots(self) -> int:
        """How many workers the machines have room for."""
        return sum(one.slots for one in self.cluster.machines.values())

    # -- workers

    def _coming(self) -> bool:
        return bool(self.starting) or super()._coming()

    def _grow(self) -> None:
        wanted: dict[Resources | None, int] = {}
        for queued in self.queue:
            wanted[queued.program.resources] = wanted.get(queued.program.resources, 0) + 1
        for asked, count in wanted.items():
            homes = [one for one in self.cluster.machines.values() if one.asked == asked]
            count -= sum(w.busy is None and w.resources == asked for w in self.workers)
            count -= sum(one.asked == asked for one, _ in self.starting.values())
            for one in homes:
                there = sum(w.body.place == one.place for w in self.workers) + sum(m is one for m, _ in self.starting.values())
                for _ in range(min(count, one.slots - there)):
                    self.starting[self._made] = one, one.call("launch", self._made, self.run, self.door.getsockname()[:2])
                    self._made += 1
                    count -= 1
            self._homeless = 0.0 if homes else self._homeless or time.monotonic()
            if self._homeless and time.monotonic() - self._homeless > HOMELESS:
                raise DataflowError(
                    Report(
                        f"no machine of the Ray cluster has what a step asks for: {asked or '1 cpu'}",
                        hint="`ray status` tells what they have",
                    )
                )

    def _open(self) -> None:
        """A worker at the door: an agent has made the connection, and said whose it is."""
        connection, _ = self.door.accept()
        try:
            connection.settimeout(ANSWER)
            size = int.from_bytes(_exactly(connection, 4), "big")
            said = json.loads(_exactly(connection, min(size, 1000)))
            machine, _ = self.starting[int(said["number"])]
            if not hmac.compare_digest(str(said["token"]), self.cluster.token):
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()  # not one of ours
            return
        del self.starting[int(said["number"])]
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = _RemoteProcess(machine, os.path.join(machine.folder, f"worker-{said['number']}"))
        worker = PooledWorker(body, Channel(connection), machine.asked)
        with contextlib.suppress(OSError):
            transport = ("runners.ray.transport", "FlightTransport", machine.place, self.cluster.token)
            worker.channel.send({**self.cluster.setup, "transport": transport})
        self._add(worker)

    def _cannot_start(self, death: Death) -> DataflowError:
        return cannot_start(death.how)

    def _suited(self, worker: PooledWorker, queued: Any) -> bool:
        return worker.resources == queued.program.resources

    def _best(self, idle: list[PooledWorker], attempt: Attempt) -> PooledWorker:
        near: dict[str, int] = {}
        for file in attempt.input.shuffle.files if attempt.input.shuffle is not None else attempt.input.files:
            near[file.place] = near.get(file.place, 0) + file.bytes
        return max(idle, key=lambda worker: near.get(worker.body.place, 0))

    def _sent(self, worker: PooledWorker, attempt: Attempt) -> Attempt:
        assert self.cluster.own is not None
        folder = os.path.join(self.known[worker.body.place].folder, self.run)
        given = _placed(replace(attempt, input=_narrowed(attempt.input)), self.cluster.own.place)
        return replace(given, spill=folder, shared=self.shared)

    def _finished(self, worker: PooledWorker, attempt: AttemptId, result: Any) -> Event:
        place = worker.body.place
        result.outputs = [
            replace(one, place=place) if isinstance(one, RunFile) and not is_shared(one.path) else one for one in result.outputs
        ]
        if result.skipped_path:
            target = os.path.join(self.folders[0], os.path.basename(result.skipped_path))
            copied(lambda offset, length: read_range(place, result.skipped_path, offset, length), target)
            remove_file(place, result.skipped_path)
            result.skipped_path = target
        return Finished(attempt, result)

    # -- machines

    def wait(self, timeout: float) -> list[Event | PlaceLost]:
        """The events of all workers."""
        now = time.monotonic()
        if now - self._asked > ASK:
            self._asked = now
            self._look(now)
        return super().wait(timeout)

    def _meet(self) -> None:
        self.known.update((one.place, one) for one in self.cluster.machines.values())

    def _look(self, now: float) -> None:
        """Which machines are there, and do their agents answer?"""
        self.cluster.look()
        self._meet()
        current = {one.place for one in self.cluster.machines.values()}
        for one in [one for place, one in self.known.items() if place not in current]:
            self._gone(one)
        for number, (one, launched) in list(self.starting.items()):
            if ray.wait([launched], timeout=0)[0]:
                try:
                    ray.get(launched)
                except ray.exceptions.RayTaskError as error:
                    raise cannot_start(str(error)) from error
                except ray.exceptions.RayError:
                    del self.starting[number]
                    self._gone(one)
        for one in list(self.known.values()):
            asked, since = self.pings.setdefault(one.place, (one.call("ping"), now))
            if ray.wait([asked], timeout=0)[0]:
                del self.pings[one.place]
                try:
                    ray.get(asked)
                except ray.exceptions.RayError:
                    self._gone(one)
            elif now - since > SILENT and self.cluster.transport.refused(one.place):
                self._gone(one)  # Ray itself takes ten seconds or more to say so

    def _lost(self, worker: PooledWorker) -> None:
        super()._lost(worker)
        if self.news and isinstance(self.news[-1], Lost):
            self._gone(self.known[worker.body.place])

    def _gone(self, machine: Machine) -> None:
        """A machine is gone, with its workers and its files."""
        if self.known.pop(machine.place, None) is None:
            return
        self.cluster.drop(machine)
        self.pings.pop(machine.place, None)
        self.starting = {number: started for number, started in self.starting.items() if started[0] is not machine}
        for worker in [worker for worker in self.workers if worker.body.place == machine.place]:
            self._end(worker)
            if worker.busy is not None:
                self.news.append(Lost(worker.busy, "its machine is gone"))
        self.news.append(PlaceLost(machine.place))

    def close(self) -> None:
        """End all workers."""
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(self.door)
        self.door.close()
        super().close()


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("the connection ended")
        data += more
    return data


def _narrowed(given: TaskInput) -> TaskInput:
    """An input without the blocks that lie outside its range: the index of a large shuffle is not sent to every reader."""
    if given.shuffle is None:
        return given
    files = tuple(narrow for file in given.shuffle.files if (narrow := _within(file, given.shuffle)).blocks)
    return replace(given, shuffle=replace(given.shuffle, files=files))


def _within(file: RunFile, given: ShuffleInput) -> RunFile:
    blocks = tuple(
        block
        for block in file.blocks
        if (given.first is None or block.last >= given.first) and (given.last is None or block.first < given.last)
    )
    return file if len(blocks) == len(file.blocks) else replace(file, blocks=blocks)


def _placed(attempt: Attempt, here: str) -> Attempt:
    """An attempt whose files of the driver's process say where that is."""

    def placed(files: tuple[RunFile, ...]) -> tuple[RunFile, ...]:
        return tuple(file if file.place or is_shared(file.path) else replace(file, place=here) for file in files)

    given = attempt.input
    shuffle = replace(given.shuffle, files=placed(given.shuffle.files)) if given.shuffle is not None else None
    sides = {name: replace(side, files=placed(side.files)) for name, side in attempt.sides.items()}
    return replace(attempt, input=replace(given, files=placed(given.files), shuffle=shuffle), sides=sides)
