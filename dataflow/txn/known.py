"""Which observers a column has had: who runs without one of them would take its notifications away, and it would never run.

    meta: ("observers", column) -> their names, written by the first worker that takes work for one that was not there

`members.py` looks at those that run now; this, at those that ran before. So nothing is lost where processes with different observers run
one after the other: the one that lacks some is refused, and says which.

>>> from dataflow.kv import MemoryStore
>>> store = MemoryStore()
>>> claim(store, "text", ["words", "links"]); check(store, "text", ["links", "words", "new"])
>>> check(store, "text", ["words"])
Traceback (most recent call last):
  ...
dataflow.errors.TransactionError: column 'text' has been observed by 'links', too, which is not registered here and would miss what changed
  hint     register it, or db.forget_observer('text', 'links') if it is gone for good
>>> forget(store, "text", "links"); check(store, "text", ["words"])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from dataflow.errors import OutcomeUnknownError, Report, TransactionError
from dataflow.kv import Edit, Equals, Mutation, Store, pack, row_of

__all__ = ["check", "claim", "forget"]


def check(store: Store, column: str, names: Collection[str]) -> None:
    """Raises `TransactionError` if the column has an observer that is not among these."""
    _check(column, names, _names(store.get("meta", pack(("observers", column)))))


def claim(store: Store, column: str, names: Collection[str]) -> None:
    """Note that these observe the column. Raises `TransactionError` if another does, too."""

    def more(known: set[str]) -> set[str]:
        _check(column, names, known)
        return known.union(names)

    _change(store, column, more)


def forget(store: Store, column: str, name: str) -> None:
    """An observer is gone for good."""
    _change(store, column, lambda known: known - {name})


def _change(store: Store, column: str, change: Callable[[set[str]], set[str]]) -> None:
    key = pack(("observers", column))
    while True:
        there = store.get("meta", key)
        known = _names(there)
        if (new := change(known)) == known:
            return
        edit = Edit("meta", key, json.dumps(sorted(new)).encode())
        try:
            if store.mutate(Mutation(row_of(key), (Equals("meta", key, there),), (edit,))):
                return
        except OutcomeUnknownError:
            continue  # what stands there tells


def _names(packed: bytes | None) -> set[str]:
    return set(json.loads(packed)) if packed else set()


def _check(column: str, names: Collection[str], known: set[str]) -> None:
    missing = sorted(known.difference(names))
    if missing:
        raise TransactionError(
            Report(
                f"column {column!r} has been observed by {' and '.join(map(repr, missing))}, too, which is not registered here "
                "and would miss what changed",
                hint=f"register it, or db.forget_observer({column!r}, {missing[0]!r}) if it is gone for good",
            )
        )
