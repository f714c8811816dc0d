"""The debug mode that runs some tasks twice and compares: is every step a function of its input?

    task ──attempt 0──> result, held back ──attempt 1──> result ─┬─ the same:  the first counts, the second is thrown away
                                                                 └─ another:   `NotDeterministicError` names the step

A task may run again after a failure, or twice at once for a straggler, and what comes of it must not depend on that (MapReduce,
section 3.3: output "the same as a non-faulting sequential execution" is promised for deterministic functions alone). Unseeded random
numbers, the time, the order of a set, an accumulator that depends on the order of merging are found by doing on purpose what
else happens by accident.

What is compared: the checksums of what the attempts wrote; only where those differ the rows themselves, by value, because equal
values may have several spellings (a pickled set, Avro's random markers). The tasks that run twice also sum what each step gives,
which is how the step is found among all that were fused.
"""

from __future__ import annotations

import itertools
import pickle
import zlib
from collections.abc import Iterator
from typing import Any

from dataflow.errors import NotDeterministicError, Report, shorten
from dataflow.execution.task import TaskResult
from dataflow.io.staging import Staged
from dataflow.io.written import rows_of
from dataflow.physical.program import Branch, GroupRoot, Leaf, Program, ShuffleLeaf, SinkLeaf
from dataflow.plan.steps import Step
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import RunFile, read_block

__all__ = ["alike", "check_same", "runs_twice"]

HINT = "seed random numbers by the element, take the time once outside of the pipeline, sort what comes out of a set"
_MISSING = object()


def runs_twice(task: str, first: bool, share: float) -> bool:
    """Whether a task is among those that run twice: the first of its phase, and of all a share that its name decides.

    >>> [runs_twice(f"map/{i:05d}", i == 0, 0.01) for i in range(3)], runs_twice("map/00000", True, 0.0)
    ([True, False, False], False)
    >>> sum(runs_twice(f"map/{i:05d}", False, 0.1) for i in range(10_000)) // 100
    10
    """
    return share > 0 and (first or zlib.crc32(task.encode()) < share * (1 << 32))


def check_same(program: Program, first: TaskResult, second: TaskResult, targets: list[Staged]) -> None:
    """Raise if two attempts at one task did not write the same."""
    for leaf, one, two in zip(program.leaves, first.outputs, second.outputs, strict=True):
        if _sums(one) == _sums(two):
            continue
        rows = (_rows(leaf, output, targets) for output in (one, two))
        for before, after in itertools.zip_longest(*rows, fillvalue=_MISSING):
            if not alike(before, after):
                raise _found(program, leaf, first, second, before, after)


def _sums(output: RunFile | list[Any] | None) -> list[Any]:
    if output is None:
        return []
    if isinstance(output, RunFile):
        return [(block.rows, block.crc) for block in output.blocks]
    return [(file.folder, file.rows, file.crc) for file in output]


def _rows(leaf: Leaf, output: RunFile | list[Any] | None, targets: list[Staged]) -> Iterator[Any]:
    if isinstance(output, RunFile):
        for block in output.blocks:
            yield from decode_batch(read_block(output, block)).rows()
    elif isinstance(leaf, SinkLeaf):
        for file in output or []:
            for row in rows_of(targets[leaf.index].fs, file, leaf.sink):
                yield (file.folder, row) if file.folder else row


def alike(one: Any, two: Any) -> bool:
    """Whether two values are one value, however they are stored; NaN is NaN, and 1 is not 1.0.

    >>> alike([1, {"a": float("nan")}], [1, {"a": float("nan")}]), alike({"b", "a"}, {"a", "b"}), alike(1, 1.0)
    (True, True, False)
    """
    if type(one) is not type(two):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(alike(value, two[key]) for key, value in one.items())
    try:
        if one == two or (one != one and two != two):
            return True
    except Exception:  # an array has no one answer
        pass
    if hasattr(one, "__dict__") and getattr(type(one), "__eq__", None) == getattr(object, "__eq__", None):  # equal only to itself
        return alike(vars(one), vars(two))
    try:
        return pickle.dumps(one) == pickle.dumps(two)
    except Exception:  # nothing more can be said
        return True


def _found(program: Program, leaf: Leaf, first: TaskResult, second: TaskResult, before: Any, after: Any) -> NotDeterministicError:
    label, path, declared, text = _culprit(program, leaf, first, second)
    record = f"{_shown(before)}, and then {_shown(after)}"
    return NotDeterministicError(
        Report(
            f"{label} gave something else for the same input when its task ran again",
            steps=path,
            declared=declared,
            declared_text=text,
            record=record,
            attempt=f"{second.attempt + 1} of task {first.task}",
            hint=HINT,
        )
    )


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else shorten(value, 90)


def _culprit(program: Program, leaf: Leaf, first: TaskResult, second: TaskResult) -> tuple[str, tuple[str, ...], str, str]:
    """The first step, from the root down, that gave something else; if all gave the same, what stands at the leaf."""
    root = program.label
    if first.digests.get(root) != second.digests.get(root):
        step = program.root.merge if isinstance(program.root, GroupRoot) else None
        if step is not None:
            return step.label, (root, step.label), str(step.origin), step.origin.text()
        return root, (root,), program.declared, program.declared_text
    for step, path in _steps(program.tree, (root,)):
        if first.digests.get(step.label) != second.digests.get(step.label):
            return step.label, path, str(step.origin), step.origin.text()
    if isinstance(leaf, ShuffleLeaf):
        return leaf.combined_by or leaf.label, (root, leaf.label), leaf.declared, leaf.declared_text
    if isinstance(leaf, SinkLeaf):
        return leaf.label, (root, leaf.label), leaf.declared, leaf.declared_text
    return root, (root,), program.declared, program.declared_text


def _steps(branch: Branch, path: tuple[str, ...]) -> Iterator[tuple[Step, tuple[str, ...]]]:
    for bound in branch.steps:
        path = (*path, bound.step.label)
        yield bound.step, path
    for inner in branch.branches:
        yield from _steps(inner, path)
