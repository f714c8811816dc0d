"""Which runs of observers are made of pending cells: one for each cell and observer, or one for all cells that go together.

A run that failed may be made again in parts (`parts_of`), so that what is bad keeps back no more than itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from dataflow.kv import pack, pack_element, row_of
from dataflow.kv.keys import unpack_element
from dataflow.record import record
from dataflow.txn.failed import failed
from dataflow.txn.notify import Pending

__all__ = ["Apart", "Observer", "Run", "Taken", "parts_of", "running", "runs_of"]

running = threading.local()  # stores: those whose observers this thread is in


@record
class Observer:
    """A function of the changes of a column. ``together``: rows for which it gives the same are handed over together.

    ``apart``: of rows that fail together, by row and value, those for which it gives the same are tried by themselves.
    """

    name: str
    column: str
    function: Callable[..., Any]
    together: Callable[[Any], Any] | None = None
    apart: Callable[[Any, Any], Any] | None = None

    def part(self, row: Any) -> bytes:
        """What decides which worker a row is for."""
        if self.together is None:
            return pack_element(row)
        try:
            return pack_element(self.together(row))
        except Exception as error:
            raise failed(self, {row: None}, error, "together= of observer", hint="it must give a key of every row") from error

    def ack(self, key: bytes) -> bytes:
        """The key of the cell that says which change of a cell this observer has seen last."""
        return row_of(key) + _ack_column(self.name, self.column)


@cache
def _ack_column(name: str, column: str) -> bytes:
    return pack((("ack", name, column),))


class Taken(NamedTuple):
    """A pending cell, its observers, and what decides whose it is."""

    pending: Pending
    observers: list[Observer]
    part: bytes


class Run(NamedTuple):
    """One transaction of an observer: the pending cells it is for. ``keys``: of each the cell's own, and that of its ack.

    ``alone``: the cells have no other observer.
    """

    observer: Observer
    cells: list[Pending]
    keys: list[bytes]
    alone: bool


class Apart(Exception):
    """A run that failed, and is made again in parts."""

    def __init__(self, runs: list[Run]) -> None:
        super().__init__()
        self.runs = runs


def runs_of(taken: Sequence[Taken]) -> list[Run]:
    runs: list[Run] = []
    groups: dict[tuple[int, bytes], Run] = {}
    for pending, observers, part in taken:
        for observer in observers:
            run = groups.get((id(observer), part)) if observer.together is not None else None
            if run is None:
                run = Run(observer, [], [], len(observers) == 1)
                runs.append(run)
                if observer.together is not None:
                    groups[id(observer), part] = run
            run.cells.append(pending)
            run.keys.extend((pending.key, observer.ack(pending.key)))
    return runs


def parts_of(run: Run, changed: dict[Any, Any]) -> list[Run]:
    """The runs of what is tried apart; of what was seen already, too, so that all cells are in one of them."""
    apart = run.observer.apart
    if apart is None:
        return [run]
    parts: dict[Any, Run] = {}
    for number, pending in enumerate(run.cells):
        row = unpack_element(pending.key)[0]
        part = parts.setdefault(apart(row, changed.get(row)), Run(run.observer, [], [], run.alone))
        part.cells.append(pending)
        part.keys.extend(run.keys[2 * number : 2 * number + 2])
    return [*parts.values()]
