"""A phase becomes tasks when what it reads is whole: so many as the bytes ask for, whatever the number of workers.

phase ─(inputs: splits, ranges of a shuffle, kept files)─> one `Work` each ─> `Attempt`s, with the files as they are then
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.errors import InputError, SchemaError
from dataflow.execution.failing import failure_of
from dataflow.execution.failures import of_source
from dataflow.execution.task import Attempt
from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import (
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    MergeRoot,
    OperateRoot,
    PieceRoot,
    Program,
    QueryRoot,
    ScanRoot,
    ShuffleLeaf,
    SideValue,
    SinkLeaf,
    SortRoot,
    SourceRoot,
    TaskInput,
)  # fmt: skip
from dataflow.plan.nodes import Operate
from dataflow.scheduling.events import Task
from dataflow.scheduling.filed import FiledFiles
from dataflow.scheduling.inputs import gathered, hash_ranges, key_ranges, ranges_of
from dataflow.scheduling.work import SMALL_BYTES, SPLIT_BYTES, JobOptions, Work, of_this_process

if TYPE_CHECKING:
    from dataflow.io.staging import Staged

__all__ = ["TaskMaker"]

FEW = 16  # files of a shuffle: they are not worth a look


class TaskMaker:
    """Makes the tasks of a job. ``targets`` are its commit's; ``parallel`` says how many attempts run at a time."""

    def __init__(
        self, plan: PhysicalPlan, options: JobOptions, files: FiledFiles, targets: list[Staged], parallel: Callable[[], int]
    ) -> None:
        self.plan, self.options, self.files, self.targets, self.parallel = plan, options, files, targets, parallel
        self.remarks: dict[str, list[str]] = {}  # on the tasks of a phase
        self.numbers = {phase.name: number for number, phase in enumerate(plan.phases)}  # stay, whatever passes come in between
        self._here: tuple[Program | None, bool] = (None, False)

    def remark(self, phase: str, *texts: str) -> None:
        """Note what the sizes that were seen decided."""
        self.remarks.setdefault(phase, []).extend(texts)

    def side(self, name: str) -> SideValue:
        """A view's value, as files."""
        if name in self.plan.parts:
            shuffle, part = self.plan.parts[name]
            return SideValue("records", tuple(file for file in self.files.kept(shuffle) if file.side == part))
        node = self.plan.views[name]
        if isinstance(node, Operate):
            return SideValue("singleton", self.files.kept(name))
        return SideValue(node.kind, self.files.kept(name), node.default)

    def patiently(self, phase: Phase) -> list[Task]:
        """The tasks of a phase; looking at its sources is tried again where the trouble may pass."""
        for pause in (0.05, 0.2, None):
            try:
                return self._tasks(phase)
            except OSError as error:
                kind, clear = failure_of(error, "run")
                if kind != "transient" or pause is None:
                    raise clear from error
                time.sleep(pause)
        raise AssertionError

    def _tasks(self, phase: Phase) -> list[Task]:
        if not phase.program.leaves:
            return []  # what it would have done is done where its exchange would have been fed
        inputs = self._inputs(phase)
        number = self.numbers.setdefault(phase.name, len(self.numbers))
        program = replace(phase.program, leaves=tuple(self._staged(leaf) for leaf in phase.program.leaves))
        total = sum(given.bytes for given in inputs)
        return [
            self.task(phase.name, (number, index), replace(given, seed=number * 1_000_003 + index), program, total)
            for index, given in enumerate(inputs)
        ]

    def task(self, phase: str, order: tuple[int, ...], given: TaskInput, program: Program, total: int) -> Task:
        name = f"{phase}/{order[1]:05d}" + "".join(f".{part}" for part in order[2:])
        twice = False
        if self.options.compared_share and len(order) == 2:
            from dataflow.scheduling.determinism import runs_twice  # few runs compare

            twice = runs_twice(name, order[1] == 0, self.options.compared_share)

        def attempt(task: str, number: int) -> Attempt:
            current = self.files.current(given, self.plan.phase(phase))
            sides = {name: self.side(name) for name in program.sides}
            folders = self.options.folders
            share = self.options.memory // max(1, self.parallel())
            return Attempt(task, number, current, share, folders[number % len(folders)], sides, twice)

        if self._here[0] is not program:
            self._here = (program, of_this_process(program))  # which looks at the paths of all its files
        return Task(name, phase, Work(order, phase, given, program, total < SMALL_BYTES, self._here[1], attempt), twice)

    def smaller(self, work: Work) -> list[TaskInput] | None:
        """The input of a task that ran out of memory in parts, where that is known to help; None where it is not."""
        root = work.program.root
        if isinstance(root, ScanRoot) and len(work.input.splits) == 1:
            parts = root.source.smaller(work.input.splits[0])
            return [replace(work.input, splits=(part,), bytes=part.bytes) for part in parts] or None
        if not isinstance(root, PieceRoot) or work.input.rows != (0, None):
            return None
        from dataflow.scheduling.pieces import smaller

        return smaller(work.input, self.files.kept(self.plan.phase(work.phase).shuffle or ""), root.sides, root.splittable)

    def _staged(self, leaf: Any) -> Any:
        if isinstance(leaf, SinkLeaf):
            target = self.targets[leaf.index]
            scheme = leaf.sink.path.split("://")[0] + "://" if "://" in leaf.sink.path and not target.fs.can_move_directories else ""
            return replace(leaf, staging=f"{scheme}{target.staging}/attempts")
        return leaf

    def _inputs(self, phase: Phase) -> list[TaskInput]:
        root = phase.program.root
        sorts = any(isinstance(leaf, ShuffleLeaf) and leaf.order is not None for leaf in phase.program.leaves)
        # fewer and longer runs, each of which every range of a sort reads too much of; a hash run is best short enough for the caches
        most = min(SPLIT_BYTES * 2 if sorts else SPLIT_BYTES, max(1 << 20, self.options.memory // (32 if sorts else 16)))
        match root:
            case SourceRoot(source=source) | ScanRoot(source=source):
                try:
                    splits = source.splits(most)
                except (InputError, SchemaError) as error:
                    raise of_source(error, phase.program) from error.__cause__
                return gathered(splits, most)
            case PieceRoot(sides=sides, splittable=splittable):
                from dataflow.scheduling.pieces import piece_ranges  # few runs have any

                found = piece_ranges(self.files.kept(phase.shuffle or ""), sides, splittable, self.options.memory)
                self.remark(phase.name, *found.remarks)
                return found.inputs
            case GroupRoot() | DealRoot():
                return hash_ranges(self._feeding(phase.shuffle or ""), self.files.kept(phase.shuffle or ""), self.options.memory)
            case SortRoot():
                ranges = key_ranges(self.files.kept(phase.shuffle or ""), self.options.memory)
                return ranges[::-1] if root.descending else ranges
            case MergeRoot():
                return self._to_merge(phase)
            case KeptRoot():
                return [TaskInput(files=(file,), bytes=file.bytes) for file in self.files.kept(phase.kept or phase.program.label)]
            case OperateRoot() | QueryRoot():
                return [TaskInput()]

    def would_merge(self, reader: Phase) -> bool:
        """Whether the files of a shuffle, which is whole, are to be put together before a phase reads them."""
        shuffle, leaves = reader.shuffle or "", reader.program.leaves
        files = self.files.kept(shuffle)
        if len(files) < FEW or not leaves or not self.options.merges:
            return False
        if all(isinstance(leaf, KeepLeaf) and leaf.limit is not None for leaf in leaves):
            return False  # the first of them may be enough
        from dataflow.physical.merging import is_merged
        from dataflow.scheduling.merges import worth_merging

        return not is_merged(self.plan, shuffle) and worth_merging(files, self._readers(shuffle), self.options.memory)

    def _to_merge(self, phase: Phase) -> list[TaskInput]:
        from dataflow.scheduling.merges import merge_inputs  # few runs have any

        (leaf,), shuffle = phase.program.leaves, phase.shuffle or ""
        assert isinstance(leaf, ShuffleLeaf)
        return merge_inputs(self.files.kept(shuffle), leaf.side, self._readers(shuffle), self.options.memory)

    def _readers(self, shuffle: str) -> int:
        """How many tasks read a shuffle, about."""
        return ranges_of(self._feeding(shuffle), sum(file.bytes for file in self.files.kept(shuffle)), self.options.memory)

    def _feeding(self, shuffle: str) -> ShuffleLeaf:
        """The leaf that its feeders have in common."""
        leaves = (leaf for feeder in self.plan.feeders(shuffle) for leaf in feeder.program.leaves)
        return next(leaf for leaf in leaves if isinstance(leaf, ShuffleLeaf) and leaf.shuffle == shuffle)
