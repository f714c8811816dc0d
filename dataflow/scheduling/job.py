"""A job: the phases of a plan, each turned into tasks when what it reads is whole, and one commit at the end.

    phases ──(inputs whole)──> tasks ──Scheduler──> manifests ──> shuffles, kept files, files of sinks
                                                                     └──(no phase left)──> results brought here ──> Commit

How many tasks a phase has depends on the bytes it reads, never on the number of workers, so the same input gives the
same files on any machine. The reader of a shuffle is planned when the shuffle is whole, from the sizes that are there.

The life of a manifest: an attempt ends, the scheduler takes the first one of its task and calls `_done`; its files are
filed under the shuffle, kept name or sink they belong to, in the order of tasks; a task that is run again because one
of its files went bad (`Lineage`) replaces its files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from dataflow.errors import MemoryLimitError, OutputError, Report, SchemaError, WorkerCrashedError
from dataflow.execution.task import TaskResult
from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import KeepLeaf, MergeRoot, ShuffleLeaf, SideValue, SinkLeaf
from dataflow.scheduling.accounts import Accounts
from dataflow.scheduling.bisection import Bisection
from dataflow.scheduling.enough import Enough
from dataflow.scheduling.events import Clock, Task, Workers
from dataflow.scheduling.filed import Filed, FiledFiles
from dataflow.scheduling.lineage import Lineage
from dataflow.scheduling.result import Output, RunResult, shown_bytes
from dataflow.scheduling.scheduler import Scheduler
from dataflow.scheduling.tasking import TaskMaker
from dataflow.scheduling.work import JobOptions, Work, all_steps
from dataflow.shard.places import remove_file

__all__ = ["Job"]


class Job:
    """Runs a physical plan. ``workers`` are given by the runner; everything else is decided here."""

    def __init__(self, plan: PhysicalPlan, options: JobOptions, workers: Workers, clock: Clock) -> None:
        self.plan, self.workers, self.clock = plan, workers, clock  # the plan is another one when sizes have decided (`_decided`)
        self.accounts = Accounts(options, {s.step.label: s.step.on_error for p in plan.phases for s in all_steps(p.program.tree)})
        self.state, self.result = self.accounts.state, self.accounts.result
        self.commit: Any = _commit_of(options.run, list(plan.sinks))
        self.files = FiledFiles()
        self.enough = Enough(self.files)
        self.maker = TaskMaker(plan, options, self.files, self.commit.targets, lambda: workers.parallel)
        self.lineage = Lineage(self.files, clock, lambda: self.plan, self._unfinished, lambda: self.scheduler)
        self.bisection = Bisection(self.maker, self.accounts, self._replaced)
        self.scheduler = Scheduler(
            workers,
            clock,
            options.policy,
            self.bisection.split,
            self._done,
            self._discard,
            self.lineage.corrupt,
            self._progress,
            self.lineage.ready,
            self.bisection.give_up,
            self._compare,
            self.lineage.lost,
            self.lineage.moved,
        )
        self.waiting = [phase.name for phase in plan.phases]
        self.looked_at: set[str] = set()  # shuffles: whether their files are to be put together
        self.open: dict[str, set[str]] = {}
        self.written: dict[int, dict[Filed, list[Any]]] = {}
        self.stop = threading.Event()
        self.committing = False

    def side(self, name: str) -> SideValue:
        """A view's value, as files."""
        return self.maker.side(name)

    # -- the run

    def run(self, results: Sequence[str] = ()) -> RunResult:
        """Run to the end and commit, or leave every target as it was. ``results``: the views that this process is going to read."""
        begun = self.clock.now()
        try:
            self.commit.begin()
            self._finish_phases()
            while self._bring(results):  # something went before it could be brought
                self._finish_phases()
            self.accounts.skipped.check_rates()
            self._commit()
        except KeyboardInterrupt:
            self.scheduler.cancel_all()
            self.commit.abort()
            raise KeyboardInterrupt("the run was stopped; no output became visible") from None
        except (WorkerCrashedError, MemoryLimitError) as error:
            self.scheduler.cancel_all()
            self.commit.abort()
            raise self.bisection.blame(error) from error.__cause__
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
        self.result.steps = list(self.accounts.steps.values())
        self.result.phases = list(self.accounts.phases.values())
        for summary in self.result.phases:
            summary.remarks = self.maker.remarks.get(summary.name, [])
        self.result.retries, self.result.backups = self.scheduler.retries, self.scheduler.backups
        self.result.compared = self.scheduler.compared
        self.result.log = self.scheduler.log
        return self.result

    def _finish_phases(self) -> None:
        while self.waiting or self.open or self.lineage.remaking:
            self._open_phases()
            self.scheduler.run(until=self._something_whole)
            if self.stop.is_set():
                raise KeyboardInterrupt
            self._close_phases()

    def _bring(self, results: Sequence[str]) -> bool:
        """Have results that lie elsewhere brought here, before they can be lost. Whether some were, and are to be made again."""
        away = [file for name in results if name in self.plan.views for file in self.files.kept(name) if file.place]
        if away:
            self.state.phase = "bringing results"
            for event in self.workers.bring(away):
                self.scheduler.hear(event)
        return bool(self.lineage.remaking)

    def _something_whole(self) -> bool:
        return self.stop.is_set() or any(not tasks for tasks in self.open.values())

    def _open_phases(self) -> None:
        """Start every phase whose inputs are whole."""
        self._merge()
        unfinished = {fed for name in [*self.waiting, *self.open] for fed in self.plan.phase(name).feeds()}
        for name in list(self.waiting):
            if self.plan.phase(name).needs() & unfinished:
                continue
            phase = self._decided(name)
            self.waiting.remove(name)
            tasks = self.maker.patiently(phase)
            self.open[phase.name] = {task.id for task in tasks}
            self.state.tasks_total += len(tasks)
            self.state.phase = phase.name
            self.state.bytes_total += sum(task.payload.input.bytes for task in tasks)
            for task in tasks:
                self.lineage.work[task.id] = task
            self.enough.opened(phase, tasks)
            self.scheduler.add(tasks)

    def _merge(self) -> None:
        """Have many small files put together where their readers are about to start."""
        unfinished = {fed for name in [*self.waiting, *self.open] for fed in self.plan.phase(name).feeds()}
        for phase in [self.plan.phase(name) for name in self.waiting]:
            shuffle = phase.shuffle
            if shuffle is None or shuffle in self.looked_at or phase.needs() & unfinished:
                continue
            self.looked_at.add(shuffle)
            if self.maker.would_merge(phase):
                from dataflow.physical.merging import with_merging

                self.maker.remark(phase.name, f"the {len(self.files.kept(shuffle)):,} files of {shuffle} were put together first")
                self.plan, passes = with_merging(self.plan, shuffle)
                self.maker.plan = self.plan
                self.waiting[:0] = passes
                unfinished.update(fed for name in passes for fed in self.plan.phase(name).feeds())

    def _decided(self, name: str) -> Phase:
        """A phase that is about to start, once it is seen whether what it joins with is small enough to be taken whole."""
        program = self.plan.phase(name).program
        feeds = any(isinstance(leaf, ShuffleLeaf) and leaf.kind == "columns" for leaf in program.leaves)
        if not feeds or isinstance(program.root, MergeRoot):  # what is put together was exchanged
            return self.plan.phase(name)
        from dataflow.physical.whole_sides import undecided, with_whole_side

        seen: set[str] = set()
        while found := next((one for one in undecided(self.plan, self.plan.phase(name)) if one[0] not in seen), None):
            shuffle, side, most = found
            seen.add(shuffle)
            size = sum(file.bytes for file in self.files.kept(shuffle) if file.side == side)
            if size <= most:
                self.plan = self.maker.plan = with_whole_side(self.plan, shuffle, side)
            which = f"the {('left', 'right')[side]} side of {shuffle} is {shown_bytes(size)}"
            self.maker.remark(
                name, f"{which}, goes whole to every part" if size <= most else f"{which}, too large to go whole to every part"
            )
        return self.plan.phase(name)

    def _unfinished(self, phase: str) -> bool:
        return phase in self.open or phase in self.waiting

    def _close_phases(self) -> None:
        for name in [name for name, tasks in self.open.items() if not tasks]:
            del self.open[name]
        self.lineage.settle()
        for name in self.lineage.spare():
            self.files.remove(name)

    # -- what the scheduler asks and tells

    def _done(self, task: Task, result: TaskResult) -> None:
        work: Work = task.payload
        self.bisection.seen(task, result)
        self.state.running.pop(task.id, None)
        late = False
        other: list[str] = []
        for place, (leaf, output) in enumerate(zip(work.program.leaves, result.outputs, strict=True)):
            filed = (work.order, place)  # several branches of one pass may feed the same sink or shuffle
            match leaf:
                case SinkLeaf(index=index):
                    self.written.setdefault(index, {})[filed] = output
                case ShuffleLeaf(shuffle=name) | KeepLeaf(name=name):
                    other += [name] if self.files.differs(name, filed, output) else []
                    late |= not self.files.file(name, filed, output)
        again = self.lineage.made_again(task)
        if late:
            self.lineage.late()
        self._read_again(other)
        if again:
            self.open.get(work.phase, set()).discard(task.id)
            return  # its numbers were counted the first time
        self.open[work.phase].discard(task.id)
        self.result.tasks += 1
        self.accounts.count(work, result)
        self._enough(work.phase)

    def _read_again(self, names: Iterable[str]) -> None:
        """Rows came in another order when they were made again: readers that tell them by their number all read anew, also those that are
        done. Else some rows would be read twice, and others by nobody."""
        for name in names:
            for task in self.lineage.by_number(name):
                if task.group in self.open:
                    self.open[task.group].add(task.id)
                self.lineage.anew(task)

    def _enough(self, phase: str) -> None:
        """If only a few rows were asked for and the first tasks gave them, the others need not run."""
        if self.enough.reached(phase, self.open[phase]):
            for task_id in list(self.open[phase]):
                self.scheduler.drop(task_id)
            self.open[phase].clear()

    def _replaced(self, task: Task, parts: list[Task]) -> None:
        """Other tasks stand for one that is no more."""
        if self.lineage.replaced(task, parts):  # what it wrote the first time stands beside what its parts will write
            self._read_again(self._unfile(task.payload))
            return
        opened = self.open[task.group]
        opened.discard(task.id)
        opened |= {part.id for part in parts}
        self.state.tasks_total += len(parts) - 1
        self.enough.replaced(task.group, parts)

    def _unfile(self, work: Work) -> list[str]:
        """Forget what a task wrote; gives the names under which there were files."""
        names: list[str] = []
        for place, leaf in enumerate(work.program.leaves):
            if isinstance(leaf, SinkLeaf):
                self.written.get(leaf.index, {}).pop((work.order, place), None)
            else:
                names.append(leaf.shuffle if isinstance(leaf, ShuffleLeaf) else leaf.name)
                self.files.forget(names[-1], (work.order, place))
        return names

    def _discard(self, task: Task, result: TaskResult) -> None:
        """Remove the files of an attempt that came second."""
        for output in result.outputs:
            for file in output if isinstance(output, list) else [output]:
                if file is not None:
                    with contextlib.suppress(OSError):
                        remove_file(getattr(file, "place", ""), file.path)

    def _compare(self, task: Task, first: TaskResult, second: TaskResult) -> None:
        from dataflow.scheduling.determinism import check_same

        check_same(task.payload.program, first, second, self.commit.targets)

    def _progress(self, task: Task, rows: int, size: int) -> None:
        self.state.running[task.id] = (rows, size)

    def _commit(self) -> None:
        for index, target in enumerate(self.commit.targets):
            files = self.written.get(index, {})
            target.files = [file for order in sorted(files) for file in files[order]]
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
        for target in self.commit.targets:  # the commit may have written files anew, or one for nothing
            self.result.outputs.append(
                Output(target.sink.path, sum(f.rows for f in target.files), sum(f.bytes for f in target.files), len(target.files))
            )


class _NothingToCommit:
    """The commit of a run that only looks at collections: such a run does without the module that knows how."""

    targets: tuple[Any, ...] = ()

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


def _commit_of(run: str, sinks: list[Any]) -> Any:
    if not sinks:
        return _NothingToCommit()
    from dataflow.io.commit import Commit

    return Commit(run, sinks)
