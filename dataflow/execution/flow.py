"""A program's tree of steps at work: batches are pushed in at the top and come out at the leaves.

Flow.push(batch) ─> step 0 ─> step 1 ─> … ─> leaves, and branches (by tag), which are flows themselves
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Protocol

from dataflow.execution.batches import Batches
from dataflow.execution.context import TaskContext
from dataflow.execution.dofns import Do
from dataflow.execution.elementwise import Elementwise, OnPairs
from dataflow.execution.runner import Runner
from dataflow.execution.shapes import Combine, Shape
from dataflow.physical.program import BoundStep, Branch
from dataflow.shard.batch import Batch

__all__ = ["Flow", "Taker", "build_flow"]


class Taker(Protocol):
    """What stands at the end of a flow: a leaf of the program."""

    def push(self, batch: Batch) -> None: ...


def _runner(bound: BoundStep) -> type[Runner]:
    match bound.step.kind:
        case "map" | "filter" | "flat_map":
            return Elementwise
        case "map_columns":
            from dataflow.execution.column_steps import OnColumns

            return OnColumns
        case "map_values" | "map_groups" | "key_by":
            return OnPairs
        case "keys" | "values" | "swap" | "pair_with" | "number" | "chance":
            return Shape
        case "combine" | "merge":
            return Combine
        case "do":
            return Do
        case "map_batches":
            return Batches
        case "query":
            from dataflow.execution.query_steps import QueryStep  # brings the kernel library

            return QueryStep


class Flow:
    """A branch of a program at work."""

    def __init__(self, runners: list[Runner], leaves: list[Taker], branches: dict[str | None, list[Flow]]) -> None:
        self.runners, self.leaves, self.branches = runners, leaves, branches

    def push(self, batch: Batch) -> None:
        """Run a batch through everything below."""
        self._run(batch, 0)

    def start(self) -> None:
        """Begin the bundle of every step."""
        for index, runner in enumerate(self.runners):
            for batch, tag in runner.start():
                self._pass_on(batch, tag, index)
        for flow in self._flows():
            flow.start()

    def finish(self) -> None:
        """End the bundle of every step, first step first, so that what one still gives reaches the next."""
        for index, runner in enumerate(self.runners):
            for batch, tag in runner.finish():
                self._pass_on(batch, tag, index)
        for flow in self._flows():
            flow.finish()

    def _flows(self) -> Iterator[Flow]:
        return chain.from_iterable(self.branches.values())

    def _run(self, batch: Batch, index: int) -> None:
        """Run a batch from a step on. A stack instead of recursion: a chain may be longer than Python's."""
        if index == len(self.runners):
            self._deliver(batch)
            return
        stack = [(self.runners[index].apply(batch), index)]
        while stack:
            outputs, at = stack[-1]
            begun = perf_counter()
            found = next(outputs, None)
            self.runners[at].stats.seconds += perf_counter() - begun
            if found is None:
                stack.pop()
                continue
            self.runners[at].context.gave(self.runners[at].step.label, found[0])
            if found[1] is not None or at + 1 == len(self.runners):
                self._deliver(*found)
            else:
                stack.append((self.runners[at + 1].apply(found[0]), at + 1))

    def _deliver(self, batch: Batch, tag: str | None = None) -> None:
        """Hand a batch to the leaves, if it is the main output, and to the branches of its tag."""
        if tag is None:
            for leaf in self.leaves:
                leaf.push(batch)
        for flow in self.branches.get(tag, ()):
            flow.push(batch)

    def _pass_on(self, batch: Batch, tag: str | None, index: int) -> None:
        """Let what a step gave of its own go on behind it."""
        self.runners[index].context.gave(self.runners[index].step.label, batch)
        if tag is None:
            self._run(batch, index + 1)
        else:
            self._deliver(batch, tag)


def build_flow(
    branch: Branch, takers: Sequence[Taker], context: TaskContext, label: str, before: tuple[Runner, ...] = (), path: tuple[str, ...] = ()
) -> Flow:
    """The runners of a branch and all below it."""
    path = path or (label,)
    runners: list[Runner] = []
    for bound in branch.steps:
        path = (*path, bound.step.label)
        runner = _runner(bound)(bound, context, path, (*before, *runners))
        runners.append(runner)
    below = (*before, *runners)
    branches: dict[str | None, list[Flow]] = {}
    for inner in branch.branches:
        branches.setdefault(inner.tag, []).append(build_flow(inner, takers, context, label, below, path))
    return Flow(runners, [takers[i] for i in branch.leaves], branches)
