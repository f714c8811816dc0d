"""Where attempts run locally: in this process for small phases, in worker processes for large ones.

The size that decides is the phase's own, seen when its input is whole: a large input that was filtered to a few rows goes on
in this process, and a small input that grew goes to the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from dataflow.driving.folders import Folder
from dataflow.driving.in_process import InProcess
from dataflow.driving.waiting import waiting
from dataflow.scheduling.events import AttemptId, Died, Failed, Finished, Left, News
from dataflow.scheduling.work import Work

if TYPE_CHECKING:
    from runners.local.pool import LocalPool

__all__ = ["LocalWorkers", "Mode"]

Mode = Literal["auto", "in_process", "processes"]


class LocalWorkers:
    """The `Workers` of the local runner."""

    def __init__(self, mode: Mode, count: int, run: str) -> None:
        self.mode, self.count, self.run = mode, count, run
        self.folder: Folder | None = None
        self.pool: LocalPool | None = None
        self.here = InProcess()
        self.away: set[AttemptId] = set()

    @property
    def slots(self) -> int:
        return 1 if self.mode == "in_process" else self.count

    @property
    def parallel(self) -> int:
        return self.slots

    def warm(self) -> None:
        """Start the pool now; a large run is coming."""
        if self.mode != "in_process":
            self._pool().warm()

    def _pool(self) -> LocalPool:
        if self.pool is None:
            from runners.local.pool import LocalPool  # it brings subprocess and sockets, which a small run does not need

            self.folder = Folder(f"{self.run}-workers")
            self.pool = LocalPool(self.count, self.folder.path)
        return self.pool

    def start(self, attempt: AttemptId, payload: Work) -> None:
        here = payload.here or self.mode == "in_process" or (self.mode == "auto" and payload.small)
        if here:
            self.here.start(attempt, payload)
        else:
            self.away.add(attempt)
            self._pool().start(attempt, payload.program, lambda: payload.attempt(attempt.task, attempt.number))

    def cancel(self, attempt: AttemptId) -> None:
        self.here.cancel(attempt)
        if attempt in self.away and self.pool is not None:
            self.away.discard(attempt)
            self.pool.cancel(attempt)

    def expect(self, left: Sequence[Left]) -> None:
        """Nothing: there are as many workers as the user said."""

    def bring(self, files: Sequence[Any]) -> Sequence[News]:
        """Nothing: all files are here."""
        return ()

    def hang_report(self, attempt: AttemptId) -> str:
        return self.pool.hang_report(attempt) if self.pool is not None else ""

    def wait(self, timeout: float) -> Sequence[News]:
        if self.here:
            events: list[News] = [self.here.run(), *waiting(attempt for attempt, _ in self.here.waiting)]
            if self.away and self.pool is not None:
                events += self.pool.wait(0)
        elif self.pool is not None:
            events = self.pool.wait(timeout)
        else:
            import time

            time.sleep(timeout)
            events = []
        for event in events:
            if isinstance(event, (Finished, Failed, Died)):
                self.away.discard(event.attempt)
        return events

    def close(self) -> None:
        """Tear down what was set up, here and in the pool."""
        self.here.close()
        if self.pool is not None:
            self.pool.close()
        if self.folder is not None:
            self.folder.close()
