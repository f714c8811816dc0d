"""A job: the phases of a plan, each turned into tasks when what it reads is whole, and one commit at the end.

    phases ──(inputs whole)──> tasks ──Scheduler──> manifests ──> shuffles, kept files, files of sinks
                                                                     └──(no phase left)──> Commit

How many tasks a phase has depends on the bytes it reads, never on the number of workers, so the same input gives the
same files on any machine. The reader of a shuffle is planned when the shuffle is whole, from the sizes that are there.

The life of a manifest: an attempt ends, the scheduler takes the first one of its task and calls `_done`; its files are
filed under the shuffle, kept name or sink they belong to, in the order of tasks; a task that is run again because one
of its files went bad (`_corrupt`) replaces its files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.errors import DataflowError, InputError, MemoryLimitError, OutputError, Report, SchemaError, WorkerCrashedError
from dataflow.execution.failing import failure_of
from dataflow.execution.failures import of_source
from dataflow.execution.task import Attempt, TaskResult
from dataflow.io.commit import Commit
from dataflow.physical.program import (
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    OperateRoot,
    Program,
    ShuffleLeaf,
    SideValue,
    SinkLeaf,
    SortRoot,
    SourceRoot,
    TaskInput,
)  # fmt: skip
from dataflow.physical.stages import Phase, PhysicalPlan
from dataflow.plan.nodes import Operate
from dataflow.scheduling.determinism import check_same, runs_twice
from dataflow.scheduling.events import Clock, Policy, Task, Workers
from dataflow.scheduling.inputs import gathered, hash_ranges, key_ranges
from dataflow.scheduling.result import Output, RunResult, RunState, StepSummary
from dataflow.scheduling.scheduler import Scheduler
from dataflow.scheduling.skipped import SkippedRecords
from dataflow.shard.runfile import RunFile

__all__ = ["Job", "JobOptions", "Work"]

Filed = tuple[tuple[int, ...], int]
SPLIT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What the user chose. ``memory`` in bytes for the whole run; ``folders`` where shuffles are kept, the first preferred.

    ``compared_share``: of the tasks, that much runs twice, to be compared (`determinism`).
    """

    run: str
    memory: int
    folders: tuple[str, ...]
    skipped_to: str
    policy: Policy = field(default_factory=Policy)
    compared_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """A task's payload: what every attempt of it needs. ``small``: not worth another process; ``here``: no other can."""

    order: tuple[int, ...]
    phase: str
    input: TaskInput
    program: Program
    small: bool
    here: bool
    attempt: Callable[[str, int], Attempt]


