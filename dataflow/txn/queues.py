"""Queues between transactions: for cells that many want to change, and for the world outside.

    CombineQueue   writers only append updates, each in a cell of its own       ──> nobody conflicts
                   a worker takes all updates of a bucket, and changes each key once, whatever the number of updates
    ExportQueue    what is committed leaves, with a number that grows            ──> the receiver can tell what is old, and what it has

A row that a thousand transactions a second increment would abort nearly all of them. As a `CombineQueue` (Fluo's, once CollisionFreeMap)
they append to one of a few buckets, by the key's hash; one transaction a bucket reads the updates and the keys' values, combines them, and
removes the updates. The value is then that of all updates committed before it began, and ``on_change`` is told the old value, as it
was last told it, and the new one: just what an index that is maintained by changes needs.

An entry of an `ExportQueue` is handed over after its transaction committed, never before, and at least once: a worker may die between
handing over and forgetting. Its number is the commit time; of one key a later number is a later state, so the receiver keeps the largest
and ignores the rest.

An entry leaves its queue only when it was combined, or sent. What fails where observers run with ``on_error="skip"`` stays in the queue:
of a `CombineQueue` the updates of that key alone. It is tried again with the next entry, of its key or of its bucket, and after
`db.renotify("queue NAME")`, or `("export NAME")`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from itertools import count, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dataflow.errors import TransactionLimitError
from dataflow.kv import pack_element
from dataflow.kv.keys import unpack_element
from dataflow.txn.failed import failures
from dataflow.txn.runs import Observer
from dataflow.txn.transaction import Transaction, cell_key
from dataflow.txn.values import decode, encode

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["CombineQueue", "Export", "ExportQueue"]

_BUCKETS = 16
_PLACE = 20  # bits of a number that are the place within a transaction
_KEPT = 10_000  # failures that a run looks at
_numbers = count()
_here = os.urandom(8)  # with the process and a number, the name of an entry, which nobody else gives


class CombineQueue:
    """Values by key, changed by combining updates later, in bulk.

    ``combine(old, updates)`` gives the new value of a key from the old one, None if there was none, and a list of updates in no order;
    None deletes it. Updates are what JSON can say. ``on_change(t, key, old, new)`` runs in the same transaction. The values are read by
    `get`. ``buckets``: how many transactions can work on the queue at once; it may not change while updates wait.

    >>> from dataflow.txn import Database
    >>> db = Database.open("memory:")
    >>> words = CombineQueue(db, "words", lambda old, updates: (old or 0) + sum(updates))
    >>> with db.transaction() as t:
    ...     for word in "to be or not to be".split():
    ...         words.add(t, word, 1)
    >>> _ = db.run_observers()
    >>> words.get(db.snapshot(), "be")
    2
    """

    def __init__(
        self,
        database: Database,
        name: str,
        combine: Callable[[Any, list[Any]], Any],
        *,
        on_change: Callable[[Transaction, Any, Any, Any], None] | None = None,
        buckets: int = _BUCKETS,
    ) -> None:
        self.name, self._database, self._buckets = name, database, buckets
        self._combine, self._on_change = combine, on_change
        self._column = f"queue {name}"
        _refuse(name, combine, buckets)
        self._observer = Observer(f"combine {name}", self._column, self._process, _bucket_of, _key_in)
        self._database.observers.register(self._observer)

    def add(self, t: Transaction, key: Any, update: Any) -> None:
        """An update of a key, if the transaction commits."""
        cell_key(("combined", self.name, key), "value")  # a key that this cannot hold is refused here, and not where it is combined
        t[_entry(self.name, key, self._buckets), self._column] = [_spelled(key), update]

    def get(self, t: Any, key: Any, default: Any = None) -> Any:
        """A key's value, of the updates that are combined so far. ``t``: a transaction or a snapshot."""
        return t.get(("combined", self.name, key), "value", default)

    def _process(self, t: Transaction, changed: dict[Any, Any]) -> None:
        updates: dict[bytes, tuple[Any, list[Any]]] = {}
        keys = {_key_in(row, value) for row, value in changed.items() if value is not None}
        for row, value in (changed | _kept_back(self._database, t, self._observer, changed, keys)).items():
            if value is not None:
                key = _unspelled(value[0])
                updates.setdefault(pack_element(key), (key, []))[1].append(value[1])
            t.finish(row, self._column)
        cells = [(("combined", self.name, key), "value") for key, _ in updates.values()]
        for (key, new), old in zip(updates.values(), t.get_many(cells), strict=True):
            before = _packed(old)  # the function may change the old value in place, and give it back
            value = self._combine(old, new)
            if _packed(value) == before:
                continue
            if value is None:
                t.delete(("combined", self.name, key), "value")
            else:
                t[("combined", self.name, key), "value"] = value
            if self._on_change is not None:
                self._on_change(t, key, None if before is None else decode(before), value)


