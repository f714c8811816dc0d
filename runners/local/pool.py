"""The worker processes of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from dataflow.driving.pool import PooledWorker, WorkerPool
from dataflow.driving.processes import WorkerProcess, end_largest
from dataflow.parameters import given
from dataflow.scheduling.events import News
from dataflow.worker import Channel
from runners.local.kept import keep, surroundings, take

__all__ = ["LocalPool"]

LOW_MEMORY = 0.03


class LocalPool(WorkerPool):
    """Up to ``count`` workers, started when first needed."""

    def __init__(self, count: int, folder: str) -> None:
        super().__init__()
        self.count, self.folder = count, folder
        self.surroundings = surroundings(count)
        self._made = 0
        self._looked = 0.0

    def warm(self) -> None:
        """Start the processes; they import while the driver plans."""
        while len(self.workers) < self.count:
            self._launch()

    def _grow(self) -> None:
        idle, ready = sum(worker.busy is None for worker in self.workers), len(self.free)
        for _ in range(min(len(self.queue) - idle, self.count - len(self.workers))):
            self._launch()
        if len(self.free) > ready:  # a kept one says nothing that `wait` would hear
            self._dispatch()

    def _launch(self) -> None:
        name = os.path.join(self.folder, f"worker-{self._made}")
        self._made += 1
        if (kept := take(self.surroundings, name)) is not None:
            worker = PooledWorker(*kept, ready=True)
            self._add(worker)
            self.free[worker] = time.monotonic()
            return
        ours, theirs = socket.socketpair()
        worker = PooledWorker(WorkerProcess(name, theirs.fileno(), self.count), Channel(ours))
        theirs.close()
        with contextlib.suppress(OSError):
            worker.channel.send({"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd(), "params": given})
        self._add(worker)

    def close(self) -> None:
        """Keep the workers that the next run may have, and end the others."""
        idle = [worker for worker in self.workers if worker.ready and worker.busy is None]
        for worker in set(idle) - set(keep(idle, self.surroundings)):
            self._release(worker)
        super().close()

    def wait(self, timeout: float) -> list[News]:
        """The events of all workers."""
        events = super().wait(timeout)
        if time.monotonic() - self._looked > 0.5:
            self._looked = time.monotonic()
            end_largest((w.body for w in self.workers if w.busy is not None and isinstance(w.body, WorkerProcess)), LOW_MEMORY)
        return events
