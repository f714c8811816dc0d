"""The built-in aggregators over Arrow columns: keys and values in, one accumulator per key out, and merged again.

Accumulators are exactly those of the Python aggregators (`dataflow.algebra.aggregators`), as columns, so that a run
may mix both: where a batch has keys or values these kernels do not take, Python does that batch.

    kind     accumulator column(s)
    count    int64
    sum      int64 or double     (an int64 sum that could overflow is refused, and Python's integers take over)
    min/max  struct<0: value>    Python's (value,)
    mean     struct<0: sum, 1: count>
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataflow.algebra.aggregator import Native
from dataflow.shard.arrow import call, dictionary_encoded, from_numpy, to_numpy
from dataflow.shard.codec import Coding

__all__ = ["ACC_CODINGS", "accumulate", "is_native_key", "merge_accumulators"]

ACC_CODINGS: dict[str, Coding] = {"count": "p", "sum": "p", "min": ["t", "p"], "max": ["t", "p"], "mean": ["t", "p", "p"]}
_LIMIT = 2**62


def is_native_key(kind: pa.DataType) -> bool:
    """Whether Arrow's equality of such keys is the engine's (floats are not: NaN, and 1.0 equals 1)."""
    t = pa.types
    return t.is_large_string(kind) or t.is_string(kind) or t.is_int64(kind) or t.is_large_binary(kind) or t.is_date32(kind)


def accumulate(kind: Native, keys: pa.Array, values: pa.Array | None) -> tuple[pa.Array, pa.Array] | None:
    """(keys, accumulators) of one batch; None where these kernels must not do it. ``values`` None: only counted."""
    if kind == "count":
        counted = call("value_counts", keys)
        return counted.field(0), counted.field(1)
    if values is None:
        return None
    if kind in ("min", "max"):
        return merge_accumulators(kind, keys, _struct([values]))
    if kind == "mean":
        ones = from_numpy(np.ones(len(values), np.int64))
        return merge_accumulators(kind, keys, _struct([values, ones]))
    return merge_accumulators(kind, keys, values)


def merge_accumulators(kind: Native, keys: pa.Array, accs: pa.Array) -> tuple[pa.Array, pa.Array] | None:
    """One accumulator per key, of columns made by `accumulate` put end to end.

    Groups are numbered by dictionary encoding and folded by NumPy: as fast as Arrow's group_by for one column, whose
    import alone (with datasets and pandas behind it) takes longer than a small run may.
    """
    parts = [accs] if kind in ("count", "sum") else accs.flatten()
    if not all(_foldable(kind, part) for part in parts) or not (kind in ("min", "max") or _fits(parts[0])):
        return None
    coded = dictionary_encoded(keys)
    groups, distinct = to_numpy(coded.indices), coded.dictionary
    folded = [_folded(kind, groups, len(distinct), to_numpy(part)) for part in parts]
    return distinct, folded[0] if kind in ("count", "sum") else _struct(folded)


def _foldable(kind: Native, values: pa.Array) -> bool:
    """Whether NumPy folds such values as Python does: integers, and floats but for min and max (NaN comes last there)."""
    integers = pa.types.is_int64(values.type)
    return not values.null_count and (integers or (kind in ("sum", "mean") and pa.types.is_float64(values.type)))


def _folded(kind: Native, groups: np.ndarray, count: int, values: np.ndarray) -> pa.Array:
    """One number a group."""
    if kind in ("min", "max"):
        ends = np.iinfo(np.int64)
        out = np.full(count, ends.max if kind == "min" else ends.min, values.dtype)
        (np.minimum if kind == "min" else np.maximum).at(out, groups, values)
    else:
        out = np.zeros(count, values.dtype)
        np.add.at(out, groups, values)
    return from_numpy(out)


def present_accumulators(kind: Native, accs: pa.Array) -> pa.Array:
    """The results of accumulators, as the aggregator's ``present`` gives them."""
    if kind in ("count", "sum"):
        return accs
    parts = accs.flatten()
    if kind in ("min", "max"):
        return parts[0]
    # Python's division of integers is exact beyond 2**53, where Arrow's would round first, or refuse
    return pa.array([total / n for total, n in zip(parts[0].to_pylist(), parts[1].to_pylist(), strict=True)], pa.float64())


def _struct(parts: list[pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(parts, [str(i) for i in range(len(parts))])


def _fits(values: pa.Array) -> bool:
    """Whether no sum over these values, in any grouping, leaves 62 bits."""
    if not pa.types.is_integer(values.type) or not len(values):
        return True
    ends = call("min_max", values)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return max(abs(low), abs(high)) * len(values) < _LIMIT