class Export(NamedTuple):
    """What left: of one key, a larger number is a later state. It is the commit time, and the place within the transaction behind it."""

    number: int
    key: Any
    value: Any


class ExportQueue:
    """What transactions hand to the world outside, once they are committed.

    ``send(exports)`` gives a list of `Export` away, outside of any transaction; if it raises, they are given again. It may see one twice,
    and those of different keys in any order.

    >>> from dataflow.txn import Database
    >>> db, sent = Database.open("memory:"), []
    >>> mail = ExportQueue(db, "mail", sent.extend)
    >>> with db.transaction() as t:
    ...     mail.add(t, "ann", {"text": "hello"})
    >>> _ = db.run_observers()
    >>> [(export.key, export.value) for export in sent]
    [('ann', {'text': 'hello'})]
    """

    def __init__(self, database: Database, name: str, send: Callable[[list[Export]], None], *, buckets: int = _BUCKETS) -> None:
        self.name, self._database, self._send, self._buckets = name, database, send, buckets
        self._column = f"export {name}"
        _refuse(name, send, buckets)
        self._observer = Observer(f"export {name}", self._column, self._process, _bucket_of)
        self._database.observers.register(self._observer)

    def add(self, t: Transaction, key: Any, value: Any) -> None:
        """Something to hand over for a key, if the transaction commits."""
        if t.added >> _PLACE:
            raise TransactionLimitError(f"a transaction adds more than {1 << _PLACE:,} entries to queues")
        t[_entry(self.name, key, self._buckets), self._column] = [_spelled(key), value, t.added]
        t.added += 1

    def _process(self, t: Transaction, changed: dict[Any, Any]) -> None:
        changed = changed | _kept_back(self._database, t, self._observer, changed)
        rows = [row for row, value in changed.items() if value is not None]
        versions = t.versions([cell_key(row, self._column) for row in rows])
        exports = [
            Export((version.timestamp << _PLACE) + _place(changed[row]), _unspelled(changed[row][0]), changed[row][1])
            for row, version in zip(rows, versions, strict=True)
            if version is not None
        ]
        exports.sort(key=lambda export: export.number)
        if exports:
            self._send(exports)
        for row in changed:
            t.finish(row, self._column)


def _entry(queue: str, key: Any, buckets: int) -> tuple[Any, ...]:
    """A row that no other entry has, in the bucket of its key."""
    return ("queue", queue, zlib.crc32(pack_element(key)) % buckets, _here, os.getpid(), next(_numbers))


def _bucket_of(row: Any) -> Any:
    return row[:3]


def _key_in(row: Any, value: Any) -> Any:
    """The key of an entry, so that equal ones are one key; of none if the entry is gone."""
    return pack_element(_unspelled(value[0])) if value is not None else None


def _kept_back(
    database: Database, t: Transaction, observer: Observer, changed: dict[Any, Any], keys: set[Any] | None = None
) -> dict[Any, Any]:
    """The entries of a bucket that were set aside; of these keys, if some are given. They are forgiven when this is committed."""
    bucket = _bucket_of(next(iter(changed)))
    found: dict[Any, Any] = {}
    for failure in islice(failures(database.engine.store, observer.name), _KEPT):
        if _bucket_of(failure.row) != bucket or failure.row in changed:
            continue
        value = t.get(failure.row, observer.column)
        if keys is None or value is None or _key_in(failure.row, value) in keys:
            ack = observer.ack(cell_key(failure.row, observer.column))
            t.acked |= {ack}
            t.put_quietly(ack, None)
            t.forgiven += (failure.key,)
            found[failure.row] = value
    return found


def _packed(value: Any) -> bytes | None:
    return None if value is None else encode(value)


def _place(entry: list[Any]) -> int:
    """The place of an entry within its transaction; 0 of those that were added before it was kept."""
    return int(entry[2]) if len(entry) > 2 else 0


def _refuse(name: Any, function: Any, buckets: int) -> None:
    """Raises `ValueError`."""
    if not callable(function):
        raise ValueError(f"queue {name!r} needs a function, not {function!r}")
    if buckets < 1:
        raise ValueError(f"queue {name!r} needs at least one bucket, not {buckets}")


def _spelled(key: Any) -> Any:
    """A key as JSON can say it: tuples and bytes are marked."""
    return key if type(key) in (str, int) else {"key": pack_element(key).hex()}


def _unspelled(spelled: Any) -> Any:
    return unpack_element(bytes.fromhex(spelled["key"]))[0] if isinstance(spelled, dict) else spelled
