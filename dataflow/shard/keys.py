"""Keys as 64-bit hashes: equal keys hash equally, in every process, on every machine, in every Python.

Equality is that of `dataflow.algebra.order.canonical`: ``1``, ``1.0`` and ``True`` are one key, NaN is one key.
Homogeneous columns are hashed whole by NumPy; a mixed list is taken apart by kind, each kind hashed whole, so both
ways give the same numbers. Python's ``hash`` is never asked: it differs between processes.

    number    mix(bits of the float equal to it), or of the integer where no float is equal
    str       8 bytes at a time, mixed in turn; beyond 256 bytes BLAKE2b
    tuple     its columns' hashes, mixed in turn
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import canonical
from dataflow.shard.arrow import blobs, call, cast, raw_numpy, strings, to_numpy
from dataflow.shard.batch import numpy_offsets

__all__ = ["hash_column", "hash_keys", "string_words"]

_U = np.uint64
_NUMBER, _STR, _BYTES, _NULL, _TUPLE, _OTHER, _SET, _BIG = (_U(0x9E3779B97F4A7C15 * n % 2**64) for n in range(1, 9))
_LONG = 256
_NAN_BITS = _U(0x7FF8000000000000)


def _mix(h: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): every input bit changes every output bit."""
    h = (h ^ (h >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> _U(27))) * _U(0x94D049BB133111EB)
    return h ^ (h >> _U(31))


def hash_keys(keys: Sequence[Any]) -> np.ndarray:
    """The hashes of keys given as a list or Arrow array. Raises `KeyTypeError` for keys without equality.

    >>> bool(hash_keys([1, "a"])[0] == hash_keys([1.0])[0])
    True
    """
    if isinstance(keys, (pa.Array, pa.ChunkedArray)):
        found = hash_column(keys)
        if found is not None:
            return found
        keys = keys.to_pylist()
    kinds = set(map(type, keys))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is str:
            try:
                return _strings(strings(keys), _STR)
            except UnicodeEncodeError:
                return _strings(blobs([k.encode("utf-8", "surrogatepass") for k in keys]), _STR)
        if kind is int:
            try:
                return _integers(np.array(keys, np.int64))
            except OverflowError:
                pass
        if kind is float:
            return _floats(np.array(keys, np.float64))
        if kind is bytes:
            return _strings(blobs(keys), _BYTES)
        if kind is tuple and len(widths := set(map(len, keys))) == 1:
            return _tuples(keys, widths.pop())
    return _mixed(keys)


