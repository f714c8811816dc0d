"""The worker processes of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from dataflow.driving.pool import PooledWorker, WorkerPool
from dataflow.driving.processes import WorkerProcess, end_largest
from dataflow.scheduling.events import News
from dataflow.worker import Channel

__all__ = ["LocalPool"]

LOW_MEMORY = 0.03


class LocalPool(WorkerPool):
    """Up to ``count`` workers, started when first needed."""

    def __init__(self, count: int, folder: str) -> None:
        super().__init__()
        self.count, self.folder = count, folder
        self._made = 0
        self._looked = 0.0

    def warm(self) -> None:
        """Start the processes; they import while the driver plans."""
        while len(self.workers) < self.count:
            self._launch()

    def _grow(self) -> None:
        idle = sum(worker.busy is None for worker in self.workers)
        for _ in range(min(len(self.queue) - idle, self.count - len(self.workers))):
            self._launch()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        name = os.path.join(self.folder, f"worker-{self._made}")
        self._made += 1
        worker = PooledWorker(WorkerProcess(name, theirs.fileno(), self.count), Channel(ours))
        theirs.close()
        with contextlib.suppress(OSError):
            worker.channel.send({"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd()})
        self._add(worker)

    def wait(self, timeout: float) -> list[News]:
        """The events of all workers."""
        events = super().wait(timeout)
        if time.monotonic() - self._looked > 0.5:
            self._looked = time.monotonic()
            end_largest((w.body for w in self.workers if w.busy is not None and isinstance(w.body, WorkerProcess)), LOW_MEMORY)
        return events
