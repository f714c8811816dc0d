"""A trie that counts unique integers, by observers alone (the stress test of Apache Fluo).

    leaf/0a3f12    in    a number is put, perhaps many times          seen   it was counted
    2/0a3f         wait  numbers below, not yet passed on             seen   how many were passed on
    1/0a           wait                                               seen
    0/             wait                                               seen   how many unique numbers there are

Each observer takes what waits below one parent, marks it as seen, and lets the parent wait. A run that happened twice would count twice;
a change that nobody looked at would be missing; a worker that dies in between leaves everything as it was, for the others.
"""

from __future__ import annotations

import traceback
from typing import Any

from dataflow.txn import Database, Transaction, members
from dataflow.txn.notify import dirty
from tests.txn.histories import Recorder

__all__ = ["LEVELS", "leaf", "plant", "work"]

LEVELS = {2: 4, 1: 2, 0: 0}  # of a node the digits of its numbers, of six in base 16


def leaf(number: int) -> str:
    return f"leaf/{number:06x}"


def _parent(row: str) -> str:
    level, _, digits = row.partition("/")
    above = 2 if level == "leaf" else int(level) - 1
    return f"{above}/{digits[: LEVELS[above]]}"


def plant(database: Database) -> None:
    """Register the observers."""

    def wait(t: Transaction, row: str, more: int) -> None:
        column = "wait" + row[0]
        t[row, column] = t.get(row, column, 0) + more

    @database.observer("in", together=_parent)
    def new_leaves(t: Transaction, changed: dict[Any, Any]) -> None:
        rows = list(changed)
        fresh = [row for row, seen in zip(rows, t.get_many([(row, "seen") for row in rows]), strict=True) if not seen]
        for row in fresh:
            t[row, "seen"] = 1
        if fresh:
            wait(t, _parent(rows[0]), len(fresh))

    def pass_on(t: Transaction, changed: dict[Any, Any]) -> None:
        total = 0
        for row, waiting in changed.items():
            if waiting:
                t[row, "seen"] = t.get(row, "seen", 0) + waiting
                total += waiting
            t.finish(row, "wait" + row[0])
        if total and row[0] != "0":
            wait(t, _parent(row), total)

    for level in LEVELS:
        database.observer(f"wait{level}", name=f"level {level}", together=_parent if level else str)(pass_on)


def work(spec: dict[str, Any]) -> None:
    """The life of a worker, until it is killed."""
    members.LEASE = 0.5
    recorder = Recorder(spec["folder"], spec["name"])
    try:
        database = Database.open(spec["address"], **spec["open"])
        plant(database)
        while True:
            database.run_observers(until=60.0)
    except BaseException:
        recorder.note("failed", traceback.format_exc())
        raise


def idle(database: Database) -> bool:
    return next(dirty(database.engine.store), None) is None
