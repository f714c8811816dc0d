"""A worker: takes pending cells of its part, runs their observers, commits the runs together, and drops the notifications.

    pending cells of my part (up to a batch) ──> runs: one a cell and observer, or one for all that go together
    each run     begin ─ versions and acks ─ newer than the acks? ─ function ─ acks := the versions' times
    all runs     committed together, in one write of the engine; those that conflict run again, one by one
    each cell    all its observers done: drop its notifications up to the oldest of their snapshots

A batch shrinks while more than half of its runs conflict (many rows that change one cell), and grows again after.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from dataflow.errors import ConflictError, Report, SnapshotTooOldError, StoreError, TransactionError, redact, shorten
from dataflow.kv import Edit, pack, pack_element, row_of
from dataflow.record import record
from dataflow.txn.collect import check_age
from dataflow.txn.engine import Snapshot
from dataflow.txn.members import Members
from dataflow.txn.notify import Pending
from dataflow.txn.transaction import Transaction, cell_of, commit_together
from dataflow.txn.values import decode, encode

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["LONGEST", "Observer", "Worker"]

LONGEST = 200  # runs in a chain, each made by a change of the one before
_BATCH = 256  # cells a worker takes at a time
_IDLE = 0.05  # seconds a worker that found nothing waits at most
_AGAIN = (ConflictError, SnapshotTooOldError)


@record
class Observer:
    """A function of the changes of a column. ``together``: rows for which it gives the same are handed over together."""

    name: str
    column: str
    function: Callable[..., Any]
    together: Callable[[Any], Any] | None = None

    def part(self, row: Any) -> bytes:
        """What decides which worker a row is for."""
        return pack_element(row if self.together is None else self.together(row))

    def ack(self, key: bytes) -> bytes:
        """The key of the cell that says which change of a cell this observer has seen last."""
        return row_of(key) + _ack_column(self.name, self.column)


@cache
def _ack_column(name: str, column: str) -> bytes:
    return pack((("ack", name, column),))


@record
class _Run:
    """One transaction of an observer: the pending cells it is for."""

    observer: Observer
    cells: list[Pending]


class Worker:
    """Runs the observers of its part of the rows."""

    def __init__(self, database: Database, by_column: dict[str, list[Observer]], on_error: Literal["raise", "skip"]) -> None:
        self._database, self._engine, self._on_error = database, database.engine, on_error
        self._observers = {pack_element(column): observers for column, observers in by_column.items()}
        self._members = Members(database.engine.store, database.clock)
        self._at = b"\x01"
        self._size = _BATCH
        self.runs = 0

    def work(self, stop: Event, enough: Callable[[], bool] | None) -> int:
        """Work until told to stop; without ``enough``, until nothing is left for anybody."""
        waited = 0
        try:
            while not stop.is_set() and not (enough is not None and enough()):
                self._members.look()
                if self._round():
                    waited = 0
                elif enough is None and self._idle():
                    break
                else:
                    waited = min(waited + 1, 10)
                    stop.wait(min(_IDLE, 0.0005 * 2**waited))
        finally:
            self._members.leave()
        return self.runs

    def _idle(self) -> bool:
        """Whether nothing is left for anybody: also of what was committed by those who died before they had noted it everywhere."""
        self._engine.frontier()
        return not any(self._of(pending) for pending in self._engine.dirty(b"\x01", b"\xff"))

    def _of(self, pending: Pending) -> list[Observer]:
        """The observers of a cell."""
        return self._observers.get(pending.key[len(row_of(pending.key)) : -1], [])

    def _mine(self) -> Iterator[tuple[Pending, list[Observer], bytes]]:
        for pending in self._engine.dirty(self._at, b"\xff"):
            if observers := self._of(pending):
                part = row_of(pending.key) if observers[0].together is None else observers[0].part(cell_of(pending.key)[0])
                if self._members.mine(part):
                    yield pending, observers, part

    def _round(self) -> int:
        """Run what is pending in the next stretch of the store, and give the number of cells that are done."""
        taken = list(islice(self._mine(), self._size))
        if not taken and self._at != b"\x01":
            self._at = b"\x01"
            taken = list(islice(self._mine(), self._size))
        self._at = taken[-1][0].key + b"\x00" if len(taken) == self._size else b"\x01"
        done: dict[bytes, int] = {}
        left: dict[bytes, int] = {pending.key: len(observers) for pending, observers, _ in taken}
        runs, most = _runs_of(taken), self._engine.together
        for at in range(0, len(runs), most):
            for run, start in self._committed(runs[at : at + most]):
                for pending in run.cells:
                    left[pending.key] -= 1
                    done[pending.key] = min(start, done.get(pending.key, start))
        finished = [pending for pending, _, _ in taken if not left[pending.key]]
        self._engine.drop([(pending, done[pending.key]) for pending in finished])
        return len(finished)

    def _committed(self, runs: Sequence[_Run]) -> Iterator[tuple[_Run, int]]:
        """The runs that are committed, or had nothing to do, with the times of their snapshots."""
        made: list[tuple[_Run, Transaction, int]] = []
        again: list[_Run] = []
        for run, snapshot in zip(runs, self._engine.begin_many(len(runs)), strict=True):
            try:
                t = self._begin(run, snapshot)
            except _AGAIN:
                again.append(run)
                continue
            if t.intent() is None:
                start = t.timestamp
                t.rollback()
                yield run, start
            else:
                made.append((run, t, t.timestamp))
        outcomes = commit_together(self._database, [t for _, t, _ in made]) if made else []
        for (run, _, start), outcome in zip(made, outcomes, strict=True):
            if outcome is None:
                self.runs += 1
                yield run, start
            elif isinstance(outcome, _AGAIN):
                again.append(run)
            else:
                raise outcome
        self._size = max(1, self._size // 2) if 2 * len(again) > len(runs) else min(_BATCH, self._size * 2)
        for run in again:
            try:
                t = self._begin(run, self._engine.begin())
                start, writes = t.timestamp, t.intent() is not None
                t.commit()
            except _AGAIN:
                continue  # another worker is at it; the notification is there still
            self.runs += writes
            yield run, start

    def _begin(self, run: _Run, snapshot: Snapshot) -> Transaction:
        """A transaction in which an observer has run for what it has not seen."""
        observer = run.observer
        longest = max((pending.trail for pending in run.cells), key=lambda trail: trail.length)
        if longest.length > LONGEST:
            raise _circle(observer, run.cells[0].key, longest.names)
        origin = min(pending.trail.origin for pending in run.cells)
        t = Transaction(self._database, snapshot, trail=longest.then(observer.name, origin))
        keys = [key for pending in run.cells for key in (pending.key, observer.ack(pending.key))]
        versions = t.versions(keys)
        start = t.timestamp
        changed: dict[Any, Any] = {}
        acks: dict[bytes, bytes] = {}
        for number, pending in enumerate(run.cells):
            version, acked = versions[2 * number], versions[2 * number + 1]
            seen = decode(acked.value) if acked is not None and acked.value is not None else 0
            # Nothing may be kept of a delete but its notification, and that stands in the store only for changes that were made.
            last = version.timestamp if version is not None else max((at for at in pending.timestamps if at <= start), default=0)
            if pending.trail.weak or last > seen:
                value = decode(version.value) if version is not None and version.value is not None else None
                changed[cell_of(pending.key)[0]] = value
                acks[keys[2 * number + 1]] = encode(max(last, seen))
        for key, ack in acks.items():
            t.put_quietly(key, ack)
        if not changed:
            return t
        try:
            if observer.together is not None:
                observer.function(t, changed)
            else:
                ((row, value),) = changed.items()
                observer.function(t, row, value)
        except (*_AGAIN, StoreError):
            raise
        except Exception as error:
            check_age(self._engine.store, start)  # it may have failed over what was collected while it read: then it runs again
            if self._on_error == "raise":
                raise _failed(observer, changed, error) from error
            t.forget()
            for key, ack in acks.items():
                t.put_quietly(key, ack)
            self._set_aside(observer, changed, error)
        return t

    def _set_aside(self, observer: Observer, changed: dict[Any, Any], error: Exception) -> None:
        """Note what failed; the changes count as seen."""
        for row in changed:
            text = f"{type(error).__name__}: {_said(error)}".encode()
            self._engine.store.write([Edit("meta", pack(("failed", observer.name, row)), text)], sync=False)


def _runs_of(taken: Sequence[tuple[Pending, list[Observer], bytes]]) -> list[_Run]:
    runs: list[_Run] = []
    groups: dict[tuple[int, bytes], _Run] = {}
    for pending, observers, part in taken:
        for observer in observers:
            if observer.together is None:
                runs.append(_Run(observer, [pending]))
            elif (group := groups.get((id(observer), part))) is not None:
                group.cells.append(pending)
            else:
                groups[id(observer), part] = run = _Run(observer, [pending])
                runs.append(run)
    return runs


def _failed(observer: Observer, changed: dict[Any, Any], error: Exception) -> TransactionError:
    from dataflow.execution.failures import user_frames  # which imports Arrow

    trace = "".join(traceback.format_exception(error))
    row, value = next(iter(changed.items()))
    return TransactionError(
        Report(
            f"observer {observer.name!r} failed: {type(error).__name__}: {_said(error)}",
            steps=(f"column {observer.column!r}",),
            failed=user_frames(error),
            record=f"row {shorten(row)}: {shorten(value)}" + (f", and {len(changed) - 1} more" if len(changed) > 1 else ""),
            hint='on_error="skip" sets such a change aside',
            trace=trace,
        )
    )


def _said(error: Exception) -> str:
    return redact(str(error))[:300]


def _circle(observer: Observer, key: bytes, names: tuple[str, ...]) -> TransactionError:
    since = len(names) - 1 - names[::-1].index(observer.name) if observer.name in names else 0
    return TransactionError(
        Report(
            f"observers change what they observe, in a circle: {' > '.join((*names[since:], observer.name))}",
            record=f"row {shorten(cell_of(key)[0])}",
            hint=f"a chain of more than {LONGEST} runs, each made by a change of the one before, is taken for a circle",
        )
    )
