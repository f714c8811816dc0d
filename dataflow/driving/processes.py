"""Worker processes of this machine: started, watched, ended. A pool of the machine's own has them, and so has an agent of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from dataflow.driving import memory
from dataflow.driving.kernel_limits import for_workers
from dataflow.driving.pool import Death
from dataflow.execution.serving import ask_for_stack, last_stack, read_mark

__all__ = ["WorkerProcess", "end_largest"]


class WorkerProcess:
    """A process that serves attempts at a socket. ``name``: of its mark and stack files; ``count``: how many share the machine."""

    def __init__(self, name: str, socket: int, count: int, place: str = "", environment: dict[str, str] | None = None) -> None:
        self.name, self.place = name, place
        self.blamed = ""
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **for_workers(count)}
        variables.setdefault("OMP_NUM_THREADS", "1")  # the pool uses every core already
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflow.worker", str(socket), name],  # -P: not what happens to lie in the folder we are in
            pass_fds=[socket], env={**variables, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=2,
        )  # fmt: skip

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def end(self, patience: float) -> None:
        """Wait so many seconds for it to end by itself, then end it."""
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        self.kill()
        self.process.wait()

    def death(self) -> Death:
        """How it ended, and where it was."""
        self.end(0.0)
        code = self.process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        try:
            rows = read_mark(f"{self.name}.mark").span
        except OSError:
            rows = None
        return Death(self.blamed or f"worker crashed ({how})", rows, last_stack(f"{self.name}.stack"))

    def stack(self) -> str:
        """Where its threads are."""
        with contextlib.suppress(ProcessLookupError):
            ask_for_stack(self.process.pid)
        time.sleep(0.2)
        return last_stack(f"{self.name}.stack")


def end_largest(processes: Iterable[WorkerProcess], least: float) -> None:
    """When less than a share of the machine's memory is left, end the largest before the kernel ends anything."""
    if memory.available_share() < least and (busy := list(processes)):
        largest = max(busy, key=lambda one: memory.resident(one.process.pid))
        largest.blamed = f"out of memory (its worker held {memory.resident(largest.process.pid) / 2**30:.1f} GiB)"
        largest.kill()
