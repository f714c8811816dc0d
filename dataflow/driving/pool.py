"""A supervised pool of worker processes, on this machine or on several.

One socket a worker; a dead worker is an end of file on its socket, seen within a wait's granularity, and costs the one
attempt it ran. The standard library's process pool would lose every attempt in flight, so it is not used.

    `_launch` ─> a process with `dataflow.worker` ─> "ready" ─> attempts, one after another (`ahead`) ─> stop
                                                      └─ EOF at any time: reap, report Died with how, rows and stack

Where processes are started, and what is known of a dead one, is said by a subclass: `runners.local` starts them here, `runners.ray`
has them started on the machines of a cluster.
"""

from __future__ import annotations

import contextlib
import pickle
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from dataflow.driving.ahead import Ahead
from dataflow.driving.sending import Indices, narrowed
from dataflow.driving.waiting import waiting
from dataflow.errors import DataflowError, Report
from dataflow.execution.task import Attempt
from dataflow.frames import written_here
from dataflow.physical.program import Program
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import AttemptId, Begun, Died, Event, Failed, Finished, Lost, News, Progress
from dataflow.shard.runfile import RunFile
from dataflow.worker import HEADER, KEPT, Channel

__all__ = ["Body", "Death", "PooledWorker", "Queued", "WorkerPool"]

MISSTARTS = 3
PATIENCE = struct.pack("ll", 10, 0)  # seconds and microseconds in which a worker takes in something of what it is sent
BEAT = 0.25


class Death(NamedTuple):
    """How a process ended, which rows it was at, and the stack its crash handler wrote. ``counts``: whether its attempt may be to blame."""

    how: str
    rows: tuple[int, int] | None = None
    stack: str = ""
    counts: bool = True


class Body(Protocol):
    """A worker process, as far as it is not its socket. ``place``: of its machine's files (`shard.places`)."""

    place: str

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""
        ...

    def death(self) -> Death:
        """How it ended; called once, when its socket is closed."""
        ...

    def stack(self) -> str:
        """Where its threads are."""
        ...

    def end(self, patience: float) -> None:
        """See that it has ended, after it was told to stop."""
        ...


@dataclass(eq=False)
class PooledWorker:
    """One process and what is known of it."""

    body: Body
    channel: Channel
    resources: Resources | None = None
    ready: bool = False
    busy: AttemptId | None = None
    programs: set[str] = field(default_factory=set)
    indices: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    buffer: bytearray = field(default_factory=bytearray)
    ran: set[str] = field(default_factory=set)

    def said(self) -> Any:
        """The next message of what has come; None if none is whole."""
        if len(self.buffer) < HEADER.size:
            return None
        (size,) = HEADER.unpack_from(self.buffer)
        if len(self.buffer) < HEADER.size + size:
            return None
        message = pickle.loads(memoryview(self.buffer)[HEADER.size : HEADER.size + size])
        del self.buffer[: HEADER.size + size]
        return message


class Queued(NamedTuple):
    """An attempt that waits for a worker. ``files``: what it reads, as far as that is known before it is made."""

    attempt: AttemptId
    program: Program
    make: Callable[[], Attempt]
    files: tuple[RunFile, ...] = ()


