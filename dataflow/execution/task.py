"""One task attempt, from its input to its manifest.

    TaskInput ─> root (batches with their place) ─> Flow (steps) ─> leaves ─close─> TaskResult (the manifest)

A task is a pure function of its input: it may run again, or twice at once. Everything it writes has a name of this
attempt alone; what is not in the manifest that the scheduler takes does not count and is removed.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from time import monotonic, perf_counter
from typing import Any

import pyarrow as pa

from dataflow.counters import collect_counters
from dataflow.errors import DataflowError, InputError, Report, SchemaError, StepError
from dataflow.execution.context import StepStats, TaskContext, text_of
from dataflow.execution.failures import of_source, step_error, trace_of, user_frames
from dataflow.execution.flow import Flow, build_flow
from dataflow.execution.kept import KeepWriter
from dataflow.execution.sides import load_side
from dataflow.io.bundling import bundled
from dataflow.io.source import Piece, Source
from dataflow.physical.program import (
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    Leaf,
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
from dataflow.record import record
from dataflow.shard.batch import Batch, Rows
from dataflow.shard.codec import decode_batch
from dataflow.shard.places import expect_reads
from dataflow.shard.runfile import RunFile, read_block

__all__ = ["Attempt", "TaskResult", "run_task"]

ALIKE = 16 << 20  # bytes of memory of the parts of a task that was cut by rows: groups come in an order that depends on it
READ_AHEAD = 8  # the part of an attempt's memory for what comes from other machines before it is asked for


@record(eq=True)
class Attempt:
    """What a worker is sent for one attempt, besides the phase's program. ``spill``: the folder of its files; ``shared``: the one in
    storage that all machines see, for those that other tasks read. ``compared``: its task runs twice, to be compared."""

    task: str
    attempt: int
    input: TaskInput
    memory: int
    spill: str
    sides: dict[str, SideValue] = field(default_factory=dict)
    compared: bool = False
    shared: str = ""

    def with_files(self, files: tuple[RunFile, ...]) -> Attempt:
        """The same, of a shuffle of these files."""
        assert self.input.shuffle is not None
        return replace(self, input=replace(self.input, shuffle=replace(self.input.shuffle, files=files)))


@record(frozen=False, eq=True)
class TaskResult:
    """The manifest of an attempt: what it wrote, for each leaf, and what it counted."""

    task: str
    attempt: int
    outputs: list[Any]
    counters: dict[str, int]
    stats: dict[str, StepStats]
    rows_read: int
    bytes_read: int
    bytes_spilled: int
    skipped: int
    skipped_path: str
    seconds: float
    peak_memory: int
    digests: dict[str, int] = field(default_factory=dict)


def run_task(
    program: Program, attempt: Attempt, mark: Callable[[int, int], None] | None = None, watch: Callable[[TaskContext], None] | None = None
) -> TaskResult:
    """Run one attempt. Raises the report of whatever went wrong, after removing what it wrote."""
    begun = perf_counter()
    given = attempt.input
    sides = {name: load_side(value) for name, value in attempt.sides.items()}
    cut = given.rows != (0, None)  # rows are told by their number: all parts of a task must count them alike
    memory = min(attempt.memory, ALIKE) if cut else attempt.memory
    context = TaskContext(
        attempt.task, attempt.attempt, memory, attempt.spill, given.seed, sides, mark, shared=attempt.shared, ordered=cut
    )  # fmt: skip
    if attempt.compared:
        context.digests = {}
    if watch:
        watch(context)
    share = memory // max(1, sum(isinstance(leaf, ShuffleLeaf) for leaf in program.leaves))
    writers: list[Any] = []
    with collect_counters() as counters:
        try:
            for index, leaf in enumerate(program.leaves):
                writers.append(_writer(leaf, index, attempt, context, share))
            flow = build_flow(program.tree, writers, context, program.label)
            expect_reads(given.ranges, attempt.memory // READ_AHEAD)
            _drive(program, given, flow, writers, context)
            outputs = [writer.close() for writer in writers]
            expect_reads(list, 0)
        except BaseException as error:
            for writer in writers:
                with suppress(Exception):
                    writer.abort()
            if context.skipped_path:
                with suppress(FileNotFoundError):
                    os.unlink(context.skipped_path)
            if isinstance(error, SchemaError) and not error.report.steps:
                raise SchemaError(_with_path(error.report, program)) from error
            if isinstance(error, (DataflowError, OSError, MemoryError, KeyboardInterrupt)):
                raise
            sentence = f"{program.label} failed: {type(error).__name__}: {text_of(error)[:300]}"
            place = context.whereabouts()
            raise StepError(
                Report(sentence, steps=(program.label,), failed=user_frames(error), location=place, trace=trace_of(error))
            ) from error
    return TaskResult(
        attempt.task, attempt.attempt, outputs, counters, context.stats, context.rows_read, context.bytes_read,
        context.bytes_spilled, context.skipped_count, context.skipped_path, perf_counter() - begun, peak_memory(),
        context.digests or {},
    )  # fmt: skip


def _with_path(report: Report, program: Program) -> Report:
    """A report with the steps that made the records, as far as there is one way, and the line of the last."""
    steps, tree = [one.step for one in program.tree.steps], program.tree
    while len(tree.branches) == 1 and not tree.leaves:
        (tree,) = tree.branches
        steps += [one.step for one in tree.steps]
    path = tuple(dict.fromkeys((program.label, *(step.label for step in steps))))
    if not steps:
        return replace(report, steps=path, declared=program.declared, declared_text=program.declared_text)
    return replace(report, steps=path, declared=str(steps[-1].origin), declared_text=steps[-1].origin.text())


def _writer(leaf: Leaf, index: int, attempt: Attempt, context: TaskContext, share: int) -> Any:
    match leaf:
        case ShuffleLeaf():
            from dataflow.execution.shuffle import ShuffleWriter

            return ShuffleWriter(leaf, context, share)
        case SinkLeaf():
            name = f"{attempt.task.replace('/', '_').replace(' ', '_')}-{index}-{attempt.attempt}-{os.getpid()}"
            from dataflow.io.sink_writer import SinkWriter  # a run that only looks does without

            return _NamedSink(SinkWriter(leaf.sink, leaf.staging, name), leaf, context)
        case KeepLeaf():
            return KeepWriter(leaf, context)


class _NamedSink:
    """A sink's writer whose errors name the write and its line."""

    def __init__(self, writer: Any, leaf: SinkLeaf, context: TaskContext) -> None:
        self.writer, self.leaf, self.context = writer, leaf, context
        self.abort = writer.abort

    def push(self, batch: Batch) -> None:
        with self._named():
            self.writer.push(batch)

    def close(self) -> Any:
        with self._named():
            return self.writer.close()

    @contextmanager
    def _named(self) -> Generator[None]:
        try:
            yield
        except (DataflowError, pa.ArrowException) as error:
            report = (
                error.report
                if isinstance(error, DataflowError)
                else Report(f"the rows cannot be written as {self.leaf.sink.format}: {error}")
            )
            kind = type(error) if isinstance(error, DataflowError) else SchemaError
            leaf = self.leaf
            place = "; ".join(text for text in (report.location, self.context.whereabouts()) if text)
            raise kind(
                replace(report, steps=(leaf.label,), declared=leaf.declared, declared_text=leaf.declared_text, location=place)
            ) from error


