"""Groups, and merged accumulators, of shuffle rows that fit in memory.

Rows are ordered by hash and cut where it changes. Two keys of one hash are told apart by comparing the keys themselves,
so a collision costs time and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.aggregator import Aggregator
from dataflow.algebra.order import canonical, order_key
from dataflow.errors import DataflowError
from dataflow.execution.combine import DictCombiner
from dataflow.execution.context import TaskContext
from dataflow.execution.failures import step_error
from dataflow.execution.runner import exited
from dataflow.kernels.combining import ACC_CODINGS, is_native_key, merge_accumulators, present_accumulators
from dataflow.physical.program import GroupRoot
from dataflow.plan.steps import Step
from dataflow.shard.arrow import call, taken, to_numpy
from dataflow.shard.batch import Batch, Pairs
from dataflow.shard.codec import HASH, coding_of, decode, decode_batch

__all__ = ["groups_in_memory", "in_value_order", "keys_apart", "merged", "merged_groups"]

GROUPS = 4096
_SIMPLE = frozenset({str, bytes, int, float, bool, type(None)})


def groups_in_memory(root: GroupRoot, parts: list[pa.RecordBatch]) -> Iterator[Batch]:
    """The groups of rows at hand."""
    if not parts:
        return
    hashes, keys, values = _columns(parts)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    starts = np.concatenate([[0], np.flatnonzero(hashes[1:] != hashes[:-1]) + 1, [len(hashes)]])
    firsts, apart = _keys_of(keys, order, starts, hashes)
    values = _taken(values, order)
    if not apart:
        yield from _whole_runs(root, firsts, values, starts.tolist())
        return
    out_keys: list[Any] = []
    out_values: list[Any] = []
    for at, (i, j) in enumerate(itertools.pairwise(starts.tolist())):
        if i in apart:
            for key, group in keys_apart(apart[i], values[i:j]):
                out_keys.append(key)
                out_values.append(in_value_order(root, group))
        else:
            out_keys.append(firsts[at])
            out_values.append(in_value_order(root, values[i:j]))
        if len(out_keys) >= GROUPS:
            yield Pairs(out_keys, out_values)
            out_keys, out_values = [], []
    if out_keys:
        yield Pairs(out_keys, out_values)


def _whole_runs(root: GroupRoot, keys: list[Any], values: list[Any], starts: list[int]) -> Iterator[Batch]:
    """The groups where every run of equal hashes is one group: cut in C, twice as fast as a loop."""
    for at in range(0, len(keys), GROUPS):
        ends = starts[at : at + GROUPS + 1]
        groups = list(map(values.__getitem__, map(slice, ends, ends[1:])))
        if root.sort_values:
            groups = [in_value_order(root, group) for group in groups]
        yield Pairs(keys[at : at + GROUPS], groups)


def _keys_of(keys: Any, order: np.ndarray, starts: np.ndarray, hashes: np.ndarray) -> tuple[list[Any], dict[int, list[Any]]]:
    """The first key of every run of equal hashes; and, by their start, the keys of those runs that hold several.

    Where Arrow's equality is ours, the keys are compared as a column, and only the first of each run becomes Python.
    """
    if isinstance(keys, tuple) and keys[1] == "p" and is_native_key(keys[0].type) and not keys[0].null_count:
        column = taken(keys[0], order)
        differ = to_numpy(call("not_equal", column.slice(1), column.slice(0, max(0, len(column) - 1))))
        if not (differ & (hashes[1:] == hashes[:-1])).any():
            return decode(taken(column, starts[:-1]), "p"), {}
        everything = decode(column, "p")
    else:
        everything = _taken(keys, order)
    ends = dict(itertools.pairwise(starts.tolist()))
    apart = {start: everything[start : ends[start]] for start in _collisions(everything, hashes)}
    return [everything[start] for start in starts[:-1].tolist()], apart


def in_value_order(root: GroupRoot, values: list[Any]) -> list[Any]:
    if not root.sort_values:
        return values
    key = root.sort_key
    return sorted(values, key=(lambda v: order_key(key(v))) if key else order_key)


def _columns(parts: list[pa.RecordBatch]) -> tuple[np.ndarray, Any, Any]:
    """Hashes, and keys and values: still Arrow where all parts agree, else as lists."""
    hashes = np.concatenate([to_numpy(part.column(HASH)) for part in parts])
    codings = [coding_of(part) for part in parts]
    found: list[Any] = []
    for name, at in (("k", 1), ("v", 2)):
        columns = [part.column(name) for part in parts]
        if all(c[at] == codings[0][at] for c in codings) and len({c.type for c in columns}) == 1:
            found.append((pa.concat_arrays(columns), codings[0][at]))
        else:
            found.append([x for part, c in zip(columns, codings, strict=True) for x in decode(part, c[at])])
    return hashes, found[0], found[1]


def _taken(column: Any, order: np.ndarray) -> list[Any]:
    if isinstance(column, tuple):
        array, coding = column
        return decode(taken(array, order), coding)
    return list(map(column.__getitem__, order.tolist()))


def _collisions(keys: list[Any], hashes: np.ndarray) -> set[int]:
    """Where runs of one hash start that hold more than one key (keys equal by value may differ as objects)."""
    found: set[int] = set()
    for i in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
        one, two = keys[i], keys[i + 1]
        if one is two or (type(one) in _SIMPLE and type(two) in _SIMPLE and one == two):
            continue
        if canonical(one) != canonical(two):
            found.add(int(np.searchsorted(hashes, hashes[i])))
    return found


def keys_apart(keys: Sequence[Any], values: Sequence[Any]) -> Iterator[tuple[Any, list[Any]]]:
    groups: dict[Any, tuple[Any, list[Any]]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(canonical(key), (key, []))[1].append(value)
    yield from groups.values()


def merged_groups(root: GroupRoot, parts: list[pa.RecordBatch], context: TaskContext) -> Iterator[Batch]:
    """One result a key, of accumulators at hand."""
    assert root.merge is not None
    aggregator: Aggregator[Any, Any, Any] = root.merge.arg
    if not parts:
        return
    kind = aggregator.native
    codings = [coding_of(part) for part in parts]
    if kind is not None and all(c[1:] == ["p", ACC_CODINGS[kind]] for c in codings):
        shapes = {(part.column("k").type, part.column("v").type) for part in parts}
        if len(shapes) == 1 and is_native_key(parts[0].column("k").type):
            keys, accs = (pa.concat_arrays([part.column(name) for part in parts]) for name in "kv")
            found = merge_accumulators(kind, keys, accs)
            if found is not None:
                yield Pairs(found[0], present_accumulators(kind, found[1]))
                return
    keys_, accs_ = merged(root.merge, parts, context)
    for start in range(0, len(keys_), 1 << 16):
        part_keys, part_accs = keys_[start : start + (1 << 16)], accs_[start : start + (1 << 16)]
        yield Pairs(part_keys, _presented(root.merge, part_keys, part_accs, context))


def merged(step: Step, parts: list[pa.RecordBatch], context: TaskContext) -> tuple[list[Any], list[Any]]:
    """Each key with the one accumulator that all of its accumulators become."""
    combiner = DictCombiner(_Merging(step.arg))
    for part in parts:
        try:
            combiner.add(*decode_batch(part).pairs())
        except (Exception, SystemExit) as error:
            raise _failed(step, exited(error), combiner.failed_on(), context) from error
    return combiner.drain()


def _presented(step: Step, keys: list[Any], accs: list[Any], context: TaskContext) -> list[Any]:
    results: list[Any] = []
    try:
        results.extend(map(step.arg.present, accs))
        if len(results) < len(accs):
            raise RuntimeError("present raised StopIteration")  # which ends the loop as if there were no more
    except (Exception, SystemExit) as error:
        at = len(results)
        raise _failed(step, exited(error), (keys[at], accs[at]), context) from error
    return results


def _failed(step: Step, error: Exception, record: tuple[Any, Any], context: TaskContext) -> DataflowError:
    """The report of an aggregator that failed: its step, and the key with the accumulator it was to take or to present."""
    return step_error(step, error, record, "", context, (step.label,))


class _Merging(Aggregator[Any, Any, Any]):
    """An aggregator whose values are another's accumulators."""

    def __init__(self, inner: Aggregator[Any, Any, Any]) -> None:
        self.inner = inner

    def create(self) -> Any:
        return self.inner.create()

    def add(self, acc: Any, value: Any) -> Any:
        return self.inner.merge(acc, value)
