"""A task that kills its worker again and again: cut down to the record that does it, which is looked at and set aside, or shown.

    task ──dies thrice──> parts around the rows it died on ──die──> … ──> one row ──> a look at it ─┬─ a step skips: set aside
                             └─ others go on as usual                    (`execution.poison`)       └─ else: the error shows it

So a deadly record costs a handful of workers and itself, never its neighbours (MapReduce, section 3.6).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.execution.poison import looking_at, what_was_seen
from dataflow.execution.task import TaskResult
from dataflow.physical.program import TaskInput
from dataflow.scheduling.accounts import Accounts
from dataflow.scheduling.events import Task
from dataflow.scheduling.tasking import TaskMaker
from dataflow.scheduling.work import SPLIT_BYTES, Work, all_steps

__all__ = ["Bisection", "parts_of"]

RECORD = 200  # characters of a record in an error


def parts_of(given: TaskInput, rows: tuple[int, int] | None) -> list[TaskInput] | None:
    """An input in parts: halves of its splits, or of its rows around those that ``rows`` says it died on; None for one row.

    >>> [part.rows for part in parts_of(TaskInput(rows=(0, 100)), (40, 50)) or ()]
    [(0, 40), (40, 45), (45, 50), (50, 100)]
    """
    low, high = given.rows
    if rows is not None and not (low <= rows[0] < (high if high is not None else rows[0] + 1)):
        rows = None  # a mark of another attempt
    if len(given.splits) > 1 and (low, high) == (0, None):
        half = len(given.splits) // 2
        return [replace(given, splits=part, bytes=given.bytes // 2) for part in (given.splits[:half], given.splits[half:])]
    if rows is None:
        if high is None:
            return None
        rows = (low, high)
    first, last = max(low, rows[0]), rows[1] if high is None else min(high, rows[1])
    if (first, last) == (low, high) and last - first <= 1:
        return None
    middle = (first + last + 1) // 2
    edges: list[int | None] = [low, first, middle, last, *([high] if high != last else [])]
    ranges = [(a, b) for a, b in itertools.pairwise(edges) if b is None or (a is not None and a < b)]
    return [replace(given, rows=(a or 0, b), bytes=given.bytes // len(ranges)) for a, b in ranges]


class Bisection:
    """The part of a job that answers when the scheduler asks to split a task or to give one up.

    ``replaced`` is told which tasks stand for one that is no more.
    """

    def __init__(self, maker: TaskMaker, accounts: Accounts, replaced: Callable[[Task, list[Task]], None]) -> None:
        self.maker, self.accounts, self.replaced = maker, accounts, replaced
        self.looks: dict[str, tuple[Work, DataflowError | None]] = {}  # with the error to raise, unless the record is skipped
        self.blamed: tuple[Work, str] | None = None

    def split(self, task: Task, rows: tuple[int, int] | None, how: str) -> list[Task] | None:
        """The parts of a task that kills its worker; None where there is nothing to split."""
        work: Work = task.payload
        pieces = None
        if task.id not in self.looks:
            pieces = (self.maker.smaller(work) if "memory" in how else None) or parts_of(work.input, rows)
        if pieces is None:
            return None
        parts = [self.maker.task(work.phase, (*work.order, i), piece, work.program, SPLIT_BYTES) for i, piece in enumerate(pieces)]
        self.replaced(task, parts)
        return parts

    def give_up(self, task: Task, how: str, error: BaseException) -> list[Task] | None:
        """A single row kills its worker: a task looks at it."""
        work: Work = task.payload
        if task.id in self.looks:
            return self._unseen(task, how)
        row, end = work.input.rows
        self.blamed = (work, "")
        if end != row + 1 or not isinstance(error, DataflowError):
            return None
        skips = next((bound.step for bound in all_steps(work.program.tree) if bound.step.on_error.skip), None)
        program = looking_at(work.program, how, f"{work.phase}, row {row} of {task.id}", skips)
        look = self.maker.task(work.phase, (*work.order, 0), work.input, program, SPLIT_BYTES)
        self.looks[look.id] = (work, None if skips is not None else error)
        self.replaced(task, [look])
        return [look]

    def seen(self, task: Task, result: TaskResult) -> None:
        """If the task looked at a record that no step skips: raise the error, which shows it."""
        if task.id not in self.looks:
            return
        work, error = self.looks.pop(task.id)
        if error is None:
            return
        record, place = what_was_seen(result)
        self.blamed = (work, place)
        raise type(error)(replace(error.report, record=_cut(record)))

    def _unseen(self, look: Task, how: str) -> list[Task]:
        """The reading alone kills too: the row's number has to do."""
        work, error = self.looks.pop(look.id)
        row = work.input.rows[0]
        where = f"{work.input.splits[0].name}, row {row + 1} of its split" if work.input.splits else f"element {row + 1} of {work.phase}"
        if error is not None:
            self.blamed = (work, where)
            raise error
        step = next(bound.step for bound in all_steps(work.program.tree) if bound.step.on_error.skip)
        self.accounts.skip(step, where, f"Killed: {how}")
        self.replaced(look, [])
        return []

    def blame(self, error: DataflowError) -> DataflowError:
        """The error of a task that was given up, with its steps, their line, and the row it was on."""
        if self.blamed is None:
            return error
        work, where = self.blamed
        steps = [bound.step for bound in all_steps(work.program.tree)]
        first = next((step for step in steps if step.fn is not None), None)
        path = (work.program.label, *(step.label for step in steps[:6]))
        report = replace(error.report, steps=path, location=where or error.report.location)
        if first is not None:
            report = replace(report, declared=str(first.origin), declared_text=first.origin.text())
        return type(error)(report)


def _cut(record: str) -> str:
    half = RECORD // 2
    return record if len(record) <= RECORD else f"{record[:half]}…{record[-half + 1 :]}"