def _drive(program: Program, given: TaskInput, flow: Flow, writers: list[Any], context: TaskContext) -> None:
    """Push the root's batches through the flow, those rows only that the task was restricted to."""
    flow.start()
    low, high = given.rows
    limits = [w.leaf.limit for w in writers if isinstance(w, KeepWriter) and w.leaf.limit is not None]
    few = max(1, *limits) if limits and len(limits) == len(writers) else 0  # that many are enough
    stats = context.step(program.label)
    source = _root(program, given, context)
    while True:
        begun = perf_counter()
        found = next(source, None)
        stats.seconds += perf_counter() - begun
        if found is None:
            break
        batch, place = found
        first = context.rows_read
        after = first + len(batch)
        offset = 0
        if first < low or (high is not None and after > high):
            offset = min(len(batch), max(0, low - first))
            stop = min(len(batch), (high if high is not None else after) - first)
            batch = batch.slice(offset, max(offset, stop))
            context.rows_read = first + offset
        if len(batch):
            for part in _growing(batch, few) if few else (batch,):
                context.enter(part, place, offset)
                stats.rows_in += len(part)
                stats.rows_out += len(part)
                context.gave(program.label, part)
                flow.push(part)
                offset += len(part)
                context.rows_read = first + offset
                if few and all(w.full for w in writers):
                    break
        context.rows_read = after
        if (high is not None and after >= high) or (few and all(w.full for w in writers)):
            break
    context.root = None
    flow.finish()


