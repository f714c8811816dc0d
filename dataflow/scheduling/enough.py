"""When a few rows are asked for: whether the first tasks of a phase, in their order, gave them, so that the others need not run."""

from __future__ import annotations

import heapq

from dataflow.physical.phases import Phase
from dataflow.physical.program import KeepLeaf
from dataflow.scheduling.events import Task
from dataflow.scheduling.filed import FiledFiles

__all__ = ["Enough"]


class Enough:
    """The phases of a job whose leaves all have a limit. Each task is looked at once, when all before it are done."""

    def __init__(self, files: FiledFiles) -> None:
        self.files = files
        self.leaves: dict[str, tuple[KeepLeaf, ...]] = {}
        self.rows: dict[str, list[int]] = {}
        self.ahead: dict[str, list[tuple[tuple[int, ...], str]]] = {}  # a heap: orders and names of tasks that were not counted yet

    def opened(self, phase: Phase, tasks: list[Task]) -> None:
        """A phase has its tasks."""
        leaves = tuple(leaf for leaf in phase.program.leaves if isinstance(leaf, KeepLeaf) and leaf.limit is not None)
        if leaves and len(leaves) == len(phase.program.leaves):
            self.leaves[phase.name], self.rows[phase.name] = leaves, [0] * len(leaves)
            self.ahead[phase.name] = [(task.payload.order, task.id) for task in tasks]

    def replaced(self, phase: str, parts: list[Task]) -> None:
        """Tasks came that stand for another."""
        if phase in self.ahead:
            for part in parts:
                heapq.heappush(self.ahead[phase], (part.payload.order, part.id))

    def reached(self, phase: str, undone: set[str]) -> bool:
        """Whether the tasks before the first that is not done gave as many rows as are asked for."""
        ahead = self.ahead.get(phase)
        if ahead is None:
            return False
        while ahead and ahead[0][1] not in undone:
            order, _ = heapq.heappop(ahead)
            for place, leaf in enumerate(self.leaves[phase]):
                self.rows[phase][place] += self.files.rows(leaf.name, (order, place))
        return all(rows >= (leaf.limit or 0) for rows, leaf in zip(self.rows[phase], self.leaves[phase], strict=True))
