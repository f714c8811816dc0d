"""The life of DoFns in a process: `setup` once before a program's first task, `teardown` when the process is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dataflow.physical.program import Branch, Program

__all__ = ["dofns", "set_up", "tear_down"]


def dofns(branch: Branch) -> Iterator[tuple[Any, Any]]:
    for bound in branch.steps:
        if bound.step.kind == "do":
            yield bound.step, bound.step.fn
    for inner in branch.branches:
        yield from dofns(inner)


def set_up(program: Program) -> None:
    """Call ``setup`` of every DoFn that has one."""
    from dataflow.execution.context import TaskContext
    from dataflow.execution.failures import step_error

    for step, dofn in dofns(program.tree):
        method = getattr(dofn, "setup", None)
        if method is None:
            continue
        try:
            method()
        except Exception as error:
            context = TaskContext(program.phase, 0, 0, "")
            raise step_error(step, error, "<setup>", "", context, (program.label, step.label)) from error


def tear_down(program: Program) -> None:
    """Call ``teardown`` of every DoFn that has one; it is the last word, so its errors are nobody's."""
    for _, dofn in dofns(program.tree):
        method = getattr(dofn, "teardown", None)
        if method is not None:
            with suppress(Exception):
                method()
