"""Latches: while a row's conditions are looked at and its edits are made, nothing else changes it. Readers take none.

A row has one of 64, by its hash; who changes several rows takes theirs in the one order in which all take them, or two would wait
for each other. A key in which no row can be seen is nobody's alone: then all are taken.

>>> latches = Latches()
>>> with latches.of_row(b"a"):
...     latches.of_row(b"a").acquire(blocking=False)
False
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from dataflow.kv.keys import row_of
from dataflow.kv.store import Edit

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Latches"]

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

    def of_rows(self, rows: Collection[bytes]) -> AbstractContextManager[object]:
        """Those of several rows."""
        return self._several(sorted({hash(row) % _STRIPES for row in rows}))

    def of_edits(self, edits: Sequence[Edit], sync: bool) -> AbstractContextManager[object]:
        """Those of the rows that edits change."""
        try:
            if len(edits) == 1:
                return self.of_row(row_of(edits[0].key))
            if len(edits) <= (_FEW_SYNCED if sync else _FEW):
                return self.of_rows([row_of(key) for _, key, _ in edits])
        except (ValueError, IndexError):  # a key that begins with no packed element: its row is not to be seen
            pass
        return self._several(range(_STRIPES))

    def _several(self, stripes: Sequence[int]) -> AbstractContextManager[object]:
        return self._all[stripes[0]] if len(stripes) == 1 else _Several([self._all[stripe] for stripe in stripes])


class _Several:
    """Some latches as one."""

    __slots__ = ("_latches",)

    def __init__(self, latches: list[threading.Lock]) -> None:
        self._latches = latches

    def __enter__(self) -> None:
        taken = 0
        try:
            for latch in self._latches:
                latch.acquire()
                taken += 1
        except BaseException:  # Ctrl-C, while waiting
            for latch in self._latches[:taken]:
                latch.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for latch in self._latches:
            latch.release()
