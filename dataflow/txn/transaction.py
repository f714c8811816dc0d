"""A transaction as its user sees it: a dictionary of cells as they were when it began, and changes that appear together or not at all.

    t["row", "column"]          ──> what this transaction wrote, else the snapshot
    t["row", "column"] = value  ──> a buffer                    ──(commit)──> the engine

Isolation is that of snapshots: two transactions that overlap and write the same cell exclude each other, and one gets `ConflictError`.
What a transaction only reads may have changed when it commits; where that matters (write skew), it says so by `hold`.

>>> from dataflow.txn import Database
>>> db = Database.open("memory:")
>>> with db.transaction() as t:
...     t["ann", "balance"] = 100
...     t["bob", "balance"] = 50
>>> with db.transaction() as t:
...     t["ann", "balance"] -= 30
...     t["bob", "balance"] += 30
>>> db.snapshot().row("bob")
{'balance': 80}
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dataflow.errors import DataflowError, KeyTypeError, Report, SnapshotTooOldError, StoreError, TransactionError, TransactionLimitError
from dataflow.kv import end_of_row, pack, pack_element, unpack
from dataflow.txn.engine import Snapshot, Version
from dataflow.txn.notify import Trail
from dataflow.txn.prewrite import Intent
from dataflow.txn.values import decode, encode

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["Cell", "Reader", "Transaction", "cell_key", "cell_of"]

Cell = tuple[Any, str]
_MISSING: Any = object()
_NONE: frozenset[bytes] = frozenset()


def cell_key(row: Any, column: str) -> bytes:
    """The key of a cell. Raises `KeyTypeError`.

    >>> cell_key("doc", "title") == pack(("doc", "title"))
    True
    """
    if type(row) is str and type(column) is str and "\0" not in row and "\0" not in column:
        try:
            return f"`{row}\0`{column}\0\0".encode()  # what `pack` gives, in a quarter of the time
        except UnicodeEncodeError:
            pass  # refused below, by name
    if type(column) is not str:
        raise KeyTypeError(Report(f"a column is named by a str, not by {type(column).__name__}", hint="a cell is t[row, column]"))
    return pack((row, column))


def cell_of(key: bytes) -> Cell:
    """The cell of a key.

    >>> cell_of(cell_key(("shop", 7), "price"))
    (('shop', 7), 'price')
    """
    row, column = unpack(key)
    return row, column


class Reader:
    """The cells as of one time.

    >>> from dataflow.txn import Database
    >>> db = Database.open("memory:")
    >>> with db.transaction() as t:
    ...     t["a", "x"], t["b", "x"], t["b", "y"] = 1, 2, 3
    >>> with db.snapshot() as s:
    ...     print(s["a", "x"], s.get("c", "x"), ("b", "y") in s, list(s.scan("b")))
    1 None True [(('b', 'x'), 2), (('b', 'y'), 3)]
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._open = True

    @property
    def timestamp(self) -> int:
        """The time it is a snapshot of; also when it is closed, if it was read before."""
        if self._open:
            return self._snapshot.timestamp
        if self._snapshot.start < 0:
            raise TransactionError("the snapshot is closed, and was never read, so it is of no time")
        return self._snapshot.start

    def __getitem__(self, cell: Cell) -> Any:
        value = self._packed(_key(cell))
        if value is None:
            raise KeyError(cell)
        return decode(value)

    def __contains__(self, cell: Cell) -> bool:
        return self._packed(_key(cell)) is not None

    def get(self, row: Any, column: str, default: Any = None) -> Any:
        """A cell's value, or the default if it has none."""
        value = self._packed(cell_key(row, column))
        return default if value is None else decode(value)

    def get_many(self, cells: Iterable[Cell], default: Any = None) -> list[Any]:
        """The values of cells, in their order, read together.

        >>> from dataflow.txn import Database
        >>> with Database.open("memory:").transaction() as t:
        ...     t["a", "x"] = 1
        ...     t.get_many([("a", "x"), ("b", "x")], default=0)
        [1, 0]
        """
        values = self._packed_many([_key(cell) for cell in cells])
        return [default if value is None else decode(value) for value in values]

    def row(self, row: Any) -> dict[str, Any]:
        """The columns of a row that have a value."""
        first = pack_element(row)
        return {cell_of(key)[1]: decode(value) for key, value in self._range(first, end_of_row(first), False) if _is_users(key)}

    def scan(
        self, start: Any = _MISSING, stop: Any = _MISSING, *, column: str | None = None, reverse: bool = False
    ) -> Iterator[tuple[Cell, Any]]:
        """The cells of rows from ``start`` up to, and without, ``stop``, in the order of rows and columns; of one column, if it is named.

        Rows sort as `dataflow.kv.keys` says: None, then numbers, texts, bytes, dates, times and tuples.
        """
        low = b"\x01" if start is _MISSING else pack_element(start)
        high = b"\xff" if stop is _MISSING else pack_element(stop)
        for key, value in self._range(low, high, reverse):
            if _is_users(key):
                cell = cell_of(key)
                if column is None or cell[1] == column:
                    yield cell, decode(value)

    def close(self) -> None:
        """Let go of the snapshot. Raises `SnapshotTooOldError` if some of what it read may have been collected."""
        if self._open:
            self._open = False
            self._snapshot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _packed(self, key: bytes) -> bytes | None:
        if not self._open:
            self._alive()
        return self._snapshot.get(key)

    def _packed_many(self, keys: list[bytes]) -> list[bytes | None]:
        self._alive()
        return [version.value if version else None for version in self._snapshot.versions(keys)]

    def _range(self, low: bytes, high: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        self._alive()
        return self._snapshot.scan(low, high, reverse=reverse)

    def _alive(self) -> None:
        if not self._open:
            raise TransactionError("the snapshot is closed")


class Transaction(Reader):
    """Reads as of one time, and writes that appear at another, together. Used by one thread at a time.

    Leaving a ``with`` block commits; an exception in it rolls back, which costs nothing, because nothing was written yet.
    """

    # Of those that observers run in; the others do not make any.
    forgiven: tuple[bytes, ...] = ()  # failures, by their keys, that go when this is committed
    acked: frozenset[bytes] = _NONE  # acks, by their keys, that were there before
    added = 0  # to queues

    def __init__(self, database: Database, snapshot: Snapshot, *, timeout: float | None = None, trail: Trail | None = None) -> None:
        super().__init__(snapshot)
        self._database = database
        self._writes: dict[bytes, bytes | None] = {}
        self._holds: set[bytes] = set()
        self._notify: dict[bytes, bytes] = {}
        self._trail = trail
        self.after_others = False  # whether another observer's run may have gone before, whose changes are not known
        self.seen: Sequence[bytes] = ()  # notifications, by their keys, that the engine is to take away with the commit
        self._size = 0
        self._until = None if timeout is None else database.clock() + timeout
        self.committed: int | None = None

    def __setitem__(self, cell: Cell, value: Any) -> None:
        self._put(cell, encode(value))

    def __delitem__(self, cell: Cell) -> None:
        self._put(cell, None)

    def delete(self, row: Any, column: str) -> None:
        """Delete a cell; that it has no value is no error."""
        self._put((row, column), None)

    def hold(self, row: Any, column: str) -> None:
        """A read lock: commit only if nobody else changed the cell since this transaction began, or changes it meanwhile.

        Two transactions that each read what the other writes both commit otherwise (write skew).

        >>> from dataflow.txn import Database
        >>> db = Database.open("memory:")
        >>> with db.transaction() as t:
        ...     t["ann", "on call"], t["bob", "on call"] = True, True
        >>> first, second = db.transaction(), db.transaction()
        >>> for t, me, other in ((first, "ann", "bob"), (second, "bob", "ann")):
        ...     if t[other, "on call"]:
        ...         t.hold(other, "on call")
        ...         t[me, "on call"] = False
        >>> first.commit() > 0
        True
        >>> second.commit()
        Traceback (most recent call last):
        dataflow.errors.ConflictError: ['bob', 'on call'] cannot be committed: another transaction committed it at 2
          ...
        """
        self._alive()
        _ = self._snapshot.timestamp  # what is held is held since now
        self._holds.add(cell_key(row, column))

    def commit(self) -> int:
        """Make all writes visible, and give the time at which they are. Raises `ConflictError`; then nothing is.

        Without writes there is nothing to commit, and the time is that of the snapshot.
        """
        try:
            intent = self.intent()
            if intent is None:
                self.committed = self._snapshot.timestamp
                self.close()
                return self.committed
            (outcome,) = self._database.engine.commit_many((intent,))
        finally:
            self._end()
        self.settle(outcome)
        assert self.committed is not None
        return self.committed

    def rollback(self) -> None:
        """Forget the writes."""
        self._end()

    def intent(self) -> Intent | None:
        """What is to be committed; None if nothing is written. Raises `TransactionLimitError`, and `TransactionError` if it is over."""
        self._alive()
        if not self._writes:
            return None
        self._check_size()
        snapshot = self._snapshot
        holds = frozenset(self._holds - self._writes.keys()) if self._holds else _NONE
        return Intent(snapshot.start, self._writes, holds, self._notify, snapshot, self.seen)

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._writes)

    @property
    def notifies(self) -> bool:
        """Whether it writes what is observed."""
        return bool(self._notify)

    def finish(self, row: Any, column: str) -> None:
        """Delete a cell that was handled, without a notification, and what was noted of its handling."""
        key, ours = cell_key(row, column), pack_element(row)
        for noted in [written for written in self._writes if written.startswith(ours) and not _is_users(written)]:
            if noted in self.acked:
                self._writes[noted] = None
            else:
                del self._writes[noted]
        self.put_quietly(key, None)

    def set_aside(self, acks: dict[bytes, bytes]) -> None:
        """Acknowledge changes as seen, and not done."""
        self.forgiven = ()
        for key, ack in acks.items():
            self.put_quietly(key, encode(-decode(ack)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._open:
            return  # committed or rolled back within the block
        if kind is None:
            self.commit()
            return
        try:
            self.close()
        except SnapshotTooOldError:
            if isinstance(error, Exception):
                raise  # what it failed over may be what was collected while it read: that it should run again is all that can be said
        except DataflowError:
            pass

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when, by their keys and without what this transaction wrote."""
        return self._snapshot.versions(keys)

    def settle(self, outcome: int | TransactionError) -> None:
        """Take note of what the engine says of the commit, and raise what it refused it for."""
        if isinstance(outcome, TransactionError):
            self._database.conflicts += 1
            raise outcome
        self.committed = outcome
        self._database.commits += 1

    def put_quietly(self, key: bytes, value: bytes | None) -> None:
        """Write a cell that nobody observes, by its key."""
        self._alive()
        self._writes[key] = value
        self._notify.pop(key, None)

    def _end(self) -> None:
        try:
            self.close()
        except (TransactionError, StoreError):
            pass  # what matters for a commit was looked at by the engine, and what it answered counts, also if the store is away by now

    def _put(self, cell: Cell, value: bytes | None) -> None:
        if not self._open or self._until is not None:
            self._alive()
        key, writes, database = _key(cell), self._writes, self._database
        self._size += len(key) + len(value or b"") - (0 if key not in writes else len(key) + len(writes[key] or b""))
        writes[key] = value
        if cell[1] in database.observed:
            self._notify[key] = (self._trail or Trail()).packed()
        limits = database.limits
        if len(writes) > limits.cells or self._size > limits.bytes:
            self._check_size()

    def _check_size(self) -> None:
        """Also at the commit, as the error may have been caught where it was written."""
        limits = self._database.limits
        if len(self._writes) + len(self._holds) > limits.cells or self._size > limits.bytes:
            raise TransactionLimitError(
                Report(
                    f"a transaction writes or holds more than {limits.cells:,} cells or {limits.bytes >> 20:,} MiB",
                    hint="write in several transactions, or open the database with larger limits",
                )
            )

    def _alive(self) -> None:
        if not self._open:
            raise TransactionError("the transaction is over: it was committed or rolled back")
        if self._until is not None and self._database.clock() > self._until:
            raise TransactionLimitError("the transaction took longer than its timeout")

    def _packed(self, key: bytes) -> bytes | None:
        if not self._open or self._until is not None:
            self._alive()
        found = self._writes.get(key, _MISSING) if self._writes else _MISSING
        return self._snapshot.get(key) if found is _MISSING else found

    def _packed_many(self, keys: list[bytes]) -> list[bytes | None]:
        self._alive()
        writes = self._writes
        read = [key for key in keys if key not in writes]
        found = dict(zip(read, super()._packed_many(read), strict=True)) if read else {}
        return [writes[key] if key in writes else found[key] for key in keys]

    def _range(self, low: bytes, high: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        self._alive()
        stored = self._snapshot.scan(low, high, reverse=reverse)
        written = sorted(((key, value) for key, value in self._writes.items() if low <= key < high), key=itemgetter(0), reverse=reverse)
        if not written:
            yield from stored
            return
        mine = dict(written)
        kept = (entry for entry in stored if entry[0] not in mine)
        put = ((key, value) for key, value in written if value is not None)
        yield from heapq.merge(kept, put, key=itemgetter(0), reverse=reverse)


def _key(cell: Cell) -> bytes:
    try:
        if isinstance(cell, str):
            raise ValueError  # one of two letters would pass for a row and a column
        row, column = cell
    except (TypeError, ValueError):
        raise KeyTypeError(Report(f"a cell is named by a row and a column, not by {cell!r}"[:200], hint="write t[row, column]")) from None
    return cell_key(row, column)


def _is_users(key: bytes) -> bool:
    """Whether a cell is not one of ours, whose columns are tuples that end with a text: a text, a tuple and the key end there."""
    return not key.endswith(b"\x00\x00\x00")
