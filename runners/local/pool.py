"""A supervised pool of worker processes.

One socket a worker; a dead worker is an end of file on its socket, seen within a wait's granularity, and costs the one
attempt it ran. The standard library's process pool would lose every attempt in flight, so it is not used.

    start ─> Popen(python -m dataflow.worker) ─> "ready" ─> attempts, one at a time ─> stop
                                                   └─ EOF at any time: reap, report Died with signal, rows and stack
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dataflow.driving.kernel_limits import for_workers
from dataflow.errors import DataflowError, Report
from dataflow.execution.serving import ask_for_stack, last_stack, read_mark
from dataflow.scheduling.events import AttemptId, Died, Event, Failed, Finished, Progress
from dataflow.worker import HEADER, Channel

__all__ = ["WorkerPool"]

LOW_MEMORY = 0.03


@dataclass(eq=False)
class _Worker:
    """One process and what is known of it."""

    process: subprocess.Popen[bytes]
    channel: Channel
    name: str
    ready: bool = False
    busy: AttemptId | None = None
    programs: set[str] = field(default_factory=set)
    buffer: bytearray = field(default_factory=bytearray)
    ran: set[str] = field(default_factory=set)
    blamed: str = ""


class WorkerPool:
    """Up to ``count`` workers, started when first needed."""

    def __init__(self, count: int, folder: str) -> None:
        self.count, self.folder = count, folder
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()
        self.queue: deque[tuple[AttemptId, Any]] = deque()
        self.programs: dict[str, bytes] = {}
        self.begun: list[Event] = []
        self.failures_to_start = 0
        self._made = 0
        self._looked = 0.0

    def warm(self) -> None:
        """Start the processes; they import while the driver plans."""
        while len(self.workers) < self.count:
            self._launch()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        name = os.path.join(self.folder, f"worker-{self._made}")
        self._made += 1
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment.update(for_workers(self.count))
        environment.setdefault("OMP_NUM_THREADS", "1")  # the pool uses every core already
        process = subprocess.Popen(
            [sys.executable, "-m", "dataflow.worker", str(theirs.fileno()), name],
            pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=2,
        )  # fmt: skip
        theirs.close()
        worker = _Worker(process, Channel(ours), name)
        with contextlib.suppress(OSError):
            worker.channel.send({"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd()})
        self.selector.register(ours, selectors.EVENT_READ, worker)
        self.workers.append(worker)

    def start(self, attempt: AttemptId, program: Any, payload: Any) -> None:
        """Give an attempt to an idle worker, or to the next that is."""
        if program.phase not in self.programs:
            import cloudpickle

            self.programs[program.phase] = cloudpickle.dumps(program, 5)
        self.queue.append((attempt, (program.phase, payload)))
        self._dispatch()

    def _dispatch(self) -> None:
        while self.queue:
            idle = [w for w in self.workers if w.ready and w.busy is None]
            first = self.queue[0][0]
            worker = next((w for w in idle if first.task not in w.ran), None)
            if worker is None:
                if len(self.workers) < self.count:
                    self._launch()
                    return
                if any(not w.ready for w in self.workers) or not idle:
                    return
                worker = idle[0]  # a task that runs again goes to another process, whose sets have another order, if one is free
            attempt, (name, payload) = self.queue.popleft()
            worker.busy = attempt
            worker.ran.add(attempt.task)
            try:
                if name not in worker.programs:
                    worker.channel.send("program", name, self.programs[name])
                    worker.programs.add(name)
                import cloudpickle

                self.begun.append(Progress(attempt, 0, 0))  # the wait for a worker is not its own
                worker.channel.send("attempt", attempt.task, attempt.number, name, cloudpickle.dumps(payload, 5))
            except OSError:  # it died just now; its socket will say so
                return

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt by ending its worker: no other way is sure."""
        self.queue = deque(item for item in self.queue if item[0] != attempt)
        for worker in list(self.workers):
            if worker.busy == attempt:
                worker.busy = None
                self._end(worker)

    def hang_report(self, attempt: AttemptId) -> str:
        """The stack of an attempt's worker."""
        for worker in self.workers:
            if worker.busy == attempt:
                with contextlib.suppress(ProcessLookupError):
                    ask_for_stack(worker.process.pid)
                time.sleep(0.2)
                return last_stack(f"{worker.name}.stack")
        return ""

    def wait(self, timeout: float) -> list[Event]:
        """The events of all workers."""
        events, self.begun = self.begun, []
        for key, _ in self.selector.select(timeout):
            worker: _Worker = key.data
            try:
                data = worker.channel.sock.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                events.extend(self._lost(worker))
                continue
            worker.buffer += data
            events.extend(self._messages(worker))
        self._watch_memory()
        self._dispatch()
        return events

    def _messages(self, worker: _Worker) -> list[Event]:
        events: list[Event] = []
        while len(worker.buffer) >= HEADER.size:
            (size,) = HEADER.unpack_from(worker.buffer)
            if len(worker.buffer) < HEADER.size + size:
                break
            message = pickle.loads(memoryview(worker.buffer)[HEADER.size : HEADER.size + size])
            del worker.buffer[: HEADER.size + size]
            match message:
                case ("ready",):
                    worker.ready = True
                    self.failures_to_start = 0
                case ("progress", task, number, rows, read, pulse):
                    events.append(Progress(AttemptId(task, number), rows, read, pulse))
                case ("finished", task, number, result):
                    worker.busy = None
                    events.append(Finished(AttemptId(task, number), result))
                case ("failed", task, number, kind, error, rows):
                    worker.busy = None
                    report = error.report if isinstance(error, DataflowError) else None
                    events.append(Failed(AttemptId(task, number), kind, error, report, rows))
                case _:
                    raise AssertionError(f"a worker said {message[0]!r}")
        return events

    def _lost(self, worker: _Worker) -> list[Event]:
        """A worker is gone: say how, and where it was."""
        self._end(worker)
        code = worker.process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with code {code}"
        if not worker.ready:
            self.failures_to_start += 1
            if self.failures_to_start >= 3:
                raise DataflowError(Report(f"worker processes cannot be started: {how}", hint=f"try: {sys.executable} -m dataflow.worker"))
        if worker.busy is None:
            return []
        return [Died(worker.busy, worker.blamed or f"worker crashed ({how})", _rows(worker), last_stack(f"{worker.name}.stack"))]

    def _end(self, worker: _Worker) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(worker.channel.sock)
        worker.channel.sock.close()
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
        worker.process.wait()
        if worker in self.workers:
            self.workers.remove(worker)

    def _watch_memory(self) -> None:
        """When the machine itself runs out of memory, end the largest worker before the kernel ends anything."""
        now = time.monotonic()
        if now - self._looked < 0.5:
            return
        self._looked = now
        from dataflow.driving.memory import available_share, resident

        if available_share() < LOW_MEMORY and (busy := [w for w in self.workers if w.busy is not None]):
            largest = max(busy, key=lambda w: resident(w.process.pid))
            largest.blamed = f"out of memory (its worker held {resident(largest.process.pid) / 2**30:.1f} GiB)"
            largest.process.kill()

    def close(self) -> None:
        """End all workers, letting idle ones tear down."""
        for worker in self.workers:
            if worker.busy is None and worker.ready:
                with contextlib.suppress(OSError):
                    worker.channel.send("stop")
            else:
                worker.process.kill()
        limit = time.monotonic() + 1.0
        for worker in list(self.workers):
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.05, limit - time.monotonic()))
            self._end(worker)
        self.selector.close()


def _rows(worker: _Worker) -> tuple[int, int] | None:
    """The rows that a worker was at when it died."""
    try:
        return read_mark(f"{worker.name}.mark").span
    except OSError:
        return None
