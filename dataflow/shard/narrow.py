"""Decimals on their way through a shuffle: half the bytes, where their values fit 64 bits, and the same decimals behind it.

    decimal128(15, 2)   low word | high word (the sign again)   ──>   int64, with the type noted on the field   ──>   decimal128(15, 2)

Every byte of a shuffled record is copied into order, compressed, summed, written, read, and copied once more: four decimals of a line of
TPC-H are a third of it. Up to 18 digits always fit. Of more digits, as sums have, the values are looked at, if batches may differ in that.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from dataflow.shard.arrow import call, from_numpy, raw_numpy, to_numpy

__all__ = ["narrowed", "unnoted", "widened"]

FITS = 18  # digits: 10^18 < 2^63
_NOTE = b"decimal"


def narrowed(batch: pa.RecordBatch, by_value: bool) -> pa.RecordBatch:
    """A batch whose decimals are int64 where that loses nothing. ``by_value``: also those whose type does not say so."""
    arrays, fields = batch.columns, list(batch.schema)
    for at, field in enumerate(fields):
        if pa.types.is_decimal128(field.type) and (by_value or field.type.precision <= FITS):
            numbers = _numbers(arrays[at], field.type.precision > FITS)
            if numbers is not None:
                arrays[at] = numbers
                note = json.dumps([field.type.precision, field.type.scale]).encode()
                fields[at] = pa.field(field.name, pa.int64(), field.nullable, {**(field.metadata or {}), _NOTE: note})
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, batch.schema.metadata))


def widened(array: pa.Array, field: pa.Field) -> tuple[pa.Array, pa.Field]:
    """A column as it was before `narrowed`."""
    if field.metadata is None or _NOTE not in field.metadata:
        return array, field
    kind = pa.decimal128(*json.loads(field.metadata[_NOTE]))
    low = raw_numpy(array)
    words = np.empty((len(array), 2), np.int64)
    words[:, 0] = low
    np.right_shift(low, 63, out=words[:, 1])
    nulls = _bits(_there(array)) if array.null_count else None
    made = pa.Array.from_buffers(kind, len(array), [nulls, pa.py_buffer(words)])
    return made, unnoted(field).with_type(kind)


def unnoted(field: pa.Field) -> pa.Field:
    """A field of the user's without a note that looks like ours, which would be believed."""
    if field.metadata is None or _NOTE not in field.metadata:
        return field
    return field.with_metadata({key: value for key, value in field.metadata.items() if key != _NOTE})


def _numbers(array: pa.Array, check: bool) -> pa.Array | None:
    """The low words of decimals; None if ``check`` finds one that has more."""
    if not len(array):
        return pa.nulls(0, pa.int64())
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)[array.offset : array.offset + len(array)]
    low = np.ascontiguousarray(words[:, 0])
    there = _there(array) if array.null_count else None
    if check:
        fits = words[:, 1] == low >> 63
        if not bool((fits if there is None else fits | ~there).all()):
            return None
    return from_numpy(low) if there is None else pa.Array.from_buffers(pa.int64(), len(array), [_bits(there), pa.py_buffer(low)])


def _there(array: pa.Array) -> np.ndarray:
    """Whether each value is there."""
    return to_numpy(call("is_valid", array))


def _bits(there: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(there, bitorder="little"))
