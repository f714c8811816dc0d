"""Latches: while a row's conditions are looked at and its edits are made, nothing else changes it. Readers take none.

A row has one of 64, by its hash; who changes several rows takes theirs in the one order in which all take them, or two would wait
for each other. A key in which no row can be seen is nobody's alone: then all are taken.

Each is taken by a `with` of its own, and so several are held by a function within which another is called: Ctrl-C may come behind
any call, also between the taking of a lock and the `try` that would let go of it, but never within a `with`.

>>> latches = Latches()
>>> with latches.of_row(b"a"):
...     latches.of_row(b"a").acquire(blocking=False)
False
>>> latches.holding_rows({b"a", b"b"}, lambda: latches.of_row(b"b").locked())
True
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from dataflow.kv.keys import row_of
from dataflow.kv.store import Edit

__all__ = ["Latches"]

T = TypeVar("T")

_STRIPES = 64  # to take all of them costs 4 microseconds
_FEW = 6  # edits of which the rows are looked for, which costs 0.7 microseconds each; of more, all latches are taken
_FEW_SYNCED = 32  # the same where they are held while the disk works


class Latches:
    """The latches of a store's rows."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all = [threading.Lock() for _ in range(_STRIPES)]

    def of_row(self, row: bytes) -> threading.Lock:
        """The latch of a row."""
        return self._all[hash(row) % _STRIPES]

    def holding_rows(self, rows: Collection[bytes], act: Callable[[], T]) -> T:
        """What an act gives that is done with the latches of several rows held."""
        return _holding([self._all[stripe] for stripe in sorted({hash(row) % _STRIPES for row in rows})], act)

    def holding_edits(self, edits: Sequence[Edit], sync: bool, act: Callable[[], T]) -> T:
        """The same with those of the rows that edits change."""
        if len(edits) <= (_FEW_SYNCED if sync else _FEW):
            try:
                rows = {row_of(key) for _, key, _ in edits}
            except (ValueError, IndexError):  # a key that begins with no packed element: its row is not to be seen
                pass
            else:
                return self.holding_rows(rows, act)
        return _holding(self._all, act)


def _holding(latches: Sequence[threading.Lock], act: Callable[[], T]) -> T:
    if not latches:
        return act()
    if len(latches) < 8:
        with latches[0]:
            return _holding(latches[1:], act) if len(latches) > 1 else act()
    a, b, c, d, e, f, g, h = latches[:8]  # a call for each would be as dear as all the latches
    with a, b, c, d, e, f, g, h:
        return _holding(latches[8:], act)