def _growing(batch: Batch, first: int) -> Iterator[Batch]:
    """A batch in parts of which each is twice as long as the one before: where few records are enough, functions see few."""
    start, count = 0, first
    while start < len(batch):
        yield batch.slice(start, min(start + count, len(batch)))
        start, count = start + count, 2 * count


def _root(program: Program, given: TaskInput, context: TaskContext) -> Iterator[tuple[Batch, Any]]:
    match program.root:
        case SourceRoot(source=source):
            for piece in _pieces(program, source, given):
                # of a task that is restricted to some rows, the part with the first row accounts for bad ones
                context.receive(piece if given.rows[0] == 0 else replace(piece, bad=[]), program.label)
                yield piece.batch, piece.place
        case GroupRoot() as root:
            from dataflow.execution.group import read_groups

            assert given.shuffle is not None
            for batch in read_groups(root, given.shuffle, context):
                yield batch, None
        case SortRoot() as root:
            from dataflow.execution.ordered import read_sorted

            assert given.shuffle is not None
            for batch in read_sorted(root, given.shuffle, context):
                yield batch, None
        case DealRoot():
            from dataflow.execution.group import read_range

            assert given.shuffle is not None
            for part in read_range(given.shuffle, given.shuffle.first or 0, given.shuffle.last or 1 << 16):
                yield decode_batch(part), None
        case KeptRoot():
            for file in given.files:
                for block in file.blocks:
                    context.bytes_read += block.length
                    yield decode_batch(read_block(file, block)), None
        case MergeRoot():
            from dataflow.execution.shuffle import Shuffled

            for file in given.files:
                for block in file.blocks:
                    context.bytes_read += block.length
                    yield Shuffled(read_block(file, block)), None
        case ScanRoot() as root:
            from dataflow.execution.queries import run_scan

            for batch in run_scan(root, given.splits, program.label, context):
                yield batch, None
        case PieceRoot() as root:
            from dataflow.execution.queries import run_piece

            assert given.shuffle is not None
            for batch in run_piece(root, given.shuffle, program.label, context):
                yield batch, None
        case QueryRoot() as root:
            from dataflow.execution.queries import run_query

            for batch in run_query(root, program.label, context.sides, context):
                yield batch, None
        case OperateRoot(fn=fn, args=args):
            yield Rows([_operated(program, fn, args, context)]), None


def _pieces(program: Program, source: Source, given: TaskInput) -> Iterator[Piece]:
    try:
        yield from bundled(source.read_all(given.splits))
    except (InputError, SchemaError) as error:
        raise of_source(error, program) from error.__cause__


def _operated(program: Program, fn: Callable[..., Any], args: tuple[str, ...], context: TaskContext) -> Any:
    from dataflow.plan.origin import Origin
    from dataflow.plan.steps import Step

    values = [context.sides[name] for name in args]
    try:
        return fn(*values)
    except Exception as error:
        origin = getattr(fn, "__dataflow_origin__", None) or Origin("", 0, "")
        raise step_error(Step("map", program.label, origin), error, tuple(values), "", context, (program.label,)) from error


def peak_memory() -> int:
    """The most bytes this process has held. Not ``ru_maxrss``: a child begins with what its parent held at the fork."""
    try:
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


SELDOM = 10.0
_thorough = [monotonic()]  # when everything was looked at


def free_memory(share: int = 0) -> None:
    """Give memory that is free back to the operating system, if this process holds more than its share: its peak is part of the run's.
    The next task takes the rest as it is, where pages that were given back would have to be cleared and mapped again.

    What is alive is not looked at again, or every task would pay for all that was ever imported (65 ms, a tenth of a grouping's work,
    five times the work of a task of 5 ms), but for once in a while: a cycle may have come to its end after it was put aside.
    """
    if monotonic() - _thorough[0] >= SELDOM:
        gc.unfreeze()
        _thorough[0] = monotonic()
    gc.collect()
    gc.freeze()
    if resident_memory() > share:
        with suppress(Exception):
            import pyarrow as pa

            pa.default_memory_pool().release_unused()


def resident_memory() -> int:
    """The bytes this process holds now; where that cannot be said, more than anyone's share."""
    try:
        with open("/proc/self/statm", "rb") as status:
            return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 1 << 62
