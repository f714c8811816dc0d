"""Whole values for steps: loaded once in a process, from the files an earlier phase kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from dataflow.errors import KeyTypeError
from dataflow.physical.program import SideValue
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import RunFile, read_block

__all__ = ["KeptIterable", "load_side"]

_loaded: OrderedDict[tuple[str, tuple[str, ...]], Any] = OrderedDict()
MOST = 32


class KeptIterable:
    """The elements of kept files, read anew at each iteration; it never stands in memory whole."""

    def __init__(self, files: tuple[RunFile, ...]) -> None:
        self.files = files

    def __iter__(self) -> Iterator[Any]:
        for file in self.files:
            for block in file.blocks:
                yield from decode_batch(read_block(file, block)).rows()

    def __len__(self) -> int:
        return sum(file.rows for file in self.files)


def load_side(value: SideValue) -> Any:
    """The value as the user's function takes it; kept for the next task of this process."""
    elements = KeptIterable(value.files)
    if value.kind in ("iterable", "records"):
        return elements
    key = (value.kind, tuple(file.path for file in value.files))
    if key in _loaded and value.files:
        _loaded.move_to_end(key)
        return _loaded[key]
    found: Any
    match value.kind:
        case "list":
            found = list(elements)
        case "dict":
            found = {}
            for pair in elements:
                if not isinstance(pair, tuple) or len(pair) != 2:
                    raise TypeError(f"as_dict needs (key, value) pairs, got {type(pair).__name__}")
                try:
                    found[pair[0]] = pair[1]
                except TypeError as error:
                    raise KeyTypeError(f"as_dict needs hashable keys: {error}") from error
        case _:
            rows = list(elements)
            if len(rows) > 1:
                raise ValueError(f"a single value was expected, and there are {len(rows)}; use as_list for all of them")
            found = rows[0] if rows else value.default() if value.default else None
    _loaded[key] = found
    while len(_loaded) > MOST:
        _loaded.popitem(last=False)
    return found
