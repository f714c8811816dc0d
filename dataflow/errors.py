"""Every exception of the engine, and the one shape in which an error is shown.

    DataflowError
    ├── PlanError               the pipeline was written wrongly; raised at the line that wrote it
    ├── PreflightError          all problems found before any work, together
    ├── StepError               a step of the user's failed; the report names the line and the record
    │   ├── SkipLimitError      more records were skipped than the step allows
    │   └── NotDeterministicError   a step gave something else for the same input when it ran again
    ├── InputError              a source is missing, truncated, corrupt, or changed while it was read
    ├── OutputError             a target cannot be written or committed
    ├── SchemaError             records disagree about their columns or types
    ├── KeyTypeError            a key has no value equality (unhashable, or an arbitrary object)
    ├── WorkerCrashedError      a task killed its worker again and again
    ├── TaskTimeoutError        a task made no progress for longer than allowed
    ├── MemoryLimitError        a task needs more memory than it may have
    ├── ResourceError           the machine ran out of disk, file handles or processes
    ├── ShardCorruptError       bytes we wrote came back changed (a checksum failed)
    │   └── ShardLostError      a file of the run is gone, most often with its machine
    ├── StoreError              a key-value store cannot be opened or reached, or holds what it should not
    │   └── OutcomeUnknownError a change was sent to a store, and it is not known whether it was made
    └── TransactionError        a transaction did not commit
        ├── ConflictError       another transaction changed, or is changing, a cell that this one writes
        ├── SnapshotTooOldError what a transaction reads was collected as garbage
        └── TransactionLimitError   a transaction is larger, or took longer, than allowed

Ctrl-C is no error of ours: it stays Python's `KeyboardInterrupt`, because Python gives a script the exit code of one (130 in a
shell) for that class alone and for none below it; and because ``except DataflowError`` must not go on after Ctrl-C.

A report has at most 20 lines, in a fixed order: one sentence; the path of steps; where the step was
declared; where the user's code failed; the record; the attempt; a hint.

>>> print(Report("bad price", steps=("read_csv", "map"), hint="see docs").render())
bad price
  in       read_csv > map
  hint     see docs
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field

from dataflow.frames import cells, of_users
from dataflow.record import record

__all__ = [
    "ConflictError",
    "DataflowError",
    "InputError",
    "KeyTypeError",
    "MemoryLimitError",
    "NotDeterministicError",
    "OutcomeUnknownError",
    "OutputError",
    "PlanError",
    "PreflightError",
    "Report",
    "ResourceError",
    "SchemaError",
    "ShardCorruptError",
    "ShardLostError",
    "SkipLimitError",
    "SnapshotTooOldError",
    "StepError",
    "StoreError",
    "TaskTimeoutError",
    "TransactionError",
    "TransactionLimitError",
    "WorkerCrashedError",
    "column_meant",
    "nearest",
    "redact",
    "shorten",
]

MAX_LINES = 20
MOST_PROBLEMS = 10
MOST_SOURCE = 160  # characters of a source line: a whole query may stand on one
_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|api_?key|access_?key|authorization)['\"]?\s*[:=]\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s,;&}\)]+)"
)
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/@\s:]{1,200}:[^/@\s]{1,200}@", re.IGNORECASE)


def redact(text: str) -> str:
    """Remove what looks like a secret from a text that will be shown or stored.

    >>> redact("{'user': 'ann', 'password': 'hunter2'}")
    "{'user': 'ann', 'password': [secret]}"
    """
    return _URL_USER.sub(r"\1[secret]@", _SECRET.sub(r"\1[secret]", text))


def shorten(value: object, limit: int = 200) -> str:
    """A value's ``repr`` on one line, without secrets, at most ``limit`` characters long.

    >>> shorten("x" * 500, 20)
    "'xxxxxxxxx…xxxxxxxx'"
    """
    if isinstance(value, (str, bytes)) and len(value) > 4 * limit:
        value = value[: 2 * limit] + value[-2 * limit :]  # type: ignore[operator]
    try:
        text = repr(value)
    except Exception as error:  # a user's __repr__ may fail; the report must not
        text = f"<{type(value).__name__} whose repr failed: {error!r}>"
    text = redact(" ".join(text[: 20 * limit + 1000].split()))
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}…{text[len(text) - (limit - half - 1) :]}"


def nearest(name: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """The name most like one that is not known, for "did you mean"; None if none is ``alike`` by so much (0 to 1).

    >>> nearest("prise", ["name", "price"]), nearest("x", ["name", "price"])
    ('price', None)
    """
    import difflib  # only an error needs it

    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), None)


def column_meant(name: str, columns: Iterable[str]) -> str:
    """The hint of an error about a column that is not there: the one most like it, else those there are.

    >>> column_meant("prise", ["name", "price"]), column_meant("x", ["name", "price"]), column_meant("x", [])
    ("did you mean 'price'?", 'columns: name, price', 'there are no columns')
    """
    known = list(columns)
    close = nearest(name, known)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"columns: {', '.join(known[:20])}" + ", …" * (len(known) > 20) if known else "there are no columns"


@record(eq=True)
class Report:
    """What is known of a failure. Plain data: it travels between processes and into the journal."""

    sentence: str
    steps: tuple[str, ...] = ()
    declared: str = ""
    declared_text: str = ""
    failed: tuple[str, ...] = ()
    record: str = ""
    location: str = ""
    attempt: str = ""
    hint: str = ""
    trace: str = field(default="", repr=False)
    cause_type: str = ""

    def render(self) -> str:
        """The report as text, at most 20 lines."""
        lines = self.sentence.splitlines()[:4] or ["failed"]

        def put(title: str, text: str) -> None:
            lines.append(f"  {title:<8} {text}")

        if self.steps:
            put("in", " > ".join(self.steps))
        if self.declared:
            put("declared", self.declared)
            if self.declared_text:
                text = self.declared_text
                put("", f"  {text if len(text) <= MOST_SOURCE else text[: MOST_SOURCE - 1] + '…'}")
        for index, frame in enumerate(self.failed[-6:]):
            put("failed" if index == 0 else "", frame)
        if self.record:
            put("record", self.record)
        if self.location:
            put("from", self.location)
        if self.attempt:
            put("attempt", self.attempt)
        if self.hint:
            put("hint", self.hint)
        text = "\n".join(lines[:MAX_LINES])
        for file, cell in cells().items():
            text = text.replace(f"{file.rpartition('/')[2]}:", f"{cell}:")
        return text


class DataflowError(Exception):
    """The base of all errors the engine raises on purpose."""

    def __init__(self, report: Report | str) -> None:
        self.report = report if isinstance(report, Report) else Report(report)
        super().__init__(self.report.render())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of all frames: the user's, and the report."""
        import traceback

        names = cells()
        lines = [f"{type(self).__name__}: {self}"]
        for frame in reversed(traceback.extract_tb(of_users(self.__traceback__))):
            lines.insert(0, f"{names.get(frame.filename, frame.filename)}:{frame.lineno} in {frame.name}\n    {frame.line}")
        return lines

    def __reduce__(self) -> tuple[type[DataflowError], tuple[Report], dict[str, object]]:
        return type(self), (self.report,), {"__cause__": self.__cause__}

    def __setstate__(self, state: dict[str, object] | None) -> None:
        cause = (state or {}).get("__cause__")
        self.__cause__ = cause if isinstance(cause, BaseException) else None


