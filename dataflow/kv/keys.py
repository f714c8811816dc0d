"""Keys as bytes that sort as the values do, and none of which begins another.

    pack(("doc", 7))  =  04 'doc' 00   |   2c 07 00   |   00
                         text          |   number     |   end

- Order: None, then numbers, texts, bytes, dates, times, tuples; within a kind as Python orders the values. Numbers sort and are
  equal by value, whatever their type: ``1``, ``1.0`` and ``True`` are one key (and come back as ``1``), ``-0.0`` is ``0``. NaN is a
  key, equal to itself, above all numbers. A shorter tuple sorts before those it begins.
- Prefix-free: every element says where it ends, and so does the tuple. It matters: where a version is found by seeking to
  ``key + time``, a key that begins another finds the other's versions.

Texts and bytes end with ``00``; a ``00`` within becomes ``00 ff``. A number is its floor (a length that sorts, then the digits
of base 256; of negative ones the complement), then ``00`` if it is whole, else ``01`` and the bits of the double, which sort among equal
floors.

The element at the beginning is the row (`row_of`), so that every store can tell which entries it must be able to change together.

>>> unpack(pack(("doc", 7, None, (1.5, b"x"))))
('doc', 7, None, (1.5, b'x'))
>>> sorted([("b",), ("a", 2), ("a", -1), ("a",)], key=pack)
[('a',), ('a', -1), ('a', 2), ('b',)]
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from typing import Any

from dataflow.errors import KeyTypeError, Report

__all__ = ["end_of_row", "pack", "pack_element", "row_of", "unpack", "unpack_element"]

_END, _NONE = 0x00, 0x01
_LOW, _NEG, _ZERO, _POS, _HIGH, _NAN = 0x02, 0x03, 0x2C, 0x2D, 0x56, 0x57
_TEXT, _BYTES, _DATE, _TIME, _ZONED, _TUPLE = 0x60, 0x61, 0x62, 0x63, 0x64, 0x65
_MOST = 40  # digits of base 256 that the code itself counts; the codes between _NEG and _ZERO, and between _POS and _HIGH
_EPOCH = dt.datetime(1970, 1, 1)
_ZONED_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ZONED_FIRST, _ZONED_LAST = dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DEEPEST = 32


def pack(key: tuple[Any, ...]) -> bytes:
    """A tuple as bytes. Raises `KeyTypeError` for what has no order of its own.

    >>> pack(("a",)).hex(" ")
    '60 61 00 00'
    >>> pack((1, 2)) < pack((1, 2.5)) < pack((1, 3))
    True
    """
    return b"".join(map(pack_element, key)) + b"\x00"


def pack_element(value: Any, depth: int = 0) -> bytes:
    """One element as bytes, which say where they end.

    >>> pack_element("a"), pack_element(-1.0) == pack_element(-1)
    (b'`a\\x00', True)
    """
    kind = type(value)
    if kind is str:
        try:
            text = value.encode()
        except UnicodeEncodeError:
            raise KeyTypeError(Report(f"a key holds text that is no Unicode: {value!r}"[:200])) from None
        return b"\x60" + (text.replace(b"\x00", b"\x00\xff") if b"\x00" in text else text) + b"\x00"
    if kind is bytes:
        return b"\x61" + value.replace(b"\x00", b"\x00\xff") + b"\x00"
    if kind is int or kind is bool:
        return _integer(int(value)) + b"\x00"
    if value is None:
        return b"\x01"
    if kind is float:
        return _float(value)
    if kind is tuple:
        if depth >= _DEEPEST:
            raise KeyTypeError(Report(f"a key holds tuples more than {_DEEPEST} deep"))
        return b"\x65" + b"".join(pack_element(part, depth + 1) for part in value) + b"\x00"
    if kind is dt.date:
        return b"\x62" + _integer(value.toordinal()) + b"\x00"
    if kind is dt.datetime:
        if value.tzinfo is None:
            return b"\x63" + _integer((value - _EPOCH) // _MICROSECOND) + b"\x00"
        if not _ZONED_FIRST <= value <= _ZONED_LAST:
            raise KeyTypeError(Report(f"a key cannot hold the time {value.isoformat()}: in UTC it is in no year from 1 to 9999"))
        return b"\x64" + _integer((value - _ZONED_EPOCH) // _MICROSECOND) + b"\x00"
    raise KeyTypeError(
        Report(
            f"a key cannot hold a value of type {kind.__name__}",
            hint="keys are made of None, numbers, str, bytes, dates, times and tuples of these",
        )
    )


def _integer(value: int) -> bytes:
    """The code, the length if that does not say it, and the digits: without an end, so that a fraction may follow."""
    if value == 0:
        return b"\x2c"
    size = (abs(value).bit_length() + 7) // 8
    digits = abs(value).to_bytes(size, "big")
    if value > 0:
        if size < _MOST:
            return bytes((_POS - 1 + size,)) + digits
        return bytes((_POS - 1 + _MOST,)) + size.to_bytes(4, "big") + digits
    flipped = bytes(255 - digit for digit in digits)
    if size < _MOST:
        return bytes((_ZERO - size,)) + flipped
    return bytes((_ZERO - _MOST,)) + (2**32 - 1 - size).to_bytes(4, "big") + flipped


def _float(value: float) -> bytes:
    if math.isnan(value):
        return b"\x57"
    if math.isinf(value):
        return b"\x56" if value > 0 else b"\x02"
    floor = math.floor(value)
    if floor == value:
        return _integer(floor) + b"\x00"
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    bits ^= (1 << 64) - 1 if bits >> 63 else 1 << 63  # negative doubles sort backwards
    return _integer(floor) + b"\x01" + int(bits).to_bytes(8, "big")


def row_of(key: bytes) -> bytes:
    """The bytes of a key's first element.

    >>> row_of(pack(("doc", "title"))) == pack_element("doc")
    True
    """
    if key[0] == _TEXT:  # most rows are texts without a zero, and every write asks
        end = key.index(b"\x00") + 1
        if key[end : end + 1] != b"\xff":
            return key[:end]
    return key[: _end(key, 0)]


def end_of_row(row: bytes) -> bytes:
    """Where a row's keys end: above all of them, and not above those of rows that begin with its bytes and go on with an escaped zero.

    >>> row = pack_element("a")
    >>> row < pack(("a", "z")) < end_of_row(row) < pack(("a\\0b", "a"))
    True
    """
    return row + b"\xff"


def unpack(packed: bytes) -> tuple[Any, ...]:
    """The tuple that `pack` was given, but that whole floats and booleans are ints. Raises `ValueError` for other bytes.

    >>> unpack(pack((True, 2.0, "a\\0b")))
    (1, 2, 'a\\x00b')
    """
    values: list[Any] = []
    at = 0
    while True:
        if at >= len(packed):
            raise ValueError("a key ends in the middle")
        if packed[at] == _END:
            if at + 1 != len(packed):
                raise ValueError("a key goes on behind its end")
            return tuple(values)
        value, at = unpack_element(packed, at)
        values.append(value)


def unpack_element(packed: bytes, at: int = 0) -> tuple[Any, int]:
    """The element that begins at a place, and where it ends.

    >>> unpack_element(pack_element("a") + b"more")
    ('a', 3)
    """
    try:
        return _unpacked(packed, at)
    except (IndexError, UnicodeDecodeError, struct.error, OverflowError) as reason:
        raise ValueError(f"no key: {packed[:40]!r}") from reason


def _unpacked(packed: bytes, at: int) -> tuple[Any, int]:
    code = packed[at]
    if code == _NONE:
        return None, at + 1
    if code in (_TEXT, _BYTES):
        end = _end(packed, at)
        raw = packed[at + 1 : end - 1].replace(b"\x00\xff", b"\x00")
        return (raw.decode() if code == _TEXT else raw), end
    if code in (_LOW, _HIGH, _NAN):
        return {_LOW: -math.inf, _HIGH: math.inf, _NAN: math.nan}[code], at + 1
    if _NEG <= code < _HIGH:
        return _number(packed, at)
    if code in (_DATE, _TIME, _ZONED):
        number, end = _number(packed, at + 1)
        if code == _DATE:
            return dt.date.fromordinal(number), end
        return (_EPOCH if code == _TIME else _ZONED_EPOCH) + number * _MICROSECOND, end
    if code == _TUPLE:
        values = []
        at += 1
        while packed[at] != _END:
            value, at = _unpacked(packed, at)
            values.append(value)
        return tuple(values), at + 1
    raise ValueError(f"no key: there is no kind {code:#x}")


def _number(packed: bytes, at: int) -> tuple[Any, int]:
    start, size = _digits(packed, at)
    code = packed[at]
    digits = packed[start : start + size]
    floor = int.from_bytes(digits, "big")
    if code < _ZERO:
        floor = -(256**size - 1 - floor)
    end = start + size
    if packed[end] == 0:
        return floor, end + 1
    (bits,) = struct.unpack(">Q", packed[end + 1 : end + 9])
    bits ^= 1 << 63 if bits >> 63 else (1 << 64) - 1
    return struct.unpack(">d", struct.pack(">Q", bits))[0], end + 9


def _digits(packed: bytes, at: int) -> tuple[int, int]:
    """Where a number's digits begin, and how many there are."""
    code = packed[at]
    size = code - _POS + 1 if code >= _POS else _ZERO - code
    if size < _MOST:
        return at + 1, size
    counted = int.from_bytes(packed[at + 1 : at + 5], "big")
    return at + 5, counted if code >= _POS else 2**32 - 1 - counted


def _end(packed: bytes, at: int) -> int:
    """Where the element that begins at a place ends, without making its value."""
    code = packed[at]
    if code in (_TEXT, _BYTES):
        end = packed.index(b"\x00", at)
        while packed[end + 1 : end + 2] == b"\xff":
            end = packed.index(b"\x00", end + 2)
        return end + 1
    if _NEG <= code < _HIGH:
        start, size = _digits(packed, at)
        return start + size + (1 if packed[start + size] == 0 else 9)
    if code in (_DATE, _TIME, _ZONED):
        return _end(packed, at + 1)
    if code == _TUPLE:
        at += 1
        while packed[at] != _END:
            at = _end(packed, at)
        return at + 1
    return at + 1
