"""What a job is told, and what its tasks carry to wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from dataflow.execution.task import Attempt
from dataflow.physical.program import BoundStep, Branch, Program, QueryRoot, ScanRoot, SinkLeaf, SourceRoot, TaskInput
from dataflow.record import record
from dataflow.scheduling.events import Policy

__all__ = ["SMALL_BYTES", "SPLIT_BYTES", "JobOptions", "Work", "all_steps", "of_this_process"]

SPLIT_BYTES = 32 << 20
SMALL_BYTES = 24 << 20  # of a phase: less is not worth another process


@record(eq=True)
class JobOptions:
    """What the user chose. ``memory`` in bytes for the whole run; ``folders`` where shuffles are kept, the first preferred.

    ``skipped_to``: the folder of records that are set aside, or what gives it when there are any. ``compared_share``: of the tasks, that
    much runs twice, to be compared (`determinism`). ``merges``: whether many small files of a shuffle are put together.
    """

    run: str
    memory: int
    folders: tuple[str, ...]
    skipped_to: str | Callable[[], str]
    policy: Policy = field(default_factory=Policy)
    compared_share: float = 0.0
    merges: bool = True


@record(eq=True)
class Work:
    """A task's payload: what every attempt of it needs. ``small``: not worth another process; ``here``: no other can."""

    order: tuple[int, ...]
    phase: str
    input: TaskInput
    program: Program
    small: bool
    here: bool
    attempt: Callable[[str, int], Attempt]


def of_this_process(program: Program) -> bool:
    """Whether a program reads or writes fsspec's ``memory://``, which lives in this process alone."""
    if isinstance(program.root, QueryRoot):  # it has all cores where it is, and its sources stand in this process
        return True
    paths = list(getattr(program.root.source, "paths", ())) if isinstance(program.root, (SourceRoot, ScanRoot)) else []
    paths += [leaf.sink.path for leaf in program.leaves if isinstance(leaf, SinkLeaf)]
    return any(path.startswith("memory://") for path in paths)


def all_steps(branch: Branch) -> list[BoundStep]:
    """The steps of a branch and of all below it."""
    return [*branch.steps, *(step for inner in branch.branches for step in all_steps(inner))]
