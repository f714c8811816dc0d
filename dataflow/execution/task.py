"""One task attempt, from its input to its manifest.

    TaskInput ─> root (batches with their place) ─> Flow (steps) ─> leaves ─close─> TaskResult (the manifest)

A task is a pure function of its input: it may run again, or twice at once. Everything it writes has a name of this
attempt alone; what is not in the manifest that the scheduler takes does not count and is removed.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from dataflow.counters import collect_counters
from dataflow.execution.context import StepStats, TaskContext
from dataflow.execution.failures import step_error
from dataflow.execution.flow import Flow, build_flow
from dataflow.execution.group import read_groups, read_range
from dataflow.execution.ordered import read_sorted
from dataflow.execution.shuffle import KeepWriter, ShuffleWriter
from dataflow.execution.sides import load_side
from dataflow.io.sink import SinkWriter
from dataflow.physical.program import (
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    Leaf,
    OperateRoot,
    Program,
    ShuffleLeaf,
    SideValue,
    SinkLeaf,
    SortRoot,
    SourceRoot,
    TaskInput,
)  # fmt: skip
from dataflow.shard.batch import Batch, Rows
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import read_block

__all__ = ["Attempt", "TaskResult", "run_task"]


@dataclass(frozen=True)
class Attempt:
    """What a worker is sent for one attempt, besides the phase's program."""

    task: str
    attempt: int
    input: TaskInput
    memory: int
    spill: str
    sides: dict[str, SideValue] = field(default_factory=dict)


@dataclass
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


def run_task(
    program: Program, attempt: Attempt, mark: Callable[[int, int], None] | None = None, watch: Callable[[TaskContext], None] | None = None
) -> TaskResult:
    """Run one attempt. Raises the report of whatever went wrong, after removing what it wrote."""
    begun = perf_counter()
    given = attempt.input
    sides = {name: load_side(value) for name, value in attempt.sides.items()}
    context = TaskContext(attempt.task, attempt.attempt, attempt.memory, attempt.spill, given.seed, sides, mark)
    if watch:
        watch(context)
    share = attempt.memory // max(1, sum(isinstance(leaf, ShuffleLeaf) for leaf in program.leaves))
    writers: list[Any] = []
    with collect_counters() as counters:
        try:
            for index, leaf in enumerate(program.leaves):
                writers.append(_writer(leaf, index, attempt, context, share))
            flow = build_flow(program.tree, writers, context, program.label)
            _drive(program, given, flow, writers, context)
            outputs = [writer.close() for writer in writers]
        except BaseException:
            for writer in writers:
                with suppress(Exception):
                    writer.abort()
            if context.skipped_path:
                with suppress(FileNotFoundError):
                    os.unlink(context.skipped_path)
            raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return TaskResult(
        attempt.task, attempt.attempt, outputs, counters, context.stats, context.rows_read, context.bytes_read,
        context.bytes_spilled, context.skipped_count, context.skipped_path, perf_counter() - begun, peak,
    )  # fmt: skip


def _writer(leaf: Leaf, index: int, attempt: Attempt, context: TaskContext, share: int) -> Any:
    match leaf:
        case ShuffleLeaf():
            return ShuffleWriter(leaf, context, share)
        case SinkLeaf():
            name = f"{attempt.task.replace('/', '_').replace(' ', '_')}-{index}-{attempt.attempt}-{os.getpid()}"
            return SinkWriter(leaf.sink, leaf.staging, name)
        case KeepLeaf():
            return KeepWriter(leaf, context)


def _drive(program: Program, given: TaskInput, flow: Flow, writers: list[Any], context: TaskContext) -> None:
    """Push the root's batches through the flow, those rows only that the task was restricted to."""
    flow.start()
    low, high = given.rows
    limited = [w for w in writers if isinstance(w, KeepWriter) and w.leaf.limit is not None]
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
            offset = max(0, low - first)
            stop = min(len(batch), (high if high is not None else after) - first)
            batch = batch.slice(offset, max(offset, stop))
            context.rows_read = first + offset
        if len(batch):
            context.enter(batch, place, offset)
            stats.rows_in += len(batch)
            stats.rows_out += len(batch)
            flow.push(batch)
        context.rows_read = after
        if (high is not None and after >= high) or (limited and all(w.full for w in limited) and len(limited) == len(writers)):
            break
    context.root = None
    flow.finish()


def _root(program: Program, given: TaskInput, context: TaskContext) -> Iterator[tuple[Batch, Any]]:
    match program.root:
        case SourceRoot(source=source):
            for split in given.splits:
                for piece in source.read(split):
                    context.receive(piece, program.label)
                    yield piece.batch, piece.place
        case GroupRoot() as root:
            assert given.shuffle is not None
            for batch in read_groups(root, given.shuffle, context):
                yield batch, None
        case SortRoot() as root:
            assert given.shuffle is not None
            for batch in read_sorted(root, given.shuffle, context):
                yield batch, None
        case DealRoot():
            assert given.shuffle is not None
            for part in read_range(given.shuffle, given.shuffle.first or 0, given.shuffle.last or 1 << 16):
                yield decode_batch(part), None
        case KeptRoot():
            for file in given.files:
                for block in file.blocks:
                    context.bytes_read += block.length
                    yield decode_batch(read_block(file, block)), None
        case OperateRoot(fn=fn, args=args):
            yield Rows([_operated(program, fn, args, context)]), None


def _operated(program: Program, fn: Callable[..., Any], args: tuple[str, ...], context: TaskContext) -> Any:
    from dataflow.plan.origin import Origin
    from dataflow.plan.steps import Step

    values = [context.sides[name] for name in args]
    try:
        return fn(*values)
    except Exception as error:
        origin = getattr(fn, "__dataflow_origin__", None) or Origin("", 0, "")
        raise step_error(Step("map", program.label, origin), error, tuple(values), "", context, (program.label,)) from error


def free_memory() -> None:
    """Give memory that is free back to the operating system: a worker's peak is part of the run's."""
    gc.collect()
    with suppress(Exception):
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
