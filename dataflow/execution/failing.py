"""An error on its way to the driver: what kind it is, and in a form that survives the journey."""

from __future__ import annotations

import errno
import pickle
import traceback
from typing import Any

from dataflow.errors import DataflowError, InputError, MemoryLimitError, Report, ResourceError, ShardCorruptError, ShardLostError, StepError
from dataflow.execution.context import text_of
from dataflow.execution.failures import trace_of
from dataflow.frames import is_engine_file

__all__ = ["RemoteCause", "failure_of"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRANSIENT_TYPES = (ConnectionError, TimeoutError)


class RemoteCause(Exception):
    """Stands for a user's exception that could not be pickled; its text is the exception's."""


def failure_of(error: BaseException, stage: str) -> tuple[str, BaseException]:
    """The kind of a failure, which decides on retries, and the error to raise in the driver."""
    cause = error.__cause__
    origin = cause if isinstance(error, StepError) and cause is not None else error
    if stage == "load":
        report = Report(
            f"the pipeline's functions cannot be loaded in a worker: {type(error).__name__}: {error}",
            hint="modules that functions use must be importable in the worker: install them, or put them beside the script",
            trace=trace_of(error),
        )
        return "load", _chained(DataflowError(report), error)
    if isinstance(error, ShardLostError):
        return "gone", error
    if isinstance(error, ShardCorruptError):
        return "corrupt", error
    if isinstance(origin, MemoryError) or type(origin).__name__ == "ArrowMemoryError":
        report = Report(
            "a task ran out of memory", steps=_steps(error), hint="give the run more memory=, or fewer workers", trace=trace_of(error)
        )
        return "memory", _chained(MemoryLimitError(report), origin)
    if isinstance(origin, OSError) and origin.errno in _FULL:
        where = origin.filename or _path_in(origin)
        report = Report(
            f"no space left on disk: {origin.strerror}",
            location=str(where or ""),
            hint="free some space, or name another disk with spill_folders=",
            trace=trace_of(error),
        )
        return "resource", _chained(ResourceError(report), origin)
    if isinstance(error, DataflowError):
        transient = isinstance(error, StepError) and isinstance(cause, _TRANSIENT_TYPES)
        return ("transient" if transient else "user"), _chained(error, cause)
    if isinstance(error, OSError):
        kind = (
            "transient"
            if error.errno in (errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE, errno.EINTR) or isinstance(error, _TRANSIENT_TYPES)
            else "user"
        )
        resource_ = error.errno in (errno.EMFILE, errno.ENFILE)
        text = f"{error.strerror or error} (errno {error.errno}, {errno.errorcode.get(error.errno or 0, '?')})"
        report = Report(f"input or output failed: {text}", location=str(error.filename or ""), trace=trace_of(error))
        return ("resource" if resource_ else kind), _chained((ResourceError if resource_ else InputError)(report), error)
    report = Report(f"{type(error).__name__}: {text_of(error)}", failed=_user(error), trace=trace_of(error))
    return "user", _chained(StepError(report), error)


def _chained(error: BaseException, cause: BaseException | None) -> BaseException:
    """The error with a cause that can travel."""
    if cause is None:
        return error
    try:
        pickle.loads(pickle.dumps(cause))
        error.__cause__ = cause
    except BaseException:  # a user's exception may break in any way when pickled
        error.__cause__ = RemoteCause(f"{type(cause).__name__}: {text_of(cause)}")
    return error


def _steps(error: BaseException) -> tuple[str, ...]:
    return error.report.steps if isinstance(error, DataflowError) else ()


def _user(error: BaseException) -> tuple[str, ...]:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_engine_file(f.filename)]
    return tuple(f"{f.filename.rpartition('/')[2]}:{f.lineno} in {f.name}" for f in frames)


def _path_in(error: OSError) -> Any:
    return getattr(error, "filename2", None)
