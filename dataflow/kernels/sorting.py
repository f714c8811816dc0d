"""The order of a column, in the engine's order (`dataflow.algebra.order`): null first, NaN last, strings by code point.

Measured on 500,000 strings of 100 bytes, one core: Arrow's sort_indices 0.29 s, Polars' arg_sort 0.49 s, an argsort of
the first 8 bytes as one big-endian integer 0.06 s. So strings are sorted by the 8 bytes behind their common prefix, and
only those that tie there are compared whole, by Arrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import order_key
from dataflow.shard.arrow import call, taken, to_numpy
from dataflow.shard.batch import numpy_offsets
from dataflow.shard.codec import Coding, decode
from dataflow.shard.keys import padded, string_words, word_at

__all__ = ["has_native_order", "key_at", "sort_order", "upper_bound"]


MOST_FIXED = 64  # bytes of strings of one length that are looked at for those that differ


def has_native_order(kind: pa.DataType, coding: Coding) -> bool:
    """Whether a column sorts here without becoming Python values."""
    t = pa.types
    return coding == "p" and (
        t.is_large_string(kind) or t.is_large_binary(kind) or t.is_signed_integer(kind) or t.is_boolean(kind)
        or t.is_float64(kind) or t.is_float32(kind) or t.is_date32(kind) or t.is_null(kind)
    )  # fmt: skip


def sort_order(column: pa.Array, coding: Coding = "p") -> np.ndarray:
    """The places of the rows in ascending order, equal rows in the order given.

    >>> sort_order(pa.array(["b", None, "a"], pa.large_string())).tolist()
    [1, 2, 0]
    """
    if not has_native_order(column.type, coding):
        keys = [order_key(value) for value in decode(column, coding)]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    if pa.types.is_null(column.type):
        return np.arange(len(column))
    if column.null_count:
        empty = to_numpy(column.is_null())
        nulls, full = np.flatnonzero(empty), np.flatnonzero(~empty)
        return np.concatenate([nulls, full[sort_order(column.drop_null())]])
    if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
        return _string_order(column)
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    return np.argsort(to_numpy(column), kind="stable")


def _string_order(column: pa.Array) -> np.ndarray:
    if not len(column):
        return np.empty(0, np.int64)
    ends, data = numpy_offsets(column)
    if 0 < (width := int(ends[1] - ends[0])) <= MOST_FIXED and bool((np.diff(ends) == width).all()):
        word = _packed(data[int(ends[0]) : int(ends[-1])].reshape(-1, width))
        if word is not None:
            return np.argsort(word, kind="stable")
    skip = _common_prefix(column)
    starts, left = ends[:-1] + skip, np.diff(ends) - skip
    words = string_words(data, big_endian=True)
    if len(words) == 0 or int(ends[-1]) > len(words):  # the last strings lie within 8 bytes of the buffer's end
        low = int(ends[0])
        words, starts = string_words(padded(data[low : int(ends[-1])]), big_endian=True), starts - low
    first = word_at(words, starts, left, True)
    order = np.argsort(first, kind="stable")
    ranked = first[order]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return order
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    places = np.flatnonzero(tied)
    rows = order[places]
    if int(left[rows].max()) <= 8 and int(left[rows].min()) == int(left[rows].max()):
        return order  # equal words of equal length are equal strings
    table = pa.table({"word": ranked[places], "text": taken(column, rows)})
    import pyarrow.compute as pc

    order[places] = rows[pc.sort_indices(table, [("word", "ascending"), ("text", "ascending")]).to_numpy()]
    return order


def _packed(rows: np.ndarray) -> np.ndarray | None:
    """Strings of one length as numbers of the same order, made of the bytes that differ; None if more than 8 do.

    The encoded keys of a sort by a date and a number are 14 bytes, of which 6 differ: the rest says "not null" or is zero.
    """
    word = np.zeros(len(rows), np.uint64)
    differ = 0
    for at in range(rows.shape[1]):
        column = rows[:, at]
        if (column != column[0]).any():
            differ += 1
            if differ > 8:
                return None
            word = (word << np.uint64(8)) | column
    return word


def _common_prefix(column: pa.Array) -> int:
    """How many bytes all the strings begin with: those that the smallest and the largest share."""
    ends = call("min_max", column)
    low, high = (v if isinstance(v, bytes) else v.encode() for v in (ends["min"].as_py(), ends["max"].as_py()))
    return next((i for i, (one, two) in enumerate(zip(low, high, strict=False)) if one != two), min(len(low), len(high)))


def key_at(column: pa.Array, coding: Coding, index: int) -> Any:
    """The comparable stand-in of one row's key."""
    return order_key(decode(column.slice(index, 1), coding)[0])


def upper_bound(column: pa.Array, coding: Coding, bound: Any, *, strict: bool = False) -> int:
    """In a sorted column, how many rows are at most ``bound`` (``strict``: below it), an `order_key`."""
    low, high = 0, len(column)
    while low < high:
        middle = (low + high) // 2
        at = key_at(column, coding, middle)
        if at < bound or (at == bound and not strict):
            low = middle + 1
        else:
            high = middle
    return low
