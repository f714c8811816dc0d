"""Arrow arrays made of buffers, and Arrow's kernels called by name, without ``pyarrow.array`` and ``pyarrow.compute``.

`pyarrow.array` imports pandas, wherever it is installed, to see whether it was given one of its objects: a quarter of a
second that a small run must not pay. These are also faster: no look at each element. `pyarrow.compute` makes a documented
Python function of each of its 300 kernels when it is imported, 25 ms that a small run must not pay either; the methods of
arrays that call a kernel (``take``, ``dictionary_encode``) import it too. `call` reaches the same kernels without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow._compute import DictionaryEncodeOptions, RunEndEncodeOptions, TakeOptions, call_function

__all__ = ["blobs", "call", "cast", "dictionary_encoded", "empty_table", "from_numpy", "raw_numpy", "strings", "taken", "to_numpy"]

_DTYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype("i1"), "int16": np.dtype("i2"), "int32": np.dtype("i4"), "int64": np.dtype("i8"), "uint8": np.dtype("u1"),
    "uint16": np.dtype("u2"), "uint32": np.dtype("u4"), "uint64": np.dtype("u8"), "float": np.dtype("f4"), "double": np.dtype("f8"),
}  # fmt: skip
_TYPES = {
    "int8": pa.int8(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "uint8": pa.uint8(), "uint16": pa.uint16(),
    "uint32": pa.uint32(), "uint64": pa.uint64(), "float32": pa.float32(), "float64": pa.float64(),
}  # fmt: skip


_TAKE = TakeOptions(boundscheck=False)  # the indices are our own
_ENCODE = DictionaryEncodeOptions("encode")


def call(kernel: str, *args: Any) -> Any:
    """The result of one of Arrow's kernels with its default options.

    >>> call("min_max", from_numpy(np.array([3, 1, 2])))["max"].as_py()
    3
    """
    return call_function(kernel, list(args))


def taken(rows: Any, indices: np.ndarray | pa.Array) -> Any:
    """Rows of an array, batch or table by their places. Arrow takes none of run-end encoded arrays: those are decoded for it."""
    if isinstance(rows, (pa.Table, pa.RecordBatch)) and any(map(pa.types.is_run_end_encoded, rows.schema.types)):
        return type(rows).from_arrays([taken(column, indices) for column in rows.columns], schema=rows.schema)
    if isinstance(rows, (pa.Array, pa.ChunkedArray)) and pa.types.is_run_end_encoded(rows.type):
        values = taken(call("run_end_decode", rows), indices)
        return call_function("run_end_encode", [values], RunEndEncodeOptions(rows.type.run_end_type))
    return call_function("take", [rows, indices if isinstance(indices, pa.Array) else from_numpy(indices)], _TAKE)


def cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array as another type, itself where it has that type already."""
    return array if array.type == kind else array.cast(kind)


def dictionary_encoded(keys: pa.Array) -> pa.DictionaryArray:
    """Keys as a dictionary of the distinct ones, null among them, and the place of each row's key in it."""
    return call_function("dictionary_encode", [keys], _ENCODE)


def empty_table(layout: pa.Schema) -> pa.Table:
    """No rows of these columns (``Schema.empty_table`` goes through `pyarrow.array`)."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in layout], schema=layout)


def from_numpy(values: np.ndarray) -> pa.Array:
    """A one-dimensional array of numbers or bools; no copy where it is contiguous numbers."""
    if values.dtype == np.bool_:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    kind = _TYPES.get(values.dtype.name)
    if kind is None:
        return pa.array(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def to_numpy(array: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers without nulls as NumPy sees them, over the same bytes (``Array.to_numpy`` imports pandas too)."""
    if isinstance(array, pa.ChunkedArray):
        return np.concatenate([to_numpy(chunk) for chunk in array.chunks]) if array.num_chunks else np.empty(0)
    if pa.types.is_boolean(array.type) and not array.null_count:
        bits = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.empty(0, np.uint8)
        return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(bool)
    if array.null_count or str(array.type) not in _DTYPES:
        return array.to_numpy(zero_copy_only=False)
    return raw_numpy(array)


def raw_numpy(array: pa.Array) -> np.ndarray:
    """Numbers as they lie in the buffer; where there is a null, anything."""
    dtype = _DTYPES[str(array.type)]
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize) if len(array) else np.empty(0, dtype)


def strings(values: Sequence[str]) -> pa.Array:
    """Strings as ``large_string``. Raises UnicodeEncodeError for lone surrogates.

    >>> strings(["a", "é", ""]).to_pylist()
    ['a', 'é', '']
    """
    text = "".join(values)
    data = text.encode()
    if len(data) != len(text):
        return _joined([value.encode() for value in values], pa.large_string())
    return _with_offsets(np.fromiter(map(len, values), np.int64, len(values)), data, pa.large_string())


def blobs(values: Sequence[bytes]) -> pa.Array:
    """Bytes as ``large_binary``."""
    return _joined(values, pa.large_binary())


def _joined(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    return _with_offsets(np.fromiter(map(len, values), np.int64, len(values)), b"".join(values), kind)


def _with_offsets(lengths: np.ndarray, data: Any, kind: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(kind, len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
