"""From an exception in a user's function to the report a user reads: their frames only, the record, its place."""

from __future__ import annotations

import linecache
import traceback
from dataclasses import replace
from typing import Any

from dataflow.errors import DataflowError, KeyTypeError, Report, StepError, redact, shorten
from dataflow.execution.context import TaskContext, text_of
from dataflow.frames import is_engine_file, is_library_file
from dataflow.physical.program import Program
from dataflow.plan.steps import Step

__all__ = ["of_source", "step_error", "trace_of", "user_frames"]

_HINTS = {
    "flat_map": "flat_map needs a function that returns an iterable; for one result per element use map",
    "do": "a DoFn's process returns an iterable of results, or None for no result",
}


def user_frames(error: BaseException) -> tuple[str, ...]:
    """The frames of the user's code in a traceback, outermost first, as ``file.py:5 in parse: <line>``."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        if is_engine_file(frame.filename) or is_library_file(frame.filename):
            continue
        name = frame.filename.rpartition("/")[2]
        text = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        frames.append(f"{name}:{frame.lineno} in {frame.name}" + (f": {text}" if text else ""))
    return tuple(frames)


def trace_of(error: BaseException) -> str:
    """The whole traceback, however the exception behaves."""
    try:
        return redact("".join(traceback.format_exception(error)))
    except Exception:
        return "".join(traceback.format_tb(error.__traceback__))


def of_source(error: DataflowError, program: Program) -> DataflowError:
    """The error of a source, which knows file and row, with the step that reads it and its line."""
    report = replace(error.report, steps=(program.label,), declared=program.declared, declared_text=program.declared_text)
    named = type(error)(report)
    named.__cause__ = error.__cause__
    return named


def step_error(step: Step, error: BaseException, record: Any, location: str, context: TaskContext, path: tuple[str, ...]) -> DataflowError:
    """The error of a step on a record, with everything the user needs; ``__cause__`` is the user's exception."""
    if isinstance(error, DataflowError) and not isinstance(error, KeyTypeError):
        return error
    frames = user_frames(error)
    kind = type(error).__name__
    text = text_of(error)[:300]
    hint = ""
    if not frames and isinstance(error, TypeError) and "not iterable" in text:
        hint = _HINTS.get(step.kind, "")
    if not hint:
        hint = (
            'on_error="skip" on this step sets such records aside'
            if step.kind in ("map", "flat_map", "filter", "do", "map_columns", "map_values", "map_groups", "key_by")
            else ""
        )
    report = Report(
        f"{step.label} failed: {kind}: {text}" if text else f"{step.label} failed: {kind}",
        steps=path,
        declared=str(step.origin),
        declared_text=step.origin.text(),
        failed=frames,
        record=shorten(record),
        location=location,
        attempt=f"{context.attempt + 1} of task {context.task}",
        hint=hint,
        trace=trace_of(error),
        cause_type=kind,
    )
    wrapped = StepError(report) if not isinstance(error, KeyTypeError) else KeyTypeError(report)
    wrapped.__cause__ = error
    return wrapped
