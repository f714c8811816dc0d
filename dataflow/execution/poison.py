"""The record that kills its worker: looked at by a task that reads it, and does nothing else with it.

Bisection ends with the number of a row. What the row holds is in no process any more, and to read it in the driver would risk the driver:
it may be the reading that kills. So a last task reads that row in a worker, without any of the user's functions, and sets it aside as
a step sets aside a record that failed: with its content, its file and row, its step and where that is declared.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dataflow.execution.task import TaskResult
from dataflow.physical.program import BoundStep, Branch, Program
from dataflow.plan.origin import Origin
from dataflow.plan.steps import OnError, Step
from dataflow.record import record

__all__ = ["Killed", "looking_at", "what_was_seen"]


class Killed(Exception):
    """Stands for the death of a worker where a record's exception would be."""


@record(eq=True)
class _Kills:
    """What the user's functions do to the record, told instead of done."""

    how: str

    def __call__(self, element: Any) -> Any:
        raise Killed(self.how)


def looking_at(program: Program, how: str, name: str, step: Step | None) -> Program:
    """The program that reads the same rows and sets each aside, in the name of a step of the program."""
    label, origin = (step.label, step.origin) if step is not None else (program.label, Origin("", 0, ""))
    aside = Step("map", label, origin, fn=_Kills(how), on_error=OnError(skip=True))
    return replace(program, phase=name, tree=Branch((BoundStep(aside),)), leaves=())  # sides may be the root's


def what_was_seen(result: TaskResult) -> tuple[str, str]:
    """The record, shortened, and its file and row."""
    if not result.skipped_path:
        return "", ""
    with open(result.skipped_path, encoding="utf-8") as lines:
        entry = json.loads(lines.readline())
    return entry["record"], entry["from"]
