"""Values of cells as bytes: bytes, text, numbers, and what JSON can say. Never a pickle: data never selects code.

>>> [decode(encode(value)) for value in (b"raw", "text", -7, 1.5, {"a": [1, None]})]
[b'raw', 'text', -7, 1.5, {'a': [1, None]}]
"""

from __future__ import annotations

import json
import struct
from typing import Any

from dataflow.errors import StoreError, TransactionError

__all__ = ["decode", "encode"]


def encode(value: Any) -> bytes:
    """A value as bytes. Raises `TransactionError` for what cannot be kept.

    >>> encode("text")
    b'stext'
    """
    kind = type(value)
    if kind is bytes:
        return b"b" + value
    if kind is str:
        return b"s" + value.encode("utf-8", "surrogatepass")
    if kind is int:
        return b"i" + value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    if kind is float:
        return b"f" + struct.pack(">d", value)
    if value is None:
        raise TransactionError("a cell cannot hold None: delete it instead (del t[row, column])")
    try:
        _check_names(value)
        return b"j" + json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as reason:
        raise TransactionError(
            f"a cell cannot hold a value of type {kind.__name__}: {reason}; it holds bytes, str, numbers and what JSON can say"
        ) from None


def _check_names(value: Any) -> None:
    """JSON's names are texts: other keys would come back as texts, and of two that look the same one would be lost."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a dictionary in it has the key {name!r}, which is no text")
            _check_names(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_names(inner)


def decode(packed: bytes) -> Any:
    """The value that `encode` was given; tuples come back as lists.

    >>> decode(b"i\\xff")
    -1
    """
    kind, rest = packed[:1], packed[1:]
    if kind == b"b":
        return rest
    if kind == b"s":
        return rest.decode("utf-8", "surrogatepass")
    if kind == b"i":
        return int.from_bytes(rest, "big", signed=True)
    if kind == b"f":
        return struct.unpack(">d", rest)[0]
    if kind == b"j":
        return json.loads(rest)
    raise StoreError(f"a cell holds bytes that are no value: {packed[:40]!r}")
