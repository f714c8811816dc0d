"""A worker: takes pending cells of its part, runs their observers, commits the runs together, and drops the notifications.

    pending cells of my part (up to a batch) ──> runs: one a cell and observer, or one for all that go together
    each run     begin ─ versions and acks ─ newer than the acks? ─ function ─ acks := the versions' times
    all runs     committed together, in one write of the engine; those that conflict run again, one by one
    each cell    all its observers done: drop its notifications up to the oldest of their snapshots

Where the engine takes it, and the cell has one observer, the last is part of the commit. On LMDB every write waits for the disk, with all
workers in one line: there a batch is then one write, and not two.

A batch grows as long as it takes a fraction of a lease: what waits for the disk is shared by more, and others hear of this worker in
time. It shrinks if it takes longer, and while more than half of its runs conflict (many rows that change one cell).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, islice, repeat
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dataflow.errors import ConflictError, OutcomeUnknownError, SnapshotTooOldError, StoreError, TransactionError
from dataflow.kv import Store, pack_element, row_of
from dataflow.kv.keys import unpack_element
from dataflow.txn import known, members
from dataflow.txn.engine import Snapshot, Version
from dataflow.txn.failed import circle, failed, forgive, note_key, set_aside
from dataflow.txn.members import Members
from dataflow.txn.notify import Trail
from dataflow.txn.records import notification_key
from dataflow.txn.runs import Apart, Observer, Run, Taken, parts_of, running, runs_of
from dataflow.txn.together import commit_together
from dataflow.txn.transaction import Transaction, cell_of
from dataflow.txn.values import decode, encode

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["LONGEST", "Worker"]

LONGEST = 200  # runs in a chain, each made by a change of the one before
_BATCH, _MOST = 256, 1_000  # cells a worker takes at a time: at first, and at most
_IDLE = 0.05  # seconds a worker that found nothing waits at most
_TRIES = 20  # of a run in which the observer itself raises a conflict
_AGAIN = (ConflictError, SnapshotTooOldError)


class _Done(NamedTuple):
    """What came of a run. ``start``: the time of its snapshot. ``dropped``: whether the notifications went with its commit.

    ``goes_on``: whether it changed what is observed; also if somebody else may have run for these changes, of whom that is not known.
    """

    start: int
    dropped: bool
    goes_on: bool

    @classmethod
    def by(cls, t: Transaction) -> _Done:
        """Of a transaction that is about to be committed."""
        return cls(t.timestamp, t.writes and bool(t.seen), t.notifies or t.after_others or not t.writes)


class Worker:
    """Runs the observers of its part of the rows."""

    def __init__(self, database: Database, by_column: dict[str, list[Observer]], on_error: Literal["raise", "skip"]) -> None:
        self._database, self._engine, self._on_error = database, database.engine, on_error
        self._observers = {pack_element(column): observers for column, observers in by_column.items()}
        self._members = Members(database.engine.store, database.clock, self._names)
        self._claimed: set[str] = set()
        self._tries: dict[bytes, int] = {}  # of runs in which the observer itself raised a conflict, by their first cell
        self._at = b"\x01"
        self._size, self._crowded = _BATCH, False
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
            self._claim(self._observers.values())
        finally:
            self._members.leave()
        return self.runs

    def _idle(self) -> bool:
        """Whether nothing is left for anybody: also of what was committed by those who died before they had noted it everywhere.

        It looks twice, because a look of a large store is not of one moment. What another worker carries on behind both is that one's.
        """
        for _ in range(2):
            self._engine.frontier()
            if next(self._engine.dirty(b"\x01", b"\xff", lambda key: bool(self._of(key, row_of(key)))), None) is not None:
                return False
        return True

    def _names(self) -> dict[str, list[str]]:
        """What others must have, too, that observe the same columns."""
        return {
            observers[0].column: [one.name + " (together)" * (one.together is not None) for one in observers]
            for observers in self._observers.values()
        }

    def _of(self, key: bytes, row: bytes) -> list[Observer]:
        """The observers of a cell."""
        return self._observers.get(key[len(row) : -1], [])

    def _take(self) -> list[Taken]:
        """Pending cells of this worker's part; of the others', which are most, nothing is read but the key."""
        found: list[tuple[list[Observer], bytes]] = []

        def mine(key: bytes) -> bool:
            row = row_of(key)
            observers = self._of(key, row)
            if not observers:
                return False
            part = row if observers[0].together is None else observers[0].part(unpack_element(row)[0])
            if ours := self._members.mine(observers[0].column, part):
                found.append((observers, part))
            return ours

        pending = [*islice(self._engine.dirty(self._at, b"\xff", mine), self._size)]
        return [Taken(one, *of) for one, of in zip(pending, found, strict=True)]

    def _round(self) -> int:
        """Run what is pending in the next stretch of the store, and give the number of cells that are done."""
        clock = self._database.clock
        begun, self._crowded = clock(), False
        taken = self._take()
        if not taken and self._at != b"\x01":
            self._at = b"\x01"
            taken = self._take()
        self._at = taken[-1].pending.key + b"\x00" if len(taken) == self._size else b"\x01"
        self._claim([one.observers for one in taken])
        left = {one.pending.key: len(one.observers) for one in taken}
        seen: dict[bytes, int] = {}
        gone_on: set[bytes] = set()
        runs, most = runs_of(taken), self._engine.together
        for at in range(0, len(runs), most):
            for run, done in self._committed(runs[at : at + most]):
                for pending in run.cells:
                    left[pending.key] -= 1
                    if not done.dropped:
                        seen[pending.key] = min(done.start, seen.get(pending.key, done.start))
                    if done.goes_on:
                        gone_on.add(pending.key)
        finished = [one.pending for one in taken if not left[one.pending.key]]
        dropped = [(pending, seen[pending.key]) for pending in finished if pending.key in seen]
        self._engine.drop(dropped, min((pending.trail.origin for pending, _ in dropped if pending.key in gone_on), default=None))
        took = clock() - begun
        if self._crowded or took > members.LEASE / 4:
            self._size = max(1, self._size // 2)
        elif took < members.LEASE / 16:
            self._size = min(_MOST, self._size * 2)
        return len(finished)

    def _claim(self, those: Iterable[list[Observer]]) -> None:
        """Note once, for who comes later, which observers columns have; others at work have none but these."""
        new = {observers[0].column: observers for observers in those if observers[0].column not in self._claimed}
        for column, observers in new.items():
            known.claim(self._engine.store, column, [one.name for one in observers])
            self._claimed.add(column)

    def _committed(self, runs: Sequence[Run]) -> Iterator[tuple[Run, _Done]]:
        """The runs that are committed, or had nothing to do."""
        made: list[tuple[Run, Transaction, _Done]] = []
        again: list[Run] = []
        snapshots = self._engine.begin_many(len(runs))
        try:
            for run, snapshot, versions in zip(runs, snapshots, _read(runs, snapshots), strict=True):
                try:
                    t = self._begin(run, snapshot, versions)
                except _AGAIN:
                    again.append(run)
                    continue
                except Apart as parts:
                    again += parts.runs
                    continue
                if t.writes:
                    made.append((run, t, _Done.by(t)))
                else:
                    done = _Done.by(t)
                    t.rollback()
                    yield run, done
        except BaseException:
            for snapshot in snapshots:
                with suppress(TransactionError, StoreError):
                    snapshot.close()
            raise
        try:
            outcomes = commit_together(self._database, [t for _, t, _ in made]) if made else []
        except OutcomeUnknownError:
            raise
        except StoreError:  # it may be that the store does not take what one of them writes: each by itself
            again += [run for run, _, _ in made]
            made, outcomes = [], []
        if forgiven := [key for (_, t, _), outcome in zip(made, outcomes, strict=True) if outcome is None for key in t.forgiven]:
            forgive(self._engine.store, forgiven)
        for (run, _, done), outcome in zip(made, outcomes, strict=True):
            if outcome is None:
                self.runs += 1
                yield run, done
            elif isinstance(outcome, _AGAIN):
                again.append(run)
            else:
                raise outcome
        self._crowded |= 2 * len(again) > len(runs)
        for run in again:  # to which parts may be added
            try:
                t = self._begin(run, self._engine.begin())
                done, writes = _Done.by(t), t.writes
                try:
                    t.commit()
                except OutcomeUnknownError:
                    raise
                except StoreError as refused:
                    t = self._refused(run, refused)
                    done, writes = _Done.by(t), t.writes
                    t.commit()
            except _AGAIN:
                continue  # another worker is at it; the notification is there still
            except Apart as parts:
                again += parts.runs
                continue
            self.runs += writes
            if t.forgiven:
                forgive(self._engine.store, t.forgiven)
            yield run, done

    def _begin(
        self, run: Run, snapshot: Snapshot, versions: Sequence[Version | None] | None = None, aside: dict[bytes, bytes] | None = None
    ) -> Transaction:
        """A transaction in which an observer has run for what it has not seen; or, with the acks of what was set ``aside``, has not.

        ``versions``: what it reads first, if that was done. Where it ends otherwise, the snapshot is let go first: a connection that
        it has may be the last one, and another is needed to note what failed, or that the worker has left.
        """
        observer = run.observer
        try:
            t = self._transaction(run, snapshot)
            changed, acks = self._unseen(t, run, versions)
            if aside is not None and acks != aside:
                raise ConflictError("what was to be set aside was changed again, or seen by another worker")
            failure = _fails(self._engine.store, observer, t, changed) if changed and aside is None else None
            if isinstance(failure, _AGAIN) and self._tries_again(run):
                raise failure
            chain = self._too_long(run) if failure is None and t.notifies else ()
            if chain:
                failure = circle(observer, cell_of(run.cells[0].key)[0], chain, LONGEST)
            if aside is not None:
                t.set_aside(acks)
        except BaseException:
            with suppress(TransactionError, StoreError):
                snapshot.close()
            raise
        if failure is None:
            return t
        t.close()  # raises if it may have failed over what was collected while it read: then it runs again
        if self._on_error == "raise":
            if chain:
                raise failure
            raise failed(observer, changed, failure) from failure
        if len(parts := parts_of(run, changed)) > 1:
            raise Apart(parts)
        set_aside(self._engine.store, observer, changed, failure)
        return self._begin(run, self._engine.begin(), aside=acks)

    def _refused(self, run: Run, refused: StoreError) -> Transaction:
        """What takes the place of a run whose writes the store does not take, such as a key that is too long for it: it is set aside."""
        if self._on_error == "raise":
            raise refused
        snapshot = self._engine.begin()
        try:
            changed, acks = self._unseen(self._transaction(run, snapshot), run, None)
        finally:
            snapshot.close()
        if len(parts := parts_of(run, changed)) > 1:
            raise Apart(parts)
        set_aside(self._engine.store, run.observer, changed, refused)  # if the store is away, nothing is
        return self._begin(run, self._engine.begin(), aside=acks)

    def _tries_again(self, run: Run) -> bool:
        """Whether a run is worth another try in which the observer itself raised a conflict."""
        tries = self._tries.pop(run.keys[0], 0) + 1
        if tries < _TRIES:
            self._tries[run.keys[0]] = tries
        return tries < _TRIES

    def _transaction(self, run: Run, snapshot: Snapshot) -> Transaction:
        """A transaction of a run; what it changes carries on the longest chain, and the oldest."""
        longest = _longest(run)
        origin = min([pending.trail.origin for pending in run.cells])
        return Transaction(self._database, snapshot, trail=longest.then(run.observer.name, origin))

    @staticmethod
    def _too_long(run: Run) -> tuple[str, ...]:
        """The names of a chain of runs that has no end, as it seems; it has one where a run changes nothing that is observed."""
        longest = _longest(run)
        return longest.names if longest.length > LONGEST else ()

    def _unseen(self, t: Transaction, run: Run, versions: Sequence[Version | None] | None) -> tuple[dict[Any, Any], dict[bytes, bytes]]:
        """What an observer has not seen, by the rows, and its acks of that, which are written."""
        cells, keys = run.cells, run.keys
        if versions is None:
            versions = t.versions(keys)
        start = t.timestamp
        changed: dict[Any, Any] = {}
        acks: dict[bytes, bytes] = {}
        before: set[bytes] = set()
        for number, pending in enumerate(cells):
            version, acked = versions[2 * number], versions[2 * number + 1]
            acked_at = decode(acked.value) if acked is not None and acked.value is not None else 0
            seen = abs(acked_at)
            # Nothing may be kept of a delete but its notification, and that stands in the store only for changes that were made.
            last = version.timestamp if version is not None else max((at for at in pending.timestamps if at <= start), default=0)
            # Some of these notifications may be of changes that were looked at, and carried on, by one who did not get to drop them.
            t.after_others |= pending.trail.weak or seen >= pending.timestamps[0] or last not in pending.timestamps
            # What was set aside is done again if it was noted since, and not for a note that the one who set it aside has yet to drop.
            again = pending.trail.weak or (acked_at < 0 and pending.timestamps[-1] > seen)
            if again or last > seen:
                value = decode(version.value) if version is not None and version.value is not None else None
                row = unpack_element(pending.key)[0]
                changed[row] = value
                if again or acked_at < 0:
                    name, column = run.observer.name, run.observer.column
                    t.forgiven += (note_key(name, row, column), note_key(name, row))
                if acked_at:
                    before.add(keys[2 * number + 1])
                acks[keys[2 * number + 1]] = encode(max(last, seen))
        t.acked = frozenset(before)
        for key, ack in acks.items():
            t.put_quietly(key, ack)
        if changed and self._engine.takes_seen and run.alone:
            t.seen = [notification_key(pending.key, at) for pending in cells for at in pending.timestamps if at <= start]
        return changed, acks


def _longest(run: Run) -> Trail:
    return max((pending.trail for pending in run.cells), key=lambda trail: trail.length) if len(run.cells) > 1 else run.cells[0].trail


def _read(runs: Sequence[Run], snapshots: Sequence[Snapshot]) -> Iterable[Sequence[Version | None] | None]:
    """What each run reads first, in one read for all; nothing if their snapshots are of different times."""
    if len({snapshot.timestamp for snapshot in snapshots}) != 1 or len(runs) == 1:
        return repeat(None, len(runs))
    versions = snapshots[0].versions([key for run in runs for key in run.keys])
    ends = [*accumulate(len(run.keys) for run in runs)]
    return [versions[end - len(run.keys) : end] for run, end in zip(runs, ends, strict=True)]


def _fails(store: Store, observer: Observer, t: Transaction, changed: dict[Any, Any]) -> Exception | None:
    """Run an observer, and give the error of its own that it ends with; others are raised.

    A conflict is one of its own, in what it does elsewhere: this transaction's comes at its commit. A snapshot that is too old may be its
    own, or this one's, which says so once more when it is closed.
    """
    outside = getattr(running, "stores", ())
    running.stores = (*outside, store)
    try:
        if observer.together is not None:
            observer.function(t, changed)
        else:
            ((row, value),) = changed.items()
            observer.function(t, row, value)
    except StoreError:
        raise
    except Exception as error:
        return error
    finally:
        running.stores = outside
    return None
