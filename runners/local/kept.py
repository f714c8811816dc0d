"""Worker processes that are kept from one run of this process for its next: to start one takes half a second, mostly of imports.

    run is over ─("park")─> worker ─("parked", whether nothing but the engine ran in it)─> kept ─ a minute without a run ─> ended
                                                                                            └─("resume")─> "ready" ─> the next run

What must not differ between a kept worker and a new one:
1. Its state. A worker in which there was code of the user's is ended (`dataflow.shard.users_code`), and so is one that has become large.
2. What it took from this process at its start: environment, folder, limits, rights, where its output goes (`surroundings`). A run
   takes only workers of the same surroundings; those of others are ended when new ones are kept.
3. Its life. Linux ends a worker with the thread that started it, so the thread is part of the surroundings. A child of a fork has none.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from dataflow.driving.memory import resident
from dataflow.driving.pool import PooledWorker
from dataflow.driving.processes import WorkerProcess
from dataflow.parameters import given
from dataflow.worker import Channel

__all__ = ["IDLE", "end_kept", "keep", "surroundings", "take"]

IDLE = 60.0  # seconds
LARGEST = 512 << 20  # bytes of a process; one that has run queries holds 200 to 300 MB
PATIENCE = 1.0  # seconds for a worker to answer


class _Kept(NamedTuple):
    body: WorkerProcess
    channel: Channel
    surroundings: Any
    since: float

    def end(self) -> None:
        self.channel.sock.close()
        self.body.end(0.0)


_kept: list[_Kept] = []
_lock = threading.Lock()
_timer: list[threading.Timer] = []


def surroundings(count: int) -> Any:
    """What a worker of ``count`` takes from this process at its start, to be compared; None where it cannot be known."""
    try:
        found = [
            os.getcwd(),
            dict(os.environ),
            dict(given),
            list(sys.path),
            sys.executable,
            threading.get_native_id(),
            os.getpriority(os.PRIO_PROCESS, 0),
        ]
        for file in ("status", "limits", "cgroup"):
            with open(f"/proc/thread-self/{file}", encoding="utf-8") as lines:
                found.append([line for line in lines if not line.startswith(_OF_THE_MOMENT)])
        errors = os.fstat(2)
    except OSError:
        return None
    return count, found, errors.st_dev, errors.st_ino


# lines of /proc/<pid>/status that change by themselves
_OF_THE_MOMENT = (
    "Vm",
    "Rss",
    "Threads",
    "State",
    "SigQ",
    "SigPnd",
    "ShdPnd",
    "SigCgt",
    "HugetlbPages",
    "voluntary",
    "nonvoluntary",
    "FDSize",
)


def keep(workers: Sequence[PooledWorker], around: Any) -> list[PooledWorker]:
    """Park workers that have nothing to do, and keep those that another run may have. Gives the others back: they are to be ended."""
    asked = []
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.channel.send("park")
            asked.append(worker)
    limit = time.monotonic() + PATIENCE / 2  # a run that is interrupted has two seconds for all
    parked = {worker for worker in asked if _parked(worker, limit) and resident(worker.body.process.pid) < LARGEST}  # type: ignore[attr-defined]
    if around is None or around != surroundings(around[0]):
        parked.clear()  # the environment or the folder was changed while they ran
    with _lock:
        for old in [one for one in _kept if one.surroundings != around]:
            _kept.remove(old)
            old.end()
        now = time.monotonic()
        _kept.extend(_Kept(worker.body, worker.channel, around, now) for worker in parked)  # type: ignore[arg-type]
        _watch()
    return [worker for worker in workers if worker not in parked]


def _parked(worker: PooledWorker, limit: float) -> bool:
    """Whether a worker says that it may be kept. What it still tells of its run is not heard."""
    try:
        worker.channel.sock.settimeout(max(0.05, limit - time.monotonic()))
        while (message := worker.said()) is None or message[0] != "parked":
            if message is None:
                if not (data := worker.channel.sock.recv(1 << 16)):
                    return False
                worker.buffer += data
        worker.channel.sock.settimeout(None)
    except OSError:
        return False
    return bool(message[1])


def take(around: Any, name: str) -> tuple[WorkerProcess, Channel] | None:
    """A kept worker of these surroundings, ready, whose files have this name from now on; None if there is none."""
    while True:
        with _lock:
            found = next((one for one in _kept if one.surroundings == around), None)
            if found is None:
                return None
            _kept.remove(found)
        try:
            found.channel.sock.settimeout(PATIENCE)
            found.channel.send("resume", name)
            if found.channel.receive() == ("ready",):
                found.channel.sock.settimeout(None)
                found.body.name = name
                return found.body, found.channel
        except (OSError, EOFError):  # it was killed meanwhile, or is stuck
            pass
        found.end()


def end_kept(idle: float = 0.0) -> None:
    """End the workers that were kept for so many seconds."""
    with _lock:
        for one in [one for one in _kept if time.monotonic() - one.since >= idle]:
            _kept.remove(one)
            one.end()
        _timer.clear()
        _watch()


def _watch() -> None:
    """See that what is kept is ended in time."""
    if _kept and not _timer:
        due = min(one.since for one in _kept) + IDLE - time.monotonic()
        _timer.append(threading.Timer(max(0.1, due), end_kept, (IDLE,)))
        _timer[0].daemon = True
        _timer[0].start()


def _forget() -> None:
    """In a child of a fork: they are its parent's."""
    global _lock
    _lock = threading.Lock()
    for one in _kept:
        one.channel.sock.close()
    _kept.clear()
    _timer.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(end_kept)
