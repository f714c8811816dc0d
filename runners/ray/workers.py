"""Where the attempts of a run on Ray are: what is small in this process, the rest in the processes of a cluster.

Until the cluster is there, this process does the work itself: starting one takes seconds, in which a small run is done.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from dataflow.driving.in_process import InProcess
from dataflow.driving.waiting import waiting
from dataflow.errors import DataflowError, Report
from dataflow.scheduling.events import AttemptId, Left, News
from dataflow.scheduling.work import Work
from runners.ray.settings import INSIDE, RaySettings

if TYPE_CHECKING:
    from dataflow.shard.runfile import RunFile
    from runners.ray.autoscaling import Autoscaling
    from runners.ray.cluster import Cluster
    from runners.ray.pool import ClusterPool

__all__ = ["RayWorkers"]


class RayWorkers:
    """The `Workers` of the Ray runner. ``mode``: "auto" keeps small phases in this process, "cluster" does not."""

    def __init__(self, run: str, settings: RaySettings, folders: list[str], mode: str, shared: str, asked: tuple[Any, ...]) -> None:
        self.run, self.settings, self.folders, self.mode, self.shared, self.asked = run, settings, folders, mode, shared, asked
        self.here = InProcess()
        self.waiting: deque[tuple[AttemptId, Work]] = deque()  # for the cluster, until it is there
        self.pool: ClusterPool | None = None
        self.autoscaling: Autoscaling | None = None
        self._connecting: Future[Cluster] | None = None

    @property
    def slots(self) -> int:
        return max(1, self.pool.slots) if self.pool is not None else os.cpu_count() or 1

    @property
    def parallel(self) -> int:
        return max(1, self.pool.parallel) if self.pool is not None else self.slots

    def warm(self) -> None:
        """Connect now, in a thread. Raises DataflowError within a worker of a run on that cluster."""
        if (outer := os.environ.get(INSIDE)) and self._is_there(outer):
            text = f"within a run on the Ray cluster at {outer} another begins there, and would wait for cores that the outer one holds"
            hint = 'run it within the worker: runner="local", mode="in_process"; or one after the other'
            raise DataflowError(Report(text, hint=hint))
        if self._connecting is None:
            self._connecting = _in_rays_thread(self._connected)

    def _is_there(self, outer: str) -> bool:
        from runners.ray.joining import is_same

        return self.settings.address in (None, "auto") or is_same(str(self.settings.address), outer)

    def _connected(self) -> Cluster:
        from runners.ray.cluster import cluster_for
        from runners.ray.failures import said_by_ray

        with said_by_ray():
            cluster = cluster_for(self.settings, self.asked)
            cluster.share(self.folders)
            return cluster

    def start(self, attempt: AttemptId, payload: Work) -> None:
        """Begin an attempt, here or there."""
        if not self._away(payload):
            self.here.start(attempt, payload)
            return
        self.warm()
        if self.pool is None:
            self.waiting.append((attempt, payload))
        else:
            self._send(attempt, payload)

    def _away(self, work: Work) -> bool:
        """Whether a work is for the cluster."""
        return not work.here and (self.mode == "cluster" or not work.small or work.program.resources is not None)

    def _send(self, attempt: AttemptId, work: Work) -> None:
        assert self.pool is not None
        self.pool.start(attempt, work.program, lambda: work.attempt(attempt.task, attempt.number), work.input.files)

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt."""
        self.here.cancel(attempt)
        self.waiting = deque(item for item in self.waiting if item[0] != attempt)
        if self.pool is not None:
            self.pool.cancel(attempt)

    def expect(self, left: Sequence[Left]) -> None:
        """What is left to do, by which the cluster may grow; told to it once it is there."""
        if self.autoscaling is not None:
            self.autoscaling.expect(left)

    def bring(self, files: Sequence[RunFile]) -> Sequence[News]:
        """Copy files of the machines to this one."""
        if self.pool is None:
            return ()
        from runners.ray.bringing import bring
        from runners.ray.failures import said_by_ray

        with said_by_ray(self.pool.cluster.link.check):
            return bring(self.pool, files)

    def hang_report(self, attempt: AttemptId) -> str:
        """The stack of an attempt's worker."""
        return self.pool.hang_report(attempt) if self.pool is not None else ""

    def wait(self, timeout: float) -> Sequence[News]:
        """The events since the last call."""
        if self.pool is None and self._connecting is not None and self._connecting.done():
            from runners.ray.autoscaling import Autoscaling
            from runners.ray.pool import ClusterPool

            self.pool = ClusterPool(self._connecting.result(), self.run, self.folders, self.shared)
            self.autoscaling = Autoscaling(self._away, self.pool.cluster.link.head_answers)
            while self.waiting:
                self._send(*self.waiting.popleft())
        if not self.here and self.pool is None and self.mode == "auto":
            item = next((item for item in self.waiting if item[1].program.resources is None), None)
            if item is not None:
                self.waiting.remove(item)
                self.here.start(*item)
        events: list[News] = [self.here.run()] if self.here else []
        ran = bool(events)
        events += waiting(attempt for attempt, _ in (*self.here.waiting, *self.waiting))
        if self.pool is not None:
            from runners.ray.failures import said_by_ray

            with said_by_ray(self.pool.cluster.link.check):
                events += self.pool.wait(0.0 if ran else timeout)
        elif not ran:
            time.sleep(min(timeout, 0.05))
        return events

    def close(self) -> None:
        """Give the machines back. Where the cluster is still coming, a later run will find it."""
        if self.autoscaling is not None:
            self.autoscaling.close()
        self.here.close()
        if self.pool is not None:
            self.pool.close()
        if self._connecting is not None:
            self._connecting.add_done_callback(self._release)

    def _release(self, found: Future[Cluster]) -> None:
        if found.exception() is None:
            found.result().release(self.run)


_calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
_threads: list[threading.Thread] = []


def _in_rays_thread(call: Callable[[], Any]) -> Future[Any]:
    """Call in the one thread that connects to Ray and never ends: the processes of a cluster that is started here die with the thread
    that started them."""
    if not _threads:
        _threads.append(threading.Thread(target=_serve, name="Ray", daemon=True))
        _threads[0].start()
    found: Future[Any] = Future()
    _calls.put((found, call))
    return found


def _forget() -> None:
    """In a child of a fork: the thread is its parent's."""
    global _calls
    _calls = queue.SimpleQueue()
    _threads.clear()


os.register_at_fork(after_in_child=_forget)


def _serve() -> None:
    while True:
        found, call = _calls.get()
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)
