"""What the scheduler and the places that run tasks say to each other. Plain values; tasks are opaque here.

Scheduler ──start(attempt)──> Workers ──> Begun, Progress…, then one of Finished, Failed, Died, Lost
          ──cancel(attempt)─>
          ──expect(left)────>             (what more of them could do)
          ──bring(files)────> PlaceMoved  (what somebody is going to read here)

They are named tuples because a run makes hundreds of thousands, and the classes themselves are made at every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from dataflow.errors import Report
from dataflow.record import record

__all__ = [
    "AttemptId", "Begun", "Clock", "Died", "Event", "Failed", "FailureKind", "FileLost", "Finished", "Left", "Lost", "News", "PlaceLost",
    "PlaceMoved", "Progress", "Task", "Workers",
]  # fmt: skip


class AttemptId(NamedTuple):
    """One try at a task."""

    task: str
    number: int

    def __str__(self) -> str:
        return f"{self.task}#{self.number}"


class Task(NamedTuple):
    """A piece of work: ``payload`` means something to the workers and to whoever asked, not to the scheduler.

    ``twice``: it runs again when it is done, and the two results are compared.
    """

    id: str
    group: str
    payload: Any = None
    twice: bool = False


FailureKind = str  # "user" | "transient" | "memory" | "corrupt" | "gone" | "load" | "resource"


class Finished(NamedTuple):
    """An attempt ended well."""

    attempt: AttemptId
    result: Any


class Failed(NamedTuple):
    """An attempt ended with an error; the worker lives. ``kind`` decides whether it is tried again."""

    attempt: AttemptId
    kind: FailureKind
    error: BaseException
    report: Report | None = None
    rows: tuple[int, int] | None = None


class Died(NamedTuple):
    """The worker of an attempt is gone. ``rows``: the rows it was processing, if known; ``how``: the signal or exit."""

    attempt: AttemptId
    how: str
    rows: tuple[int, int] | None = None
    trace: str = ""


class Begun(NamedTuple):
    """An attempt that waited for a worker begins only now."""

    attempt: AttemptId


class Lost(NamedTuple):
    """An attempt vanished through no fault of its own: it waited on a worker that died of another, or its machine is gone."""

    attempt: AttemptId
    how: str


class PlaceLost(NamedTuple):
    """A place (`shard.places`) is gone, and the files that tasks wrote there with it."""

    place: str


class FileLost(NamedTuple):
    """A file that a task wrote is bad or gone, and the place is there."""

    producer: str
    how: str


class PlaceMoved(NamedTuple):
    """The files of a place that is about to go were copied: by their paths there, at which place and path each is now."""

    place: str
    where: dict[str, tuple[str, str]]


class Progress(NamedTuple):
    """A sign of life of an attempt: rows and bytes so far; ``pulse`` is any number that changes while work goes on."""

    attempt: AttemptId
    rows: int
    bytes: int
    pulse: int = 0


class Left(NamedTuple):
    """What is left of a group: the payload of a task, how many are not done, and their mean seconds from start to end, 0 before one is."""

    payload: Any
    tasks: int
    seconds: float


Event = Begun | Finished | Failed | Died | Lost | Progress
News = Event | FileLost | PlaceLost | PlaceMoved


class Clock(Protocol):
    """Time that only goes forward, in seconds."""

    def now(self) -> float: ...


class Workers(Protocol):
    """A place where attempts run."""

    @property
    def slots(self) -> int:
        """How many attempts may be in hand at once: running, or waiting where they will run."""
        ...

    @property
    def parallel(self) -> int:
        """How many attempts run at once, which share the memory."""
        ...

    def start(self, attempt: AttemptId, payload: Any) -> None:
        """Begin an attempt."""
        ...

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt; no event of it needs to follow."""
        ...

    def expect(self, left: Sequence[Left]) -> None:
        """What is left to do, group by group, for workers that can become more or fewer."""
        ...

    def bring(self, files: Sequence[Any]) -> Sequence[News]:
        """Copy files of other places to this process, as far as it can; the news say where they are now, and what else happened."""
        ...

    def hang_report(self, attempt: AttemptId) -> str:
        """Where an attempt stands, as a stack, before it is cancelled for making no progress."""
        ...

    def wait(self, timeout: float) -> Sequence[News]:
        """The events since the last call, after at most ``timeout`` seconds."""
        ...


@record(frozen=False, eq=True)
class Policy:
    """How often and when things are tried again. Times in seconds."""

    attempts: int = 3
    transient_attempts: int = 4
    deaths_before_split: int = 3
    backup_after_done: float = 0.9
    backup_factor: float = 2.0
    backup_floor: float = 5.0
    task_timeout: float | None = None
    hang_attempts: int = 2
    pool_deaths: int = 3
