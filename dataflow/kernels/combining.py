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

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.algebra.aggregator import Native
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
        counted = pc.value_counts(keys)
        return counted.field(0), counted.field(1)
    if values is None or values.null_count:
        return None
    if not (pa.types.is_int64(values.type) or (pa.types.is_float64(values.type) and kind in ("sum", "mean"))):
        return None
    if kind in ("min", "max"):
        grouped = _grouped(keys, {"v": values}, [("v", kind)])
        return grouped.column("k").combine_chunks(), _struct([grouped.column(f"v_{kind}").combine_chunks()])
    if not _fits(values):
        return None
    grouped = _grouped(keys, {"v": values}, [("v", "sum")] + ([("v", "count")] if kind == "mean" else []))
    sums = grouped.column("v_sum").combine_chunks()
    if kind == "mean":
        return grouped.column("k").combine_chunks(), _struct([sums, grouped.column("v_count").combine_chunks()])
    return grouped.column("k").combine_chunks(), sums


def merge_accumulators(kind: Native, keys: pa.Array, accs: pa.Array) -> tuple[pa.Array, pa.Array] | None:
    """One accumulator per key, of columns made by `accumulate` put end to end."""
    if kind in ("count", "sum"):
        if not _fits(accs):
            return None
        grouped = _grouped(keys, {"v": accs}, [("v", "sum")])
        return grouped.column("k").combine_chunks(), grouped.column("v_sum").combine_chunks()
    parts = accs.flatten()
    if kind in ("min", "max"):
        grouped = _grouped(keys, {"v": parts[0]}, [("v", kind)])
        return grouped.column("k").combine_chunks(), _struct([grouped.column(f"v_{kind}").combine_chunks()])
    if not _fits(parts[0]):
        return None
    grouped = _grouped(keys, {"s": parts[0], "n": parts[1]}, [("s", "sum"), ("n", "sum")])
    return grouped.column("k").combine_chunks(), _struct([grouped.column(f"{c}_sum").combine_chunks() for c in "sn"])


def present_accumulators(kind: Native, accs: pa.Array) -> pa.Array:
    """The results of accumulators, as the aggregator's ``present`` gives them."""
    if kind in ("count", "sum"):
        return accs
    parts = accs.flatten()
    if kind in ("min", "max"):
        return parts[0]
    # Python's division of integers is exact beyond 2**53, where Arrow's would round first, or refuse
    return pa.array([total / n for total, n in zip(parts[0].to_pylist(), parts[1].to_pylist(), strict=True)], pa.float64())


def _grouped(keys: pa.Array, columns: dict[str, pa.Array], how: list[tuple[str, str]]) -> pa.Table:
    return pa.table({"k": keys, **columns}).group_by("k", use_threads=False).aggregate(how)


def _struct(parts: list[pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(parts, [str(i) for i in range(len(parts))])


def _fits(values: pa.Array) -> bool:
    """Whether no sum over these values, in any grouping, leaves 62 bits."""
    if not pa.types.is_integer(values.type) or not len(values):
        return True
    ends = pc.min_max(values)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return max(abs(low), abs(high)) * len(values) < _LIMIT