def hash_column(array: pa.Array | pa.ChunkedArray) -> np.ndarray | None:
    """The hashes of an Arrow column of a type with a kernel here; None for others."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), _mix(_NULL * np.ones(1, _U))[0])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        found = _strings(cast(array, pa.large_string()), _STR)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        found = _strings(cast(array, pa.large_binary()), _BYTES)
    elif pa.types.is_integer(kind) and kind != pa.uint64():
        found = _integers(raw_numpy(array).astype(np.int64))
    elif pa.types.is_float64(kind) or pa.types.is_float32(kind):
        found = _floats(raw_numpy(array).astype(np.float64))
    else:
        return None
    if array.null_count:
        found[to_numpy(call("is_null", array))] = _mix(_NULL * np.ones(1, _U))[0]
    return found


def _floats(values: np.ndarray) -> np.ndarray:
    bits = (values + 0.0).view(_U)  # + 0.0 turns -0.0 into 0.0
    bits = np.where(np.isnan(values), _NAN_BITS, bits)
    return _mix(bits ^ _NUMBER)


def _integers(values: np.ndarray) -> np.ndarray:
    floats = values.astype(np.float64)
    found = _floats(floats)
    if len(values) and (int(values.max()) > 2**53 or int(values.min()) < -(2**53)):
        with np.errstate(invalid="ignore"):
            inexact = (floats >= 2.0**63) | (floats.astype(np.int64) != values)
        found = np.where(inexact, _mix(values.view(_U) ^ _BIG), found)
    return found


def string_words(data: np.ndarray, big_endian: bool) -> np.ndarray:
    """A view of bytes as overlapping 8-byte words, one starting at every byte; ``data`` must be padded by 8."""
    return np.ndarray((max(len(data) - 7, 0),), ">u8" if big_endian else "<u8", data, strides=(1,))


def word_at(words: np.ndarray, starts: np.ndarray, left: np.ndarray, big_endian: bool) -> np.ndarray:
    """The 8 bytes at each start, those beyond ``left`` bytes zeroed."""
    found = words[starts].astype(_U)
    short = left < 8
    if short.any():
        cut = ((8 - np.maximum(left[short], 0)) * 8).astype(_U)
        gone = cut >= 64
        cut[gone] = 0
        part = found[short]
        part = (part >> cut) << cut if big_endian else (part << cut) >> cut
        part[gone] = 0
        found[short] = part
    return found


def padded(data: np.ndarray) -> np.ndarray:
    """The bytes with eight zeros behind them, so that a word may be read at any of them."""
    out = np.zeros(len(data) + 8, np.uint8)
    out[: len(data)] = data
    return out


def _strings(array: pa.Array, seed: Any) -> np.ndarray:
    if not len(array):
        return np.empty(0, _U)
    ends, data = numpy_offsets(array)
    starts, lengths = ends[:-1], np.diff(ends)
    low, high = int(ends[0]), int(ends[-1])
    words = string_words(padded(data[low:high]), big_endian=False)
    found = _mix(lengths.astype(_U) ^ seed)
    longest = int(lengths.max())
    at = starts - low
    found = _mix(found ^ word_at(words, at, lengths, False))
    for done in range(8, min(longest, _LONG), 8):
        rest = np.flatnonzero(lengths > done)
        found[rest] = _mix(found[rest] ^ word_at(words, at[rest] + done, lengths[rest] - done, False))
    if longest > _LONG:
        raw = data.tobytes() if len(data) < 2**28 else memoryview(data)  # type: ignore[arg-type]
        for i in np.flatnonzero(lengths > _LONG).tolist():
            digest = hashlib.blake2b(raw[starts[i] : ends[i + 1]], digest_size=8).digest()
            found[i] = _mix(np.array([int.from_bytes(digest, "little")], _U) ^ seed)[0]
    return found


def _tuples(keys: Sequence[Any], width: int) -> np.ndarray:
    found = np.full(len(keys), _mix(np.array([width], _U) ^ _TUPLE)[0])
    for i in range(width):
        found = _mix(found * _U(31) + hash_keys([key[i] for key in keys]))
    return found


def _mixed(keys: Sequence[Any]) -> np.ndarray:
    """Each kind by itself, put back in place."""
    groups: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(_kind(key), []).append(index)
    found = np.zeros(len(keys), _U)
    for kind, places in groups.items():
        part = [keys[i] for i in places]
        found[places] = _of_kind(kind, part)
    return found


def _kind(key: Any) -> Any:
    if key is None:
        return "null"
    if isinstance(key, enum.Enum):
        return "other"
    if isinstance(key, (bool, int, float, Decimal)):
        return "number"
    if isinstance(key, str):
        return "str"
    if isinstance(key, bytes):
        return "bytes"
    if isinstance(key, tuple):
        return ("tuple", len(key))
    if isinstance(key, frozenset):
        return "set"
    if hasattr(key, "item") and not getattr(key, "shape", True):
        return _kind(key.item())
    return "other"


def _of_kind(kind: Any, keys: list[Any]) -> np.ndarray:
    if kind == "null":
        return np.full(len(keys), _mix(_NULL * np.ones(1, _U))[0])
    if kind == "number":
        return np.array([_number(key) for key in keys], _U)
    if kind == "str":
        return hash_keys([str(key) for key in keys])
    if kind == "bytes":
        return _strings(blobs([bytes(key) for key in keys]), _BYTES)
    if isinstance(kind, tuple):
        return _tuples(keys, kind[1])
    if kind == "set":
        return _mix(np.array([hash_keys(list(key)).sum(dtype=_U) if key else 0 for key in keys], _U) ^ _SET)
    texts = []
    for key in keys:
        stand_in = canonical(key)
        if isinstance(stand_in, tuple):  # an enum or a frozen dataclass: its name and fields
            texts.append(f"{stand_in[0]}.{stand_in[1]}:{[int(h) for h in hash_keys(list(stand_in[2:]))]}")
        elif isinstance(stand_in, dt.datetime) and stand_in.utcoffset() is not None:
            texts.append(f"instant:{stand_in.astimezone(dt.UTC).isoformat()}")
        elif isinstance(stand_in, dt.time) and (ahead := stand_in.utcoffset()) is not None:  # it is equal to those that say the same in UTC
            texts.append(f"time:{dt.datetime.combine(dt.date(2000, 1, 1), stand_in.replace(tzinfo=None)) - ahead}")
        elif isinstance(stand_in, (dt.date, dt.time)):
            texts.append(f"{'datetime' if isinstance(stand_in, dt.datetime) else 'day'}:{stand_in.isoformat()}")
        else:
            texts.append(f"{type(stand_in).__name__}:{stand_in!r}")
    return _strings(strings(texts), _OTHER)


def _number(key: Any) -> int:
    if isinstance(key, Decimal) and key.is_nan():
        key = float("nan")
    try:
        near = float(key)
    except OverflowError:
        near = float("nan")
    if near == key or key != key:
        return int(_floats(np.array([near]))[0])
    if key == (whole := int(key)):
        if -(2**63) <= whole < 2**63:
            return int(_integers(np.array([whole], np.int64))[0])
        text = f"{whole:x}"
    else:
        text = str(key.normalize())
    return int(_strings(strings([text]), _BIG)[0])