class WorkerPool:
    """Runs attempts in processes."""

    def __init__(self) -> None:
        self.workers: list[PooledWorker] = []
        self.free: dict[PooledWorker, float] = {}  # those that are ready and idle, and since when
        self.selector = selectors.DefaultSelector()
        self.queue: deque[Queued] = deque()
        self.programs: dict[str, bytes] = {}
        self.news: list[News] = []
        self.misstarts = 0
        self.indices = Indices()
        self.ahead: Ahead[PooledWorker] = Ahead()
        self.orphans: dict[PooledWorker, Queued] = {}  # waited at workers of which it is being asked how they ended
        self.unwanted: set[AttemptId] = set()  # were to be returned by their workers, and not to run elsewhere
        self._beaten = 0.0

    # -- what a subclass says

    def _grow(self) -> None:
        """Start processes, if there should be more for what is queued."""
        raise NotImplementedError

    def _coming(self) -> bool:
        """Whether processes are being started."""
        return any(not worker.ready for worker in self.workers)

    def _suited(self, worker: PooledWorker, queued: Queued) -> bool:
        """Whether a worker may run an attempt."""
        return True

    def _nearest(self, worker: PooledWorker) -> Queued:
        """Which of those that wait a worker is to have, if it is the only one that could have any now; not yet taken."""
        return self.queue[0]

    def _best(self, idle: list[PooledWorker], attempt: Attempt) -> PooledWorker:
        """Which of several idle workers runs an attempt."""
        return idle[0]

    def _sent(self, worker: PooledWorker, attempt: Attempt) -> Attempt:
        """The attempt as it goes to a worker."""
        return attempt

    def _finished(self, worker: PooledWorker, attempt: AttemptId, result: Any) -> Event:
        """The event of an attempt that ended well."""
        return Finished(attempt, result)

    def _failed(self, failed: Failed) -> None:
        """Tell of an attempt that ended with an error."""
        self.news.append(failed)

    def _mourn(self, worker: PooledWorker) -> None:
        """Find out how a worker ended, and tell by `_died`."""
        self._died(worker, worker.body.death())

    # -- what the scheduler's workers are asked

    def start(self, attempt: AttemptId, program: Program, make: Callable[[], Attempt], files: tuple[RunFile, ...] = ()) -> None:
        """Give an attempt to an idle worker, or to the next that is. ``make`` makes it with the files as they are then."""
        if program.phase not in self.programs:
            from dataflow.driving.by_value import dumps

            self.programs[program.phase] = dumps(program)
        self.queue.append(Queued(attempt, program, make, files))
        self._dispatch()

    def _dispatch(self) -> None:
        kept: list[Queued] = []
        while self.queue and self.free:
            queued = self.queue[0] if len(self.free) > 1 else self._nearest(next(iter(self.free)))
            self.queue.remove(queued)
            idle = [worker for worker in self.free if self._suited(worker, queued)]
            others = [worker for worker in idle if queued.attempt.task not in worker.ran]
            if not others and (not idle or self._coming()):
                kept.append(queued)
                continue  # a task that runs again goes to another process, whose sets have another order, if one is free
            attempt = queued.make()
            self._give(self._best(others or idle, attempt), queued, attempt)
        self.queue.extendleft(reversed(kept))
        if self.queue:
            self._grow()
            self._give_ahead()
        elif self.free and self.ahead.double:
            self._take_back()

    def _give_ahead(self) -> None:
        """Have workers of short attempts hold the next one."""
        for worker in self.ahead.could_take():
            if len(self.queue) <= len(self.workers):
                return  # the last ones go to whoever is free first
            queued = self._nearest(worker)
            if self.ahead.short(queued.program.phase) and self._suited(worker, queued) and queued.attempt.task not in worker.ran:
                self.queue.remove(queued)
                self.ahead.takes(worker, queued)
                self._hand(worker, queued, queued.make())

    def _take_back(self) -> None:
        """What waits at workers goes to those that have nothing to do."""
        idle = len(self.free) - len(self.ahead.asked)
        for worker, queued in list(self.ahead.double.items()):
            if idle > 0 and any(self._suited(other, queued) for other in self.free):
                idle -= self._ask_back(worker, queued)

    def _ask_back(self, worker: PooledWorker, queued: Queued) -> bool:
        """Ask a worker for its next attempt. False where that was asked before."""
        if worker in self.ahead.asked:
            return False
        self.ahead.asked[worker] = queued
        with contextlib.suppress(OSError):  # its death will be noticed
            worker.channel.send("return", *queued.attempt)
        return True

    def _returned(self, worker: PooledWorker, attempt: AttemptId, mine: bool) -> None:
        """A worker gives an attempt back, or says that it had begun."""
        queued = self.ahead.asked.pop(worker)
        wanted = attempt not in self.unwanted
        self.unwanted.discard(attempt)
        if mine and worker.busy == attempt:  # it would have begun by now
            self._idle(worker)
        elif mine:
            self.ahead.returned(worker)
        elif worker.busy == attempt and not wanted:
            worker.busy = None
            self._end(worker)
        if mine and wanted:
            self.queue.appendleft(queued)
        if (behind := self.ahead.double.get(worker)) is not None and behind.attempt in self.unwanted:
            self._ask_back(worker, behind)  # it could not be asked for both

    def _idle(self, worker: PooledWorker, well: bool = True) -> None:
        """A worker has done what it was given first."""
        queued = self.ahead.ends(worker, well)
        worker.busy = queued.attempt if queued is not None else None
        if queued is None:
            self.free[worker] = time.monotonic()
        else:
            self.ahead.begins(worker, queued.program.phase)
            self.news.append(Begun(queued.attempt))

    def _give(self, worker: PooledWorker, queued: Queued, attempt: Attempt) -> None:
        worker.busy = queued.attempt
        del self.free[worker]
        self.ahead.begins(worker, queued.program.phase)
        self.news.append(Begun(queued.attempt))
        self._hand(worker, queued, attempt)

    def _hand(self, worker: PooledWorker, queued: Queued, attempt: Attempt) -> None:
        from dataflow.driving.by_value import dumps

        name = queued.program.phase
        worker.ran.add(queued.attempt.task)
        index, files = self.indices.of(name, attempt.input)
        attempt = attempt.with_files(()) if index else replace(attempt, input=narrowed(attempt.input))
        data = dumps(self._sent(worker, attempt))
        try:
            if name not in worker.programs:
                if not worker.programs and (cells := written_here()):
                    worker.channel.send("cells", cells)
                worker.channel.send("program", name, self.programs[name])
                worker.programs.add(name)
            if index and index not in worker.indices:
                worker.channel.send("files", index, files)
                worker.indices.append(index)
            worker.channel.send("attempt", queued.attempt.task, queued.attempt.number, name, data, index)
        except OSError:  # it died just now, or takes nothing in: in both cases its socket is at its end
            with contextlib.suppress(OSError):
                worker.channel.sock.shutdown(socket.SHUT_RDWR)

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt by ending its worker: no other way is sure."""
        self.queue = deque(queued for queued in self.queue if queued.attempt != attempt)
        self.orphans = {worker: queued for worker, queued in self.orphans.items() if queued.attempt != attempt}
        for worker in list(self.workers):
            if worker.busy == attempt:
                worker.busy = None
                self._end(worker)
            elif (queued := self.ahead.double.get(worker)) is not None and queued.attempt == attempt:
                self.unwanted.add(attempt)
                self._ask_back(worker, queued)

    def hang_report(self, attempt: AttemptId) -> str:
        """The stack of an attempt's worker."""
        return next((worker.body.stack() for worker in self.workers if worker.busy == attempt), "")

    def wait(self, timeout: float) -> list[News]:
        """The events of all workers."""
        for key, _ in self.selector.select(0 if self.news else timeout):
            if isinstance(key.data, PooledWorker):
                self._hear(key.data)
            else:
                key.data()
        self._dispatch()
        if (self.queue or self.ahead.double) and time.monotonic() - self._beaten > BEAT:
            self._beaten = time.monotonic()
            self.news += waiting(queued.attempt for queued in (*self.queue, *self.ahead.double.values()))
        news, self.news = self.news, []
        return news

    def _hear(self, worker: PooledWorker) -> None:
        try:
            data = worker.channel.sock.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(worker)
            return
        worker.buffer += data
        self._messages(worker)

    def _messages(self, worker: PooledWorker) -> None:
        while (message := worker.said()) is not None:
            match message:
                case ("ready",):
                    worker.ready = True
                    self.free[worker] = time.monotonic()
                    self.misstarts = 0
                case ("progress", task, number, rows, read, pulse):
                    self.news.append(Progress(AttemptId(task, number), rows, read, pulse))
                case ("finished", task, number, result):
                    self._idle(worker)
                    self.news.append(self._finished(worker, AttemptId(task, number), result))
                case ("failed", task, number, kind, error, rows):
                    self._idle(worker, well=False)
                    report = error.report if isinstance(error, DataflowError) else None
                    self._failed(Failed(AttemptId(task, number), kind, error, report, rows))
                case ("returned", task, number, mine):
                    self._returned(worker, AttemptId(task, number), mine)
                case _:
                    raise AssertionError(f"a worker said {message[0]!r}")

    def _lost(self, worker: PooledWorker) -> None:
        """A worker is gone: its socket is at its end."""
        if (queued := self.ahead.forget(worker)) is not None:
            self.orphans[worker] = queued
        self._let_go(worker)
        self._mourn(worker)

    def _died(self, worker: PooledWorker, death: Death) -> None:
        """It is known how a worker ended, and where it was."""
        if (queued := self.orphans.pop(worker, None)) is not None:  # else the worker would have said that it was done with the other
            self.queue.extendleft([queued] if queued.attempt not in self.unwanted else [])
        if not worker.ready:
            self.misstarts += 1
            if self.misstarts >= MISSTARTS:
                raise self._cannot_start(death)
        if worker.busy is not None:
            if death.counts:
                self.news.append(Died(worker.busy, death.how, death.rows, death.stack))
            else:
                self.news.append(Lost(worker.busy, death.how))

    def _cannot_start(self, death: Death) -> DataflowError:
        how = death.how.removeprefix("worker crashed (").removesuffix(")")
        return DataflowError(Report(f"worker processes cannot be started: {how}", hint=f"try: {sys.executable} -m dataflow.worker"))

    def _add(self, worker: PooledWorker) -> None:
        worker.channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, PATIENCE)
        self.selector.register(worker.channel.sock, selectors.EVENT_READ, worker)
        self.workers.append(worker)

    def _end(self, worker: PooledWorker, patience: float = 0.0) -> None:
        self._let_go(worker)
        worker.body.end(patience)

    def _let_go(self, worker: PooledWorker) -> None:
        self._release(worker)
        worker.channel.sock.close()
        worker.buffer.clear()  # what it still said is not heard: nothing of it would be undone

    def _release(self, worker: PooledWorker) -> None:
        """Have nothing to do with a worker any more, whatever it does."""
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(worker.channel.sock)
        self.free.pop(worker, None)
        if (queued := self.ahead.forget(worker)) is not None:
            self.news.append(Lost(queued.attempt, "it waited at a worker that is gone"))
            self.unwanted.discard(queued.attempt)
        if worker in self.workers:
            self.workers.remove(worker)

    def close(self) -> None:
        """End all workers, letting idle ones tear down."""
        for worker in self.workers:
            if worker.busy is None and worker.ready:
                with contextlib.suppress(OSError):
                    worker.channel.send("stop")
            else:
                worker.body.kill()
        limit = time.monotonic() + 1.0
        for worker in list(self.workers):
            self._end(worker, max(0.05, limit - time.monotonic()))
        self.selector.close()
