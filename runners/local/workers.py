"""Where attempts run locally: in this process for small phases, in worker processes for large ones.

The size that decides is the phase's own, seen when its input is whole: a large input that was filtered to a few rows goes on
in this process, and a small input that grew goes to the pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from dataflow.errors import DataflowError
from dataflow.execution.bundles import dofns, set_up, tear_down
from dataflow.execution.context import TaskContext
from dataflow.execution.failing import failure_of
from dataflow.execution.task import run_task
from dataflow.physical.program import Program
from dataflow.scheduling.events import AttemptId, Event, Failed, Finished
from dataflow.scheduling.work import Work

if TYPE_CHECKING:
    from runners.local.pool import WorkerPool

__all__ = ["LocalWorkers", "Mode"]

Mode = Literal["auto", "in_process", "processes"]


def _own(program: Program) -> Program:
    """The program with DoFns of its own: what they open and hold must not stick to the user's objects."""
    if not any(True for _ in dofns(program.tree)):
        return program
    import cloudpickle

    return replace(program, tree=cloudpickle.loads(cloudpickle.dumps(program.tree)))


class LocalWorkers:
    """The `Workers` of the local runner."""

    def __init__(self, mode: Mode, count: int, folder: str) -> None:
        self.mode, self.count, self.folder = mode, count, folder
        self.pool: WorkerPool | None = None
        self.here: deque[tuple[AttemptId, Work]] = deque()
        self.programs: dict[str, Program] = {}
        self.away: set[AttemptId] = set()
        self.watch: Callable[[TaskContext | None], None] = lambda context: None

    @property
    def slots(self) -> int:
        return 1 if self.mode == "in_process" else self.count

    def warm(self) -> None:
        """Start the pool now; a large run is coming."""
        if self.mode != "in_process":
            self._pool().warm()

    def _pool(self) -> WorkerPool:
        if self.pool is None:
            from runners.local.pool import WorkerPool  # it brings subprocess and sockets, which a small run does not need

            self.pool = WorkerPool(self.count, self.folder)
        return self.pool

    def start(self, attempt: AttemptId, payload: Work) -> None:
        here = payload.here or self.mode == "in_process" or (self.mode == "auto" and payload.small)
        if here:
            self.here.append((attempt, payload))
        else:
            self.away.add(attempt)
            self._pool().start(attempt, payload.program, payload.attempt(attempt.task, attempt.number))

    def cancel(self, attempt: AttemptId) -> None:
        self.here = deque(item for item in self.here if item[0] != attempt)
        if attempt in self.away and self.pool is not None:
            self.away.discard(attempt)
            self.pool.cancel(attempt)

    def hang_report(self, attempt: AttemptId) -> str:
        return self.pool.hang_report(attempt) if self.pool is not None else ""

    def wait(self, timeout: float) -> list[Event]:
        if self.here:
            events: list[Event] = [self._run_here(*self.here.popleft())]
            if self.away and self.pool is not None:
                events += self.pool.wait(0)
        elif self.pool is not None:
            events = self.pool.wait(timeout)
        else:
            import time

            time.sleep(timeout)
            events = []
        for event in events:
            if not hasattr(event, "rows") or isinstance(event, Failed):
                self.away.discard(event.attempt)
        return events

    def _run_here(self, attempt: AttemptId, work: Work) -> Event:
        program = work.program
        marked: list[tuple[int, int]] = []

        def mark(first: int, last: int) -> None:
            marked[:] = [(first, last)]

        try:
            if program.phase not in self.programs:
                self.programs[program.phase] = _own(program)
                set_up(self.programs[program.phase])
            own = replace(self.programs[program.phase], root=program.root)
            return Finished(attempt, run_task(own, work.attempt(attempt.task, attempt.number), mark, self.watch))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            kind, portable = failure_of(error, "run")
            report = portable.report if isinstance(portable, DataflowError) else None
            return Failed(attempt, kind, portable, report, marked[0] if marked else None)
        finally:
            self.watch(None)

    def close(self) -> None:
        """Tear down what was set up, here and in the pool."""
        for program in self.programs.values():
            tear_down(program)
        if self.pool is not None:
            self.pool.close()
