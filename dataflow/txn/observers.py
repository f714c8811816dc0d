"""Observers: functions that run after cells of a column changed, each run in a transaction of its own.

    notify: cell, commit times ──> a worker whose part it is
                                   begin (snapshot s) ─ read the cell's version and the observer's ack cell
                                   version newer than ack?  no: seen already      yes: function(t, row, value), ack := its time
                                   all observers of the column done: drop the notifications up to s

At most one run commits for a change: two runs at the same time both write the ack cell, and one conflicts; a later one finds that the ack
is not older than the version. Runs for which nothing is acknowledged are repeated: of each change at least one run commits, unless a newer
change of the cell takes its place (messages collapse). The ack is an ordinary cell of the row, in a column that no user's column is called.

The parts are by hash of the row (or of what ``together`` says of it), one for each worker that is alive (`members.py`). So workers do not
look for each other's work, need no locks, and do not clump together behind a slow one, as Percolator's random scans do.

An observer that changes what is observed makes a chain; its trail travels with the notifications. A chain longer than `LONGEST` is taken
for a circle, and ends with an error that names the observers in it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from dataflow.errors import Report, TransactionError, nearest
from dataflow.txn import known
from dataflow.txn.failed import failures
from dataflow.txn.notify import Trail
from dataflow.txn.runs import Observer, running
from dataflow.txn.transaction import cell_key, cell_of
from dataflow.txn.values import decode
from dataflow.txn.worker import Worker

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["Observer", "Observers", "runnable"]

_NOTED = 1_000  # cells that are noted again after one look
_PATIENCE = 60.0  # seconds that Ctrl-C waits for observers that are running; a second one does not wait


class Observers:
    """The observers of a database, and the workers that run them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_column: dict[str, list[Observer]] = {}
        self.columns = frozenset(known.observed(database.engine.store))  # also by other processes

    def register(self, observer: Observer) -> None:
        """Run an observer from now on for changes of its column. Raises `TransactionError` if its name is taken."""
        if not isinstance(observer.column, str):
            raise ValueError(f"a column is named by a str, not by {observer.column!r}")
        registered = [other for others in self._by_column.values() for other in others]
        if any(other.column == observer.column and other.together != observer.together for other in registered):
            raise TransactionError(f"the observers of column {observer.column!r} must all say the same of what goes together")
        if any(other.name == observer.name and other.column == observer.column for other in registered):
            raise TransactionError(
                Report(f"column {observer.column!r} has an observer {observer.name!r} already", hint="give this one another name: name=…")
            )
        self._by_column.setdefault(observer.column, []).append(observer)
        self.columns |= {observer.column}

    def run(self, workers: int, until: Literal["idle"] | float | Callable[[], bool], on_error: Literal["raise", "skip"]) -> int:
        """Run workers in threads of this process, and give the number of committed runs."""
        if workers < 1:
            raise ValueError(f"workers={workers}: at least one is needed to run observers")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} is neither 'raise' nor 'skip'")
        if isinstance(until, str) and until != "idle":
            raise ValueError(f"until={until!r} is neither 'idle', nor seconds, nor a function")
        store = self._database.engine.store
        if any(one is store or (one.shared and one.name == store.name) for one in getattr(running, "stores", ())):
            raise TransactionError(
                Report("an observer runs observers, and would wait for itself", hint="what it changes is looked at when it has committed")
            )
        if not self._by_column:
            raise TransactionError(Report("there are no observers to run", hint="register one: @db.observer(column)"))
        for column, observers in self._by_column.items():
            known.check(store, column, [one.name for one in observers])
        known.observe(store, self._by_column)
        clock = self._database.clock
        if until == "idle":
            enough: Callable[[], bool] | None = None
        elif callable(until):
            enough = until
        else:
            end = clock() + until
            enough = lambda: clock() >= end  # noqa: E731
        stop, made = threading.Event(), [Worker(self._database, self._by_column, on_error) for _ in range(workers)]
        if workers == 1:
            return made[0].work(stop, enough)
        _in_threads([partial(worker.work, stop, enough) for worker in made], stop)
        return sum(worker.runs for worker in made)

    def check(self, column: str) -> None:
        """Raises `TransactionError` if nobody observes a column: what is noted for it would never be looked at, and hold the frontier."""
        if column not in self.columns and column not in known.observed(self._database.engine.store):
            raise TransactionError(f"nobody observes column {column!r}{_did_you_mean(column, self.columns)}")

    def forget(self, column: str, name: str) -> None:
        """An observer is gone for good; with the last of a column, what was noted for it."""
        engine = self._database.engine
        names = known.names(engine.store, column) | {one.name for one in self._by_column.get(column, ())}
        if name not in names and names:
            raise ValueError(f"column {column!r} has no observer {name!r}{_did_you_mean(name, names)}")
        here, at = bool(names) or column in self.columns, b"\x01"
        if not known.forget(engine.store, column, name):
            return
        if column not in self._by_column:
            self.columns -= {column}
        while noted := [*islice(engine.dirty(at, b"\xff", lambda key: cell_of(key)[1] == column), _NOTED)]:
            now = engine.now()
            engine.drop([(pending, now) for pending in noted])
            at, here = noted[-1].key + b"\x00", True  # also by who had the store open when the last observer was forgotten elsewhere
        if not here:
            raise ValueError(f"column {column!r} has no observer {name!r}{_did_you_mean(column, self.columns)}")

    def renotify(self, column: str) -> int:
        """Note all cells of a column that an observer has not seen the last change of."""
        engine, count = self._database.engine, 0
        if column not in self._by_column:
            raise TransactionError(f"nobody observes column {column!r} here{_did_you_mean(column, self._by_column)}")
        after, left = b"\x01", True
        while left:  # piece by piece, each of a snapshot that is let go before anything is noted: it may have the last connection
            missed, snapshot = list[bytes](), engine.begin()
            try:
                for key, _ in snapshot.scan(after, b"\xff"):
                    if len(missed) == _NOTED:
                        after = key
                        break
                    if key.endswith(b"\x00\x00\x00") or cell_of(key)[1] != column:
                        continue
                    (version, *acks) = snapshot.versions([key, *(observer.ack(key) for observer in self._by_column[column])])
                    if version and any(ack is None or ack.value is None or decode(ack.value) < version.timestamp for ack in acks):
                        missed.append(key)
                else:
                    left = False
            finally:
                snapshot.close()
            for key in missed:
                engine.note(key, Trail())
            count += len(missed)
        return count + sum(self._note_failed(observer) for observer in self._by_column[column])

    def _note_failed(self, observer: Observer) -> int:
        """Note what was set aside and is no cell with a value, as a scan finds: a delete."""
        engine, count = self._database.engine, 0
        for failure in [*failures(engine.store, observer.name)]:
            if failure.column not in (observer.column, None):
                continue
            key, snapshot = cell_key(failure.row, observer.column), engine.begin()
            try:
                version, ack = snapshot.versions([key, observer.ack(key)])
            finally:
                snapshot.close()
            if version is None or version.value is None or ack is None or ack.value is None or decode(ack.value) >= 0:
                engine.note(key, Trail(weak=True))
                count += 1
        return count

    def failures(self) -> list[tuple[str, Any, str]]:
        """The changes that were set aside."""
        return [(failure.observer, failure.row, failure.text) for failure in failures(self._database.engine.store)]


