"""What the scheduler knows of a task that is not done, and of the tasks of a phase together."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from dataflow.record import record
from dataflow.scheduling.events import Left, Task

__all__ = ["Group", "State"]


@record(frozen=False, eq=True)
class State:
    """What is known of one task that is not done."""

    task: Task
    attempts: int = 0
    deaths: int = 0
    failures: int = 0
    hangs: int = 0
    running: dict[int, float] = field(default_factory=dict)
    progress: dict[int, tuple[float, tuple[int, int]]] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)  # how often a file of which producer was gone
    rows: tuple[int, int] | None = None
    split_from: str = ""
    twice: bool = False
    held: Any = None  # the first result of a task that runs twice


@record(frozen=False, eq=True)
class Group:
    """The tasks of one phase, for what needs to know its siblings. ``seconds``: of those that are done, in order but for the last."""

    payload: Any = None
    total: int = 0
    done: int = 0
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0

    def left(self) -> Left:
        """What is left of it."""
        return Left(self.payload, self.total - self.done, self.spent / self.done if self.done else 0.0)

    def usual(self) -> float:
        """The median of the seconds."""
        self.seconds.sort()  # what was in order stays so: this costs a look at each
        return self.seconds[len(self.seconds) // 2]
