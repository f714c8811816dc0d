"""A database: transactions over a key-value store, and observers of what they change.

    Database.open("folder")                   RocksDB, this process            embedded engine
    Database.open("lmdb:folder")              LMDB, processes of this machine  embedded engine, the writers' lock as its line
    Database.open("postgresql://…")           one server                       native engine
    Database.open(["postgresql://…", …])      several servers as shards        Percolator engine
    Database.open("bigtable://…")             Bigtable                         Percolator engine
    Database.open("memory:")                  this process's memory            embedded engine

>>> db = Database.open("memory:")
>>> @db.transactional
... def transfer(t, giver, taker, amount):
...     t[giver, "balance"] -= amount
...     t[taker, "balance"] = t.get(taker, "balance", 0) + amount
>>> with db.transaction() as t:
...     t["ann", "balance"] = 100
>>> transfer("ann", "bob", 30)
>>> list(db.snapshot().scan(column="balance"))
[(('ann', 'balance'), 70), (('bob', 'balance'), 30)]
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from dataflow.errors import ConflictError, Report, SnapshotTooOldError, StoreError
from dataflow.kv import Store
from dataflow.record import record
from dataflow.txn.collect import safe_point
from dataflow.txn.engine import Engine
from dataflow.txn.notify import Trail
from dataflow.txn.observers import Observer, Observers, runnable
from dataflow.txn.opening import engine_for, open_store
from dataflow.txn.retries import given_up, pause
from dataflow.txn.together import commit_together
from dataflow.txn.transaction import Cell, Reader, Transaction, cell_key, cell_of

__all__ = ["Database", "Limits"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_KINDS = {b"P": "put", b"D": "delete", b"H": "hold"}
_AGAIN = (ConflictError, SnapshotTooOldError)


@record
class Limits:
    """What one transaction may be: cells it writes, bytes of them with their keys."""

    cells: int = 100_000
    bytes: int = 64 << 20


class Database:
    """Transactions over a key-value store. May be used by several threads.

    ``limits``: of one transaction. ``clock``: monotonic seconds, for timeouts.
    """

    def __init__(self, engine: Engine, *, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self.limits = limits or Limits()
        self.clock = clock
        self.commits = self.conflicts = 0  # of this process
        self.observers = Observers(self)

    @classmethod
    def open(
        cls,
        address: str | Sequence[str] | Store,
        *,
        engine: Literal["embedded", "native", "percolator"] | None = None,
        sync: bool = True,
        history: bool | None = None,
        lock_life: float = 3.0,
        one_phase: bool = False,
        limits: Limits | None = None,
        **options: Any,
    ) -> Database:
        """A database at an address, made if there is none; several addresses are shards of one.

        ``engine``: by default the fastest that the store allows. ``sync``: whether a commit survives a crash of the machine; without,
        only one of the process. ``history``: keep old versions until they are collected, to read the past; chosen when the store is made.
        ``lock_life``: seconds after which a transaction that is committing is taken for dead (percolator). ``one_phase``: commit without
        locks (percolator, on a store that this process owns). ``options``: the store's. Raises `StoreError`.

        >>> db = Database.open("memory:", history=True)
        >>> with db.transaction() as t: t["a", "x"] = 1
        >>> before = db.now()
        >>> with db.transaction() as t: t["a", "x"] = 2
        >>> db.as_of(before)["a", "x"], db.snapshot()["a", "x"]
        (1, 2)
        """
        store = open_store(address, **options)
        try:
            return cls(engine_for(store, engine, sync=sync, history=history, life=lock_life, one_phase=one_phase), limits=limits)
        except BaseException:
            store.close()
            raise

    # -- transactions

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """A transaction; ``with`` commits it. It begins with its first read (percolator: now). ``timeout``: seconds until it refuses."""
        return Transaction(self, self.engine.begin(), timeout=timeout)

    def snapshot(self) -> Reader:
        """The cells as they are when it is first read (percolator: now), to be read in peace; asking for its ``timestamp`` is reading."""
        return Reader(self.engine.begin())

    def as_of(self, timestamp: int) -> Reader:
        """The cells as they were at a time. Raises `SnapshotTooOldError` if versions of then are not kept."""
        return Reader(self.engine.as_of(timestamp))

    def now(self) -> int:
        """A time that no commit which was acknowledged is later than."""
        return self.engine.now()

    def run(self, function: Callable[[Transaction], R], *, retries: int = 20, timeout: float | None = None) -> R:
        """Run a function in a transaction and commit it; again, from the beginning, if it conflicts.

        What it does besides reading and writing cells is done again, too. Raises the last `ConflictError` after so many ``retries``.

        >>> db = Database.open("memory:")
        >>> db.run(lambda t: t.get("a", "x", 0))
        0
        """
        until = None if timeout is None else self.clock() + timeout
        attempt = 0
        while True:
            left = None if until is None else until - self.clock()
            try:
                with self.transaction(timeout=left) as t:
                    return function(t)
            except _AGAIN as conflict:
                attempt += 1
                if attempt > retries:
                    raise given_up(conflict, attempt) from conflict
            time.sleep(pause(attempt))

    def transactional(self, function: Callable[Concatenate[Transaction, P], R]) -> Callable[P, R]:
        """A function of a transaction as one that makes its own, and runs again when it conflicts.

        >>> db = Database.open("memory:")
        >>> @db.transactional
        ... def visit(t, page):
        ...     t[page, "visits"] = t.get(page, "visits", 0) + 1
        ...     return t[page, "visits"]
        >>> visit("/"), visit("/")
        (1, 2)
        """

        @functools.wraps(function)
        def running(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.run(lambda t: function(t, *args, **kwargs))

        return running

    def each(self, function: Callable[[Transaction, T], Any], items: Iterable[T], *, group: int = 100, retries: int = 20) -> int:
        """Run a function for each item in a transaction of its own, and commit ``group`` of them in one write; give their number.

        The transactions of a group do not see one another; those that conflict run again by themselves. If the function fails for an item,
        or there is no next item because of an error, that is raised when all items before it are committed.

        >>> db = Database.open("memory:")
        >>> def load(t, line):
        ...     t[line, "seen"] = True
        >>> db.each(load, ["a", "b", "c"])
        3
        """
        if group < 1:
            raise ValueError(f"group={group}: at least one item goes into a write")
        done, left = 0, iter(items)
        failure: Exception | None = None
        while failure is None:
            part: list[T] = []
            try:
                for item in islice(left, min(group, self.engine.together)):
                    part.append(item)
            except Exception as error:
                failure = error
            if not part:
                break
            made, failed = self._made(function, part)
            done += self._commit_group(function, part[: len(made)], made, retries)
            failure = failed or failure
        if failure is not None:
            raise failure
        return done

    def _made(self, function: Callable[[Transaction, T], Any], part: list[T]) -> tuple[list[Transaction | None], Exception | None]:
        """Transactions in which the function has run for items, up to one for which it fails; none for one that is to run again."""
        made: list[Transaction | None] = []
        failure: Exception | None = None
        for item, snapshot in zip(part, self.engine.begin_many(len(part)), strict=True):
            t = Transaction(self, snapshot)
            try:
                if failure is None:
                    function(t, item)
                    made.append(t)
                    continue
            except _AGAIN:
                made.append(None)
            except Exception as error:
                try:
                    t.close()
                except SnapshotTooOldError:
                    made.append(None)  # it may have failed over what was collected while it read
                else:
                    failure = error
            t.rollback()
        return made, failure

    def _commit_group(self, function: Callable[[Transaction, T], Any], items: list[T], made: list[Transaction | None], retries: int) -> int:
        outcomes = iter(commit_together(self, [t for t in made if t is not None]))
        for item, t in zip(items, made, strict=True):
            outcome = next(outcomes) if t is not None else None
            if t is None or isinstance(outcome, _AGAIN):
                self.run(functools.partial(_call, function, item), retries=retries)
            elif outcome is not None:
                raise outcome
        return len(made)

    # -- observers

    @property
    def observed(self) -> frozenset[str]:
        """The columns whose changes are noted for observers."""
        return self.observers.columns

    def observer(
        self, column: str, *, name: str | None = None, together: Callable[[Any], Any] | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Run a function after a cell of a column changed: ``function(t, row, value)``, in a transaction of its own.

        Of each change at most one run commits; of several changes that come quickly, only the last may be run for. ``value`` is None if the
        cell was deleted. ``together``: rows for which it gives the same are handed over together, as ``function(t, {row: value, …})``.
        ``name``: by which its progress is kept in the store; the function's, if none is given.

        >>> db = Database.open("memory:")
        >>> @db.observer("text")
        ... def count_words(t, row, text):
        ...     t[row, "words"] = len((text or "").split())
        >>> with db.transaction() as t: t["doc", "text"] = "to be or not"
        >>> db.run_observers()
        1
        >>> db.snapshot()["doc", "words"]
        4
        """

        if not isinstance(column, str):
            how = ': write @db.observer("column") above the function' if callable(column) else ""
            raise ValueError(f"a column is named by a str, not by {column!r}{how}")

        def registered(function: Callable[..., Any]) -> Callable[..., Any]:
            own = name or getattr(function, "__name__", "")
            if not own:
                raise ValueError(f"{function!r} has no name to keep its progress by: give it one, by name=…")
            self.observers.register(Observer(own, column, runnable(function), together))
            return function

        return registered

    def run_observers(
        self,
        *,
        workers: int = 1,
        until: Literal["idle"] | float | Callable[[], bool] = "idle",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> int:
        """Run the observers of what changed, and give the number of runs that committed.

        ``workers``: threads of this process; other processes may run observers at the same time, and share the work. ``until``: nothing is
        left to do, or so many seconds, or a function says that it is enough. ``on_error``: whether a function that fails ends it all,
        or that change is set aside (`failures` shows it). Raises `TransactionError` if another process has other observers of a column,
        or had one that is not registered here.
        """
        return self.observers.run(workers, until, on_error)

    def notify(self, row: Any, column: str) -> None:
        """Have the observers of a cell run, though it did not change (a weak notification: more than one run may commit).

        Raises `TransactionError` if nobody observes the column.
        """
        self.observers.check(column)
        self.engine.note(cell_key(row, column), Trail(weak=True))

    def renotify(self, column: str) -> int:
        """Have all cells of a column looked at whose last change an observer has not seen, and give their number.

        For an observer that is new to a column with data, and after a store was restored.
        """
        return self.observers.renotify(column)

    def forget_observer(self, column: str, name: str) -> None:
        """An observer that has run on this store is gone for good: the others of the column may run without it.

        Who runs without an observer takes away what is noted for it, so a run is refused as long as one is missing. With the last of a
        column goes what was noted for it.

        >>> db = Database.open("memory:")
        >>> @db.observer("text")
        ... def count_words(t, row, text): t[row, "words"] = len(text.split())
        >>> with db.transaction() as t: t["doc", "text"] = "to be or not to be"
        >>> db.run_observers()
        1
        >>> db.forget_observer("text", "count_words")
        """
        self.observers.forget(column, name)

    def failures(self) -> list[tuple[str, Any, str]]:
        """The changes that were set aside: the observer, the row, and what it said."""
        return self.observers.failures()

    def frontier(self) -> int:
        """A time up to which all changes are reflected: their observers have run, and those of what these changed."""
        return self.engine.frontier()

    # -- operations

    def collect_garbage(self, before: int | None = None) -> int:
        """Remove versions that no snapshot in use can see, and none of ``before`` or later; give their number.

        Where others have the store too, it waits until it knows of each whether it lives: seconds, if one died.
        """
        return self.engine.collect(before)[1]

    def locks(self) -> list[tuple[Cell, dict[str, Any]]]:
        """The locks that stand: the cell, when its transaction began, its primary, its life in seconds.

        Only the Percolator engine has any.
        """
        from dataflow.txn.records import lock_of

        return [
            (cell_of(key), {"start": lock.start, "primary": cell_of(lock.primary), "life": lock.life / 1000, "kind": _KINDS[lock.kind]})
            for key, packed in self.engine.store.scan("lock", b"\x01", b"\xff")
            for lock in (lock_of(packed),)
        ]

    def resolve_locks(self) -> int:
        """Finish or undo what dead processes left; waits for the life of their locks. Gives the number of cells that were freed."""
        resolve = getattr(self.engine, "resolve_all", None)
        return resolve() if resolve is not None else 0

    def backup(self, folder: str) -> None:
        """Copy an embedded store, as it is now, to a new folder that can be opened as a database; what is written meanwhile is not in it.

        Raises `StoreError` for a store that has tools of its own for that (PostgreSQL, Bigtable).
        """
        copy = getattr(self.engine.store, "checkpoint", None)
        if copy is None:
            raise StoreError(
                Report(f"{self.engine.store.name} cannot be copied from here", hint="use its own tools: pg_basebackup, Bigtable's backups")
            )
        copy(folder)

    def stats(self) -> dict[str, Any]:
        """Numbers for people and monitors: times, locks, pending notifications, sizes, and what this process did.

        >>> db = Database.open("memory:")
        >>> with db.transaction() as t: t["a", "x"] = 1
        >>> found = db.stats()
        >>> found["engine"], found["commits"], found["conflicts"], found["locks"], found["pending"]
        ('embedded', 1, 0, 0, 0)
        """
        store = self.engine.store
        sizes = store.sizes() if hasattr(store, "sizes") else None
        return {
            "store": store.name,
            "engine": self.engine.name,
            "now": self.now(),
            "frontier": self.frontier(),
            "safe point": safe_point(store),
            "locks": sum(1 for _ in store.scan("lock", b"\x01", b"\xff")),
            "pending": sum(1 for _ in self.engine.dirty(b"\x01", b"\xff")),
            "failures": len(self.failures()),
            "bytes": sizes.disk if sizes else None,
            "keys": dict(sizes.keys) if sizes else None,
            "commits": self.commits,
            "conflicts": self.conflicts,
        }

    def close(self) -> None:
        """Finish what is under way, and close the store."""
        self.engine.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _call(function: Callable[[Transaction, T], Any], item: T, t: Transaction) -> Any:
    return function(t, item)
