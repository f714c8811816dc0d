"""Functions of a script or a notebook as bytes, by value, with the file that they were written in: errors show its lines.

cloudpickle 3.1.3 replaces the names of files, so that the same function of two notebooks gives the same bytes; here they are put back.

>>> one = lambda: 1
>>> one.__code__.co_filename.encode() in dumps(one)
True
"""

from __future__ import annotations

import io
from collections import ChainMap
from types import CodeType
from typing import Any, cast

import cloudpickle

__all__ = ["dumps"]

_FORGOTTEN = "<dynamic-code>"


def _code(code: CodeType) -> tuple[Any, ...]:
    made, parts, *more = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return made, tuple(code.co_filename if isinstance(part, str) and part == _FORGOTTEN else part for part in parts), *more


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = ChainMap[Any, Any]({CodeType: _code}, cast(Any, cloudpickle.Pickler.dispatch_table))


def dumps(value: Any) -> bytes:
    """A value as bytes."""
    with io.BytesIO() as file:
        _Pickler(file, 5).dump(value)
        return file.getvalue()
