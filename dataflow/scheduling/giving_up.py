"""The errors by which a run ends over what happened to its attempts, where no error of a step was the reason.

>>> from dataflow.scheduling.events import AttemptId, Task
>>> nothing_gets_done(Lost(AttemptId("map/00001", 0), "its machine is gone"), 9).report.sentence
'workers die without any task getting done (its machine is gone, 9 times)'
>>> makes_no_progress(State(Task("map/00001", "map", None), attempts=2), 61.2, "").report.sentence
'a task made no progress for 61 s, twice'
>>> kills_its_workers(State(Task("map/00001", "map", None)), Died(AttemptId("map/00001", 0), "out of memory", (6, 7), "")).report.location
'row 7 of its input'
"""

from __future__ import annotations

from dataflow.errors import DataflowError, MemoryLimitError, Report, TaskTimeoutError, WorkerCrashedError
from dataflow.scheduling.events import Died, Lost
from dataflow.scheduling.stacks import user_stack
from dataflow.scheduling.states import State

__all__ = ["kills_its_workers", "makes_no_progress", "nothing_gets_done"]


def nothing_gets_done(event: Died | Lost, deaths: int) -> WorkerCrashedError:
    """So many workers died since a task was done."""
    return WorkerCrashedError(
        Report(
            f"workers die without any task getting done ({event.how}, {deaths} times)",
            attempt=str(event.attempt),
            hint="look at this machine's memory and at `dmesg`",
        )
    )


def kills_its_workers(state: State, event: Died) -> DataflowError:
    """A task, of which no part is left to cut off."""
    kind = MemoryLimitError if event.how.startswith("out of memory") else WorkerCrashedError
    return kind(
        Report(
            f"a task killed its worker again and again: {event.how}",
            steps=(state.task.group,),
            failed=user_stack(event.trace),
            trace=event.trace,
            location=f"row {event.rows[0] + 1} of its input" if event.rows else "",
            attempt=f"{state.attempts} of task {state.task.id}",
            hint='on_error="skip" on the step sets such a record aside',
        )
    )


def makes_no_progress(state: State, seconds: float, trace: str) -> TaskTimeoutError:
    """A task, for so long; where it was then."""
    return TaskTimeoutError(
        Report(
            f"a task made no progress for {seconds:.0f} s, twice",
            steps=(state.task.group,),
            failed=user_stack(trace, hanging=True),
            attempt=f"{state.attempts} of task {state.task.id}",
            hint="raise task_timeout if the step is only slow",
            trace=trace,
        )
    )
