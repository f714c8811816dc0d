"""The agent of a machine: one actor for all that a driver has there. What its workers use is held beside it (`holding`).

    launch ─> a connection to the driver, with the token ─> `python -m dataflow.worker` at its other end (the agent lets go of it)
    folder    <run>/worker-0.mark worker-0.stack …   what the workers are at, and what they said when they died
              <run>/…                                the files of a run, served to the other machines

So an attempt goes straight from the driver's socket into a process of ours: 0.1 ms, where a call of a Ray actor takes 0.6 and a task
1.3; a worker that dies is seen at once and replaced in a tenth of a second, where a new actor takes most of one. The workers die with
their agent, and the agent with its driver; a folder that is left behind is removed by the next agent on the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from functools import partial

import ray

from dataflow.driving.folders import Folder
from dataflow.driving.pool import Death
from dataflow.driving.processes import WorkerProcess, end_largest
from runners.ray.door import knock
from runners.ray.files import FileServer
from runners.ray.settings import INSIDE
from runners.ray.transport import FlightTransport, copied

__all__ = ["Agent"]

LOW_MEMORY = 0.08  # Ray's own monitor acts at 5% left, and ends the agent, as it does not see the workers
WATCH = 0.25
PATIENCE = 1.0  # seconds that the workers of a run have for tearing down


class Agent:
    """Works on one machine for a driver. ``address``: at which others reach this machine; ``parent``: where its folder may be; ``slots``:
    how many workers it has room for."""

    def __init__(self, token: str, address: str, parent: str | None, slots: int) -> None:
        self._folder = Folder("ray", parent)
        self.folder = self._folder.path
        self.token, self.slots = token, slots
        self.server = FileServer(address, token, [self.folder])
        self.workers: dict[str, WorkerProcess] = {}
        self.adopted = 0
        cluster = str(ray.get_runtime_context().gcs_address)
        self.environment = {"RAY_ADDRESS": cluster, INSIDE: cluster}  # a function that calls Ray comes to this cluster, and not to another
        self.gpus: dict[str, tuple[list[str], float]] = {}  # by worker: which, and what share of each
        threading.Thread(target=self.server.serve, daemon=True).start()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def place(self) -> tuple[str, str, tuple[str, ...], str, str]:
        """Where the files are served, and their folder; where modules and files are found; the log."""
        return self.server.place, self.folder, tuple(path or os.getcwd() for path in sys.path), os.getcwd(), _log()

    def launch(self, number: int, run: str, driver: tuple[str, int], gpus: float, held: tuple[tuple[str, float], ...]) -> None:
        """Start a worker that reports to the driver, and has so many GPUs of those of which shares are ``held`` now."""
        os.makedirs(os.path.join(self.folder, run), exist_ok=True)
        name = os.path.join(self.folder, run, f"worker-{number}")
        with knock(driver, self.token, number) as connection:
            own = {**self.environment, **self._own_gpus(name, gpus, held)}
            self.workers[name] = WorkerProcess(name, connection.fileno(), self.slots, self.server.place, own)

    def _own_gpus(self, name: str, gpus: float, held: tuple[tuple[str, float], ...]) -> dict[str, str]:
        """The environment of a worker: which GPUs are its own."""
        if not gpus:
            return {}
        share = min(gpus, 1.0)
        self.gpus = {one: those for one, those in self.gpus.items() if one in self.workers}
        own: list[str] = []
        for gpu in dict.fromkeys(gpu for gpu, _ in held):
            taken = sum(part for which, part in self.gpus.values() if gpu in which)
            if taken + share <= sum(part for which, part in held if which == gpu) + 1e-9 and len(own) < max(1, int(gpus)):
                own.append(gpu)
        self.gpus[name] = (own, share)
        return {"CUDA_VISIBLE_DEVICES": ",".join(own)}

    def kill(self, name: str, patience: float = 0.0) -> None:
        """End a worker, if it is there."""
        if (process := self.workers.pop(name, None)) is not None:
            process.end(patience)

    def death(self, name: str) -> Death:
        """How a worker ended."""
        process = self.workers.pop(name, None)
        return process.death() if process is not None else Death("its agent does not know it", counts=False)

    def stack(self, name: str) -> str:
        """Where a worker is."""
        return self.workers[name].stack() if name in self.workers else ""

    def sees(self, path: str) -> bool:
        """Whether a path is to be seen from this machine."""
        return os.path.exists(path)

    def files(self, run: str) -> list[tuple[str, int]]:
        """The files that attempts of a run left here, and their sizes."""
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self.folder, run)) as entries:
            return [(one.path, one.stat().st_size) for one in entries if one.is_file() and not one.name.startswith("worker-")]
        return []

    def kept(self) -> int:
        """How many files runs have here."""
        return sum(len(self.files(run)) for run in os.listdir(self.folder) if os.path.isdir(os.path.join(self.folder, run)))

    def adopt(self, run: str, place: str, paths: list[str]) -> dict[str, str]:
        """Copy files of another machine's agent; where each is now. One that is gone is not needed any more."""
        folder = os.path.join(self.folder, run)
        os.makedirs(folder, exist_ok=True)
        found: dict[str, str] = {}
        with contextlib.closing(FlightTransport((), self.token)) as transport:
            for path in paths:
                new = os.path.join(folder, f"moved-{self.adopted}-{os.path.basename(path)}")
                self.adopted += 1
                try:
                    copied(partial(transport.read, place, path), new)
                except FileNotFoundError:
                    if transport.answer(place) != "here":
                        break  # gone before its time; each of the others would take half a minute to say so
                else:
                    found[path] = new
        return found

    def clear(self, run: str) -> None:
        """A run is over: its workers end, its files go."""
        limit = time.monotonic() + PATIENCE
        for name in [name for name in self.workers if name.startswith(os.path.join(self.folder, run, ""))]:
            self.workers.pop(name).end(max(0.01, limit - time.monotonic()))
        shutil.rmtree(os.path.join(self.folder, run), ignore_errors=True)

    def close(self) -> None:
        """The driver needs the machine no more."""
        for process in self.workers.values():
            process.kill()
        self._folder.close()

    def _watch_memory(self) -> None:
        while True:
            time.sleep(WATCH)
            end_largest(list(self.workers.values()), LOW_MEMORY)


def _log() -> str:
    """Where goes what this process and its workers print."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/fd/2")
    return ""