class PlanError(DataflowError):
    """The pipeline was written wrongly; raised where it was written."""


class PreflightError(DataflowError):
    """Problems found before any work, all of them. ``problems`` holds one report each."""

    def __init__(self, problems: tuple[Report, ...]) -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        text = [f"{len(problems)} {noun} found before any work was done"]
        text += ["\n".join(problem.render().splitlines()[:6]) for problem in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            text.append(f"and {len(problems) - MOST_PROBLEMS} more")
        super().__init__(Report(text[0]))
        self.args = ("\n\n".join(text),)

    def __reduce__(self) -> tuple[type[PreflightError], tuple[tuple[Report, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)


class StepError(DataflowError):
    """A step of the user's failed on a record. ``__cause__`` is the user's own exception."""


class SkipLimitError(StepError):
    """More records were skipped than ``max_errors`` or ``max_error_rate`` allows."""


class NotDeterministicError(StepError):
    """A step gave something else for the same input when its task ran again; found with ``check_determinism``."""


class InputError(DataflowError):
    """A source is missing, truncated, corrupt, or changed while it was read."""


class OutputError(DataflowError):
    """A target cannot be written or committed. What was there before is untouched."""


class SchemaError(DataflowError):
    """Records disagree about their columns or types in a way that would lose something."""


class KeyTypeError(DataflowError):
    """A key has no value equality: it is unhashable, or an object we cannot compare by value."""


class WorkerCrashedError(DataflowError):
    """A task killed its worker process again and again."""


class TaskTimeoutError(DataflowError):
    """A task made no progress for longer than it may. The report shows where it hung."""


class MemoryLimitError(DataflowError):
    """A task needs more memory than it may have."""


class ResourceError(DataflowError):
    """The machine ran out of something: disk, file handles, processes."""


class ShardCorruptError(DataflowError):
    """A file of the run came back other than it was written."""


class ShardLostError(ShardCorruptError):
    """A file of the run is gone."""


class StoreError(DataflowError):
    """A key-value store cannot be opened or reached, or holds what it should not."""


class OutcomeUnknownError(StoreError):
    """A change was sent to a store and no answer came: it was made, or not, or is still to be made."""


class TransactionError(DataflowError):
    """A transaction did not commit; nothing of it is visible."""


class ConflictError(TransactionError):
    """Another transaction changed, or is changing, a cell that this one writes."""


class SnapshotTooOldError(TransactionError):
    """What a transaction reads was collected as garbage: it began too long ago."""


class TransactionLimitError(TransactionError):
    """A transaction is larger, or took longer, than allowed."""
