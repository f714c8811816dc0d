"""Attempts that run in this process, one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.execution.bundles import dofns, set_up, tear_down
from dataflow.execution.context import TaskContext
from dataflow.execution.failing import failure_of
from dataflow.execution.task import run_task
from dataflow.physical.program import Program
from dataflow.scheduling.events import AttemptId, Event, Failed, Finished
from dataflow.scheduling.work import Work

__all__ = ["InProcess"]


class InProcess:
    """Attempts wait here until `run` runs the next. ``watch`` is told its context, None when it has ended."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[AttemptId, Work]] = deque()
        self.programs: dict[str, Program] = {}
        self.watch: Callable[[TaskContext | None], None] = lambda context: None

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def start(self, attempt: AttemptId, work: Work) -> None:
        """Put an attempt behind those that wait."""
        self.waiting.append((attempt, work))

    def cancel(self, attempt: AttemptId) -> None:
        """Forget an attempt, if it waits."""
        self.waiting = deque(item for item in self.waiting if item[0] != attempt)

    def run(self) -> Event:
        """Run the attempt that waited longest."""
        attempt, work = self.waiting.popleft()
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
        """Tear down what was set up."""
        for program in self.programs.values():
            tear_down(program)


def _own(program: Program) -> Program:
    """The program with DoFns of its own: what they open and hold must not stick to the user's objects."""
    if not any(True for _ in dofns(program.tree)):
        return program
    import pickle

    from dataflow.driving.by_value import dumps

    return replace(program, tree=pickle.loads(dumps(program.tree)))
