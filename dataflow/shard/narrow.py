"""Columns on their way through a shuffle: fewer bytes where their values allow it, and the same columns behind it.

    decimal128(15, 2)   low word | high word (the sign again)   ──>   int64     the type is noted on the field
    int64, int32        values of a few thousand                ──>   int16     likewise
    texts               of few different values                 ──>   places in a dictionary of them (`repeats`)

Every byte of a shuffled record is copied into order, compressed, summed, written, read, and copied once more. A line of TPC-H takes 189
bytes plain and 72 so: four decimals, four numbers, and four texts of seven values at most. Decimals of up to 18 digits always fit 64 bits;
of those of more digits, as sums have, the values are looked at, if batches may differ in that.

A number is given the width of the first batch, with room for values four times as large, and a larger one when it needs one (`Narrowing`).
So batches of one shuffle may differ; `together` makes one of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dataflow.shard import repeats
from dataflow.shard.arrow import call, cast, from_numpy, raw_numpy, to_numpy

__all__ = ["Narrowing", "alike", "plain_where_large", "together", "unnoted", "wide_batch", "wide_bytes", "widened"]

FITS = 18  # digits: 10^18 < 2^63
ROOM = 4  # times the largest value seen
_DECIMAL, _INTEGER = b"decimal", b"integer"  # in the metadata of a field: what it is when it is wide
_WIDTHS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_BITS = {kind: bits for bits, kind in _WIDTHS.items()}


class Narrowing:
    """What a writer knows of the columns it has seen. ``by_value``: whether batches may differ in which decimals are narrow."""

    def __init__(self, by_value: bool) -> None:
        self.by_value = by_value
        self.repeats = repeats.Repeats()
        self.bits: dict[str, int] = {}

    def narrowed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch whose decimals, numbers and texts take less where that loses nothing."""
        arrays, fields = batch.columns, list(batch.schema)
        for at, field in enumerate(fields):
            kind, note = field.type, {}
            if pa.types.is_decimal128(kind) and (self.by_value or kind.precision <= FITS):
                numbers = _numbers(arrays[at], kind.precision > FITS)
                if numbers is None:
                    continue
                arrays[at], note = numbers, {_DECIMAL: json.dumps([kind.precision, kind.scale]).encode()}
            elif kind in (pa.int64(), pa.int32()):
                note = {_INTEGER: str(kind).encode()}
            else:
                continue
            arrays[at] = self._smaller(field.name, arrays[at])
            if arrays[at].type != kind:
                fields[at] = pa.field(field.name, arrays[at].type, field.nullable, {**(field.metadata or {}), **note})
        return self.repeats.encoded(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, batch.schema.metadata)))

    def _smaller(self, name: str, numbers: pa.Array) -> pa.Array:
        known = self.bits.get(name, 0)
        if known >= _BITS[numbers.type]:
            return numbers
        ends = call("min_max", numbers)
        most = max(ends["max"].as_py() or 0, -(ends["min"].as_py() or 0) - 1)
        if not known or most >> (known - 1):
            known = self.bits[name] = next((bits for bits in _WIDTHS if not ROOM * most >> (bits - 1)), 64)
        return cast(numbers, _WIDTHS[known]) if known < _BITS[numbers.type] else numbers


def widened(array: pa.Array, field: pa.Field) -> tuple[pa.Array, pa.Field]:
    """A column as it was before `Narrowing.narrowed`."""
    notes = field.metadata or {}
    if repeats.NOTE in notes:
        return repeats.plain(array), unnoted(field).with_type(array.type.value_type)
    if _INTEGER in notes:
        kind = pa.int32() if notes[_INTEGER] == b"int32" else pa.int64()
        return cast(array, kind), unnoted(field).with_type(kind)
    if _DECIMAL not in notes:
        return array, field
    kind = pa.decimal128(*json.loads(notes[_DECIMAL]))
    low = raw_numpy(array)
    words = np.empty((len(array), 2), np.int64)
    words[:, 0] = low
    np.right_shift(words[:, 0], 63, out=words[:, 1])
    nulls = _bits(_there(array)) if array.null_count else None
    made = pa.Array.from_buffers(kind, len(array), [nulls, pa.py_buffer(words)])
    return made, unnoted(field).with_type(kind)


def wide_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with all its columns `widened`."""
    wide = [widened(column, field) for column, field in zip(batch.columns, batch.schema, strict=True)]
    return pa.RecordBatch.from_arrays([column for column, _ in wide], schema=pa.schema([field for _, field in wide], batch.schema.metadata))


def wide_bytes(batch: pa.RecordBatch) -> int:
    """The bytes a batch takes when it is wide."""
    size = repeats.plain_bytes(batch)
    for array, field in zip(batch.columns, batch.schema, strict=True):
        notes = field.metadata or {}
        if _DECIMAL in notes or _INTEGER in notes:
            wide = 128 if _DECIMAL in notes else 32 if notes[_INTEGER] == b"int32" else 64
            size += (wide - _BITS[array.type]) // 8 * len(array)
    return size


def plain_where_large(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain texts where batches together came to have a large dictionary: every block of a file has one of its own."""
    for at, field in enumerate(batch.schema):
        if repeats.NOTE in (field.metadata or {}) and batch.column(at).dictionary.nbytes > repeats.LARGE:
            texts, wide = widened(batch.column(at), field)
            batch = batch.set_column(at, wide, texts)
    return batch


def alike(parts: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Batches of one shuffle in one shape, if all that they differ in is what is narrow: numbers of the greatest width any has."""
    schema = parts[0].schema
    if all(part.schema.equals(schema, check_metadata=True) for part in parts) or any(part.schema.names != schema.names for part in parts):
        return list(parts)
    made = [[*zip(part.columns, part.schema, strict=True)] for part in parts]
    for at in range(len(schema)):
        column = [one[at] for one in made]
        if all(field.equals(schema.field(at), check_metadata=True) for _, field in column):
            continue
        notes = schema.field(at).metadata or {}
        if (_DECIMAL in notes or _INTEGER in notes) and all(field.metadata == notes for _, field in column):
            kind = max((field.type for _, field in column), key=_BITS.__getitem__)
            column = [(cast(array, kind), field.with_type(kind)) for array, field in column]
        else:
            column = [widened(array, field) for array, field in column]
        for one, new in zip(made, column, strict=True):
            one[at] = new
    return [
        pa.RecordBatch.from_arrays([array for array, _ in one], schema=pa.schema([field for _, field in one], part.schema.metadata))
        for one, part in zip(made, parts, strict=True)
    ]


def together(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one shape as one. Raises ``pa.ArrowInvalid`` where Arrow cannot make one: the indices of dictionaries of the user's may
    be too small for all that is in these together."""
    if len(parts) == 1:
        return parts[0]
    try:
        return pa.concat_batches(parts)
    except pa.ArrowInvalid:  # or those of ours
        return pa.concat_batches([*map(wide_batch, parts)])


def unnoted(field: pa.Field) -> pa.Field:
    """A field without notes of ours; one of the user's that has what looks like one would be believed."""
    ours = {_DECIMAL, _INTEGER, repeats.NOTE}
    if field.metadata is None or not ours & set(field.metadata):
        return field
    return field.with_metadata({key: value for key, value in field.metadata.items() if key not in ours})


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
