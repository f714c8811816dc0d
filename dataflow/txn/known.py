"""Which observers a column has had: who runs without one of them would take its notifications away, and it would never run.

    meta: ("observers", column) -> their names; none as long as they have only begun to run

`members.py` looks at those that run now; this, at those that ran before. So nothing is lost where processes with different observers run
one after the other: the one that lacks some is refused, and says which. Names are written when work is taken for one that was not there, or
a run has ended well: who was refused by those at work is not known. Who only writes notes changes of these columns, too.

>>> from dataflow.kv import MemoryStore
>>> store = MemoryStore()
>>> observe(store, ["text"]); sorted(observed(store))
['text']
>>> claim(store, "text", ["words", "links"]); check(store, "text", ["links", "words", "new"])
>>> check(store, "text", ["words"])
Traceback (most recent call last):
  ...
dataflow.errors.TransactionError: column 'text' has been observed by 'links', too, which is not registered here and would miss what changed
  hint     register it, or db.forget_observer('text', 'links') if it is gone for good
>>> forget(store, "text", "links"); check(store, "text", ["words"])
False
>>> forget(store, "text", "words"), observed(store)
(True, set())
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from dataflow.errors import OutcomeUnknownError, Report, TransactionError
from dataflow.kv import Edit, Equals, Mutation, Store, end_of_row, pack, row_of, unpack

__all__ = ["check", "claim", "forget", "names", "observe", "observed"]


def check(store: Store, column: str, names: Collection[str]) -> None:
    """Raises `TransactionError` if the column has an observer that is not among these."""
    _check(column, names, _names(store.get("meta", pack(("observers", column)))))


def observe(store: Store, columns: Collection[str]) -> None:
    """Note that these columns are observed."""
    for column in sorted(set(columns) - observed(store)):
        _change(store, column, lambda known: known)


def names(store: Store, column: str) -> set[str]:
    """Who is known to observe a column."""
    return _names(store.get("meta", pack(("observers", column))))


def observed(store: Store) -> set[str]:
    """The columns that are observed by anybody."""
    row = row_of(pack(("observers", "")))
    return {str(unpack(key)[1]) for key, _ in store.scan("meta", row, end_of_row(row))}


def claim(store: Store, column: str, names: Collection[str]) -> None:
    """Note that these observe the column. Raises `TransactionError` if another does, too."""

    def more(known: set[str]) -> set[str]:
        _check(column, names, known)
        return known.union(names)

    _change(store, column, more)


def forget(store: Store, column: str, name: str) -> bool:
    """An observer is gone for good, or has never run. Whether none is left: then its column is not observed any more."""
    left: set[str] = set()

    def without(known: set[str]) -> set[str] | None:
        nonlocal left
        left = known - {name}
        return left or None

    _change(store, column, without)
    return not left


def _change(store: Store, column: str, change: Callable[[set[str]], set[str] | None]) -> set[str]:
    """Change the names; None: there are none to be kept. Gives those of before."""
    key = pack(("observers", column))
    while True:
        there = store.get("meta", key)
        known = _names(there)
        new = change(known)
        packed = json.dumps(sorted(new)).encode() if new is not None else None
        if packed == there:
            return known
        edit = Edit("meta", key, packed)
        try:
            if store.mutate(Mutation(row_of(key), (Equals("meta", key, there),), (edit,))):
                return known
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