def _did_you_mean(name: str, known_ones: Iterable[str]) -> str:
    close = nearest(str(name), sorted(known_ones))
    return f"; did you mean {close!r}?" if close is not None else ""


def runnable(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that can observe. Raises `ValueError` for one whose call does nothing yet: a coroutine's, or a generator's."""
    kinds = (
        (inspect.iscoroutinefunction, "is async"),
        (inspect.isasyncgenfunction, "is async"),
        (inspect.isgeneratorfunction, "has a yield"),
    )
    for is_kind, said in kinds:
        if is_kind(function) or is_kind(getattr(function, "__call__", None)):  # noqa: B004
            raise ValueError(f"an observer is a function that has done its work when it returns, and {function!r} {said}")
    if not callable(function):
        raise ValueError(f"an observer is a function, not {function!r}")
    return function


def _in_threads(work: Sequence[Callable[[], object]], stop: threading.Event) -> None:
    """Do each in a thread, and raise the first error; it, and Ctrl-C, stops all. Nobody works any more when this returns."""
    failures: list[BaseException] = []

    def working(do: Callable[[], object], ended: threading.Event) -> None:
        try:
            do()
        except BaseException as error:
            failures.append(error)
            stop.set()
        finally:
            ended.set()

    # A `join` that Ctrl-C interrupts takes the thread for ended, and the next one returns at once (Python up to 3.12): hence the events.
    all_ended = [threading.Event() for _ in work]
    threads = [threading.Thread(target=working, args=given, name="dataflow-observer") for given in zip(work, all_ended, strict=True)]
    begun = 0
    try:
        for thread in threads:
            begun += 1
            thread.start()
        for ended in all_ended:
            ended.wait()
    except BaseException:
        stop.set()
        until = monotonic() + _PATIENCE
        for thread, ended in zip(threads[:begun], all_ended, strict=False):
            if thread.ident is not None:
                ended.wait(max(0.0, until - monotonic()))
                thread.join(0.1)
        raise
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