class Job:
    """Runs a physical plan. ``workers`` are given by the runner; everything else is decided here."""

    def __init__(self, plan: PhysicalPlan, options: JobOptions, workers: Workers, clock: Clock) -> None:
        self.plan, self.options, self.workers, self.clock = plan, options, workers, clock
        self.state = RunState()
        self.result = RunResult(options.run)
        self.scheduler = Scheduler(
            workers,
            clock,
            options.policy,
            self._split,
            self._done,
            self._discard,
            self._corrupt,
            self._progress,
            self._ready,
            self._give_up,
            self._compare,
        )
        self.commit = Commit(options.run, list(plan.sinks))
        self.waiting = list(plan.phases)
        self.open: dict[str, set[str]] = {}
        self.files: dict[str, dict[Filed, RunFile]] = {}
        self.written: dict[int, dict[Filed, list[Any]]] = {}
        self.ordered: dict[str, tuple[Any, int, tuple[RunFile, ...]]] = {}  # `kept` for many readers of one shuffle
        self.filings = 0
        self.work: dict[str, Task] = {}
        self.remaking: set[str] = set()
        self.steps: dict[str, StepSummary] = {}
        self.stop = threading.Event()
        rules = {s.step.label: s.step.on_error for p in plan.phases for s in _all_steps(p.program.tree)}
        self.skipped = SkippedRecords(options.skipped_to, rules, self.result, self.steps)
        self.committing = False
        self.blamed: tuple[Work, str] | None = None

    # -- the run

    def run(self) -> RunResult:
        """Run to the end and commit, or leave every target as it was."""
        begun = self.clock.now()
        try:
            self.commit.begin()
            while self.waiting or self.open:
                self._open_phases()
                self.scheduler.run(until=self._something_whole)
                if self.stop.is_set():
                    raise KeyboardInterrupt
                self._close_phases()
            self.skipped.check_rates()
            self._commit()
        except KeyboardInterrupt:
            self.scheduler.cancel_all()
            self.commit.abort()
            raise KeyboardInterrupt("the run was stopped; no output became visible") from None
        except (WorkerCrashedError, MemoryLimitError) as error:
            self.scheduler.cancel_all()
            self.commit.abort()
            raise self._blamed(error) from error.__cause__
        except OSError as error:
            self.scheduler.cancel_all()
            self.commit.abort()
            where = str(error.filename or ", ".join(target.sink.path for target in self.commit.targets))
            raise OutputError(Report(f"an output cannot be written: {error}", location=where)) from error
        except BaseException:
            self.scheduler.cancel_all()
            self.commit.abort()
            raise
        self.result.seconds = self.clock.now() - begun
        self.result.steps = list(self.steps.values())
        self.result.retries, self.result.backups = self.scheduler.retries, self.scheduler.backups
        self.result.compared = self.scheduler.compared
        self.result.log = self.scheduler.log
        return self.result

    def _blamed(self, error: DataflowError) -> DataflowError:
        """The error of a task that was given up, with its steps, their line, and the row it was on."""
        if self.blamed is None:
            return error
        work, where = self.blamed
        steps = [bound.step for bound in _all_steps(work.program.tree)]
        first = next((step for step in steps if step.fn is not None), None)
        report = replace(
            error.report, steps=(work.program.label, *(step.label for step in steps[:6])), location=where or error.report.location
        )
        if first is not None:
            report = replace(report, declared=str(first.origin), declared_text=first.origin.text())
        return type(error)(report)

    def kept(self, name: str) -> tuple[RunFile, ...]:
        """The kept files of a view, in order."""
        found = self.files.get(name, {})
        known = self.ordered.get(name)
        if known is None or known[0] is not found or known[1] != self.filings:
            known = self.ordered[name] = (found, self.filings, tuple(found[order] for order in sorted(found)))
        return known[2]

    def side(self, name: str) -> SideValue:
        """A view's value, as files."""
        node = self.plan.views[name]
        if isinstance(node, Operate):
            return SideValue("singleton", self.kept(name))
        return SideValue(node.kind, self.kept(name), node.default)

    def _something_whole(self) -> bool:
        return self.stop.is_set() or any(not tasks for tasks in self.open.values())

    def _open_phases(self) -> None:
        """Start every phase whose inputs are whole."""
        unfinished = {name for phase in [*self.waiting, *(self._phase(n) for n in self.open)] for name in phase.feeds()}
        for phase in list(self.waiting):
            if phase.needs() & unfinished:
                continue
            self.waiting.remove(phase)
            tasks = self._patiently(phase)
            self.open[phase.name] = {task.id for task in tasks}
            self.state.tasks_total += len(tasks)
            self.state.phase = phase.name
            self.state.bytes_total += sum(task.payload.input.bytes for task in tasks)
            for task in tasks:
                self.work[task.id] = task
            self.scheduler.add(tasks)

    def _close_phases(self) -> None:
        for name in [name for name, tasks in self.open.items() if not tasks]:
            del self.open[name]
        for used in [used for used in self.files if used not in self.plan.views and self._is_past(used)]:
            self._remove(used)

    def _is_past(self, used: str) -> bool:
        """Whether nobody will read a shuffle again: neither its readers, nor they to make what they wrote anew."""
        readers = [phase for phase in self.plan.phases if used in phase.needs()]
        written = {name for phase in readers for name in phase.feeds()}
        after = [phase for phase in self.plan.phases if written & phase.needs()]
        return not any(phase in self.waiting or phase.name in self.open for phase in [*readers, *after, *self.plan.feeders(used)])

    def _phase(self, name: str) -> Phase:
        return next(phase for phase in self.plan.phases if phase.name == name)

    def _remove(self, name: str) -> None:
        """A shuffle that nobody reads any more leaves the disk."""
        for file in self.files.pop(name, {}).values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.path)

    # -- tasks

    def _patiently(self, phase: Phase) -> list[Task]:
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
        inputs = self._inputs(phase)
        number = self.plan.phases.index(phase)
        program = replace(phase.program, leaves=tuple(self._staged(leaf) for leaf in phase.program.leaves))
        total = sum(given.bytes for given in inputs)
        return [
            self._task(phase.name, (number, index), replace(given, seed=number * 1_000_003 + index), program, total)
            for index, given in enumerate(inputs)
        ]

    def _task(self, phase: str, order: tuple[int, ...], given: TaskInput, program: Program, total: int) -> Task:
        name = f"{phase}/{order[1]:05d}" + "".join(f".{part}" for part in order[2:])
        twice = len(order) == 2 and runs_twice(name, order[1] == 0, self.options.compared_share)

        def attempt(task: str, number: int) -> Attempt:
            current = self._current(program, phase, given)
            sides = {name: self.side(name) for name in program.sides}
            folders = self.options.folders
            share = self.options.memory // max(1, self.workers.slots)
            return Attempt(task, number, current, share, folders[number % len(folders)], sides, twice)

        return Task(name, phase, Work(order, phase, given, program, total < self.small_bytes, _of_this_process(program), attempt), twice)

    small_bytes = 24 << 20

    def _current(self, program: Program, phase: str, given: TaskInput) -> TaskInput:
        """The input with the files as they are now: one may have been made again since the task was planned."""
        source = self._phase(phase)
        if given.shuffle is not None and source.shuffle:
            return replace(given, shuffle=replace(given.shuffle, files=self.kept(source.shuffle)))
        if given.files:
            now = {file.producer: file for file in self.kept(source.kept or program.label)}
            return replace(given, files=tuple(now.get(file.producer, file) for file in given.files))
        return given

    def _staged(self, leaf: Any) -> Any:
        if isinstance(leaf, SinkLeaf):
            target = self.commit.targets[leaf.index]
            scheme = leaf.sink.path.split("://")[0] + "://" if "://" in leaf.sink.path and not target.fs.can_move_directories else ""
            return replace(leaf, staging=f"{scheme}{target.staging}/attempts")
        return leaf

    def _inputs(self, phase: Phase) -> list[TaskInput]:
        root = phase.program.root
        match root:
            case SourceRoot(source=source):
                try:
                    splits = source.splits(min(SPLIT_BYTES, max(1 << 20, self.options.memory // 16)))
                except (InputError, SchemaError) as error:
                    raise of_source(error, phase.program) from error.__cause__
                return gathered(splits, min(SPLIT_BYTES, max(1 << 20, self.options.memory // 16)))
            case GroupRoot() | DealRoot():
                return hash_ranges(self._feeding(phase.shuffle or ""), self.kept(phase.shuffle or ""), self.options.memory)
            case SortRoot():
                ranges = key_ranges(self.kept(phase.shuffle or ""), self.options.memory)
                return ranges[::-1] if root.descending else ranges
            case KeptRoot():
                return [TaskInput(files=(file,), bytes=file.bytes) for file in self.kept(phase.kept or phase.program.label)]
            case OperateRoot():
                return [TaskInput()]

    def _feeding(self, shuffle: str) -> ShuffleLeaf:
        """The leaf that its feeders have in common."""
        leaves = (leaf for feeder in self.plan.feeders(shuffle) for leaf in feeder.program.leaves)
        return next(leaf for leaf in leaves if isinstance(leaf, ShuffleLeaf) and leaf.shuffle == shuffle)

    # -- what the scheduler asks and tells

    def _done(self, task: Task, result: TaskResult) -> None:
        work: Work = task.payload
        self.state.running.pop(task.id, None)
        for place, (leaf, output) in enumerate(zip(work.program.leaves, result.outputs, strict=True)):
            filed = (work.order, place)  # several branches of one pass may feed the same sink or shuffle
            match leaf:
                case SinkLeaf(index=index):
                    self.written.setdefault(index, {})[filed] = output
                case ShuffleLeaf(shuffle=name) | KeepLeaf(name=name):
                    files = self.files.setdefault(name, {})
                    if output is not None:
                        files[filed] = output
                        self.filings += 1
        if task.id in self.remaking:
            self.remaking.discard(task.id)
            return  # its numbers were counted the first time
        self.open[work.phase].discard(task.id)
        self.result.tasks += 1
        self._count(work, result)
        self._enough(work)

    def _count(self, work: Work, result: TaskResult) -> None:
        final = self.result
        for name, count in result.counters.items():
            final.counters[name] = final.counters.get(name, 0) + count
        for label, stats in result.stats.items():
            step = self.steps.setdefault(label, StepSummary(label))
            step.rows_in += stats.rows_in
            step.rows_out += stats.rows_out
            step.skipped += stats.skipped
            step.seconds += stats.seconds
        if isinstance(work.program.root, SourceRoot):
            final.bytes_read += result.bytes_read
        final.bytes_spilled += result.bytes_spilled
        final.peak_memory = max(final.peak_memory, result.peak_memory)
        self.state.tasks_done += 1
        self.state.rows += result.rows_read
        self.state.bytes += work.input.bytes
        if result.skipped:
            final.skipped += result.skipped
            self.state.skipped = final.skipped
            self.skipped.take(result.skipped_path)
            for label in result.stats:
                self.skipped.check(label)

    def _enough(self, work: Work) -> None:
        """If only a few rows were asked for and the first tasks gave them, the others need not run."""
        leaves = work.program.leaves
        if not all(isinstance(leaf, KeepLeaf) and leaf.limit is not None for leaf in leaves):
            return
        for leaf in leaves:
            assert isinstance(leaf, KeepLeaf)
            assert leaf.limit is not None
            have = 0
            for task_id, task in sorted(
                ((t, self.work[t]) for t in self.work if self.work[t].group == work.phase), key=lambda p: p[1].payload.order
            ):
                if task_id in self.open[work.phase]:
                    break
                have += sum(file.rows for (order, _), file in self.files.get(leaf.name, {}).items() if order == task.payload.order)
            if have < leaf.limit:
                return
        for task_id in list(self.open[work.phase]):
            self.scheduler.drop(task_id)
        self.open[work.phase].clear()

    def _discard(self, task: Task, result: TaskResult) -> None:
        """Remove the files of an attempt that came second."""
        for output in result.outputs:
            for file in output if isinstance(output, list) else [output]:
                if file is not None:
                    with contextlib.suppress(OSError):
                        os.unlink(file.path)

    def _compare(self, task: Task, first: TaskResult, second: TaskResult) -> None:
        check_same(task.payload.program, first, second, self.commit.targets)

    def _progress(self, task: Task, rows: int, size: int) -> None:
        self.state.running[task.id] = (rows, size)

    def _corrupt(self, producer: str) -> bool:
        """A file of the run went bad: make it again, if the task that wrote it can still run."""
        task = self.work.get(producer)
        if task is None:
            return False
        if producer not in self.remaking:
            self.remaking.add(producer)
            self.scheduler.add([task], front=True)
        return True

    def _ready(self, task: Task) -> bool:
        if not self.remaking:
            return True
        needs = self._phase(task.payload.phase).needs()
        return not any(needs & self._phase(self.work[name].payload.phase).feeds() for name in self.remaking if name != task.id)

    def _split(self, task: Task, rows: tuple[int, int] | None, how: str) -> list[Task] | None:
        """The parts of a task that kills its worker: around the rows it died on, or halves of those; None for one row."""
        work: Work = task.payload
        low, high = work.input.rows
        if rows is not None and not (low <= rows[0] < (high if high is not None else rows[0] + 1)):
            rows = None  # a mark of another attempt
        if len(work.input.splits) > 1 and (low, high) == (0, None):
            half = len(work.input.splits) // 2
            size = work.input.bytes // 2
            pieces = [replace(work.input, splits=part, bytes=size) for part in (work.input.splits[:half], work.input.splits[half:])]
        else:
            if rows is None:
                if high is None:
                    return None
                rows = (low, high)
            first, last = max(low, rows[0]), rows[1] if high is None else min(high, rows[1])
            if (first, last) == (low, high) and last - first <= 1:
                return None
            middle = (first + last + 1) // 2
            edges: list[int | None] = [low, first, middle, last, *([high] if high != last else [])]
            ranges = [(a, b) for a, b in itertools.pairwise(edges) if b is None or (a is not None and a < b)]
            pieces = [replace(work.input, rows=(a or 0, b), bytes=work.input.bytes // len(ranges)) for a, b in ranges]
        parts = [self._task(work.phase, (*work.order, i), piece, work.program, SPLIT_BYTES) for i, piece in enumerate(pieces)]
        self.open[work.phase].discard(task.id)
        self.open[work.phase].update(part.id for part in parts)
        self.state.tasks_total += len(parts) - 1
        self.work.update((part.id, part) for part in parts)
        return parts

    def _give_up(self, task: Task, how: str) -> list[Task] | None:
        """A single row kills its worker: with on_error="skip" on a step of the phase it is set aside, else the run fails."""
        work: Work = task.payload
        row, end = work.input.rows
        where = f"{work.input.splits[0].name}, row {row + 1} of its split" if work.input.splits else f"element {row + 1} of {work.phase}"
        self.blamed = (work, where if end == row + 1 else "")
        if end != row + 1:
            return None
        label = next((s.step.label for s in _all_steps(work.program.tree) if s.step.on_error.skip), None)
        if label is None:
            return None
        self.skipped.add(label, where, f"worker died: {how}")
        step = self.steps.setdefault(label, StepSummary(label))
        step.rows_in += 1
        step.skipped += 1
        self.result.skipped += 1
        self.skipped.check(label)
        self.open[work.phase].discard(task.id)
        return []

    def _commit(self) -> None:
        for index, target in enumerate(self.commit.targets):
            files = self.written.get(index, {})
            target.files = [file for order in sorted(files) for file in files[order]]
            self.result.outputs.append(
                Output(target.sink.path, sum(f.rows for f in target.files), sum(f.bytes for f in target.files), len(target.files))
            )
        self.committing = True
        try:
            self.commit.commit()
        except SchemaError as error:
            at = next(i for i, target in enumerate(self.commit.targets) if target is self.commit.staging)
            leaves = (leaf for phase in self.plan.phases for leaf in phase.program.leaves)
            leaf = next(leaf for leaf in leaves if isinstance(leaf, SinkLeaf) and leaf.index == at)
            report = replace(error.report, steps=(leaf.label,), declared=leaf.declared, declared_text=leaf.declared_text)
            raise SchemaError(report) from error
        except OSError as error:
            raise OutputError(
                Report(
                    f"the outputs could not be committed: {error}",
                    location=str(error.filename or ""),
                    hint="the targets are as they were, or will be completed by the next run that opens them",
                )
            ) from error


def _of_this_process(program: Program) -> bool:
    """Whether a program reads or writes fsspec's ``memory://``, which lives in this process alone."""
    paths = list(getattr(program.root.source, "paths", ())) if isinstance(program.root, SourceRoot) else []
    paths += [leaf.sink.path for leaf in program.leaves if isinstance(leaf, SinkLeaf)]
    return any(path.startswith("memory://") for path in paths)


def _all_steps(branch: Any) -> list[Any]:
    return [*branch.steps, *(step for inner in branch.branches for step in _all_steps(inner))]
