"""The Percolator engine: transactions of any number of processes over a store that can change one row on a condition.

    begin     start = oracle
    read      snapshot_read    locks first, then write records
    commit    prewrite         the primary first ──(conflict)──> roll back
              oracle           the commit time, after all locks stand
              collect          are we older than the safe point?
              commit           the primary: the commit point; then the others, here or in the background
    anybody   resolve          what a dead process left

The steps are functions of a `Ground` in files of their own, so that a test can stop between any two calls to the store.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence

from dataflow.errors import SnapshotTooOldError, TransactionError
from dataflow.kv import Store
from dataflow.txn import notify
from dataflow.txn.active import Active
from dataflow.txn.collect import check_age, collect, resolve_before, safe_point, too_old
from dataflow.txn.commit import commit_primaries, commit_secondaries
from dataflow.txn.ground import Ground
from dataflow.txn.hops import hopped, oldest_hop
from dataflow.txn.notify import Pending, Trail, trail_of
from dataflow.txn.one_phase import OnePhase
from dataflow.txn.oracle import Oracle
from dataflow.txn.prewrite import Intent, Placed, plan_locks, prewrite
from dataflow.txn.records import NEVER, lock_of
from dataflow.txn.resolve import resolve, roll_back
from dataflow.txn.snapshot_read import Version, read, read_one, scan

__all__ = ["PercolatorEngine"]


class _Snapshot:
    """A time, and the protocol's way to read as of it. In use until it is closed, or nobody refers to it any more."""

    __slots__ = ("__weakref__", "_engine", "_looked", "_open", "noted", "start", "timestamp")

    noted: weakref.ref[_Snapshot]  # by which the engine knows it

    def __init__(self, engine: PercolatorEngine, timestamp: int) -> None:
        self._engine, self.timestamp, self.start = engine, timestamp, timestamp
        self._open, self._looked = True, False

    def get(self, key: bytes) -> bytes | None:
        """A cell's value."""
        self._looked = True
        engine = self._engine
        engine._at_once.wait_for((key,))
        version = read_one(engine.ground, key, self.timestamp)
        return version.value if version is not None else None

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when."""
        self._looked = True
        self._engine._at_once.wait_for(keys)
        return read(self._engine.ground, keys, self.timestamp)

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that have a value."""
        self._looked = True
        self._engine._at_once.wait_for(None)
        for key, version in scan(self._engine.ground, start, stop, self.timestamp, reverse=reverse):
            if version.value is not None:
                yield key, version.value

    def close(self) -> None:
        """Let go of it."""
        if self._open:
            self._open = False
            self._engine.closed(self)
            if self._looked:
                check_age(self._engine.ground.store, self.timestamp)


class PercolatorEngine:
    """Commits by the paper's protocol.

    ``one_phase``: whether a transaction may commit without locks, where this process owns the store. ``background``: whether the rows
    that are not the primary's are finished by a thread of their own, after the commit was reported.
    """

    name = "percolator"
    together = 1_000
    takes_seen = False

    def __init__(
        self, store: Store, oracle: Oracle, *, life: float = 3.0, sync: bool = True, one_phase: bool = False, background: bool = False
    ) -> None:
        if one_phase and (store.shared or store.atomic != "store"):
            raise ValueError("one_phase needs a store that one process owns, and that changes several rows together")
        self.store = store
        self.ground = Ground(store, oracle, life=int(life * 1000), sync=sync)
        self.one_phase = one_phase
        self._mutex = threading.Lock()
        self._reached = 0  # the frontier that was told
        self._active: set[weakref.ref[_Snapshot]] = set()  # a `WeakSet` is written in Python, and costs each transaction a microsecond
        self._ended = self._active.discard
        self._notes = Active(self.ground, lambda: self._oldest(NEVER)) if store.shared else None  # nobody else collects a store of our own
        self._at_once = OnePhase(self.ground)
        self._late: queue.SimpleQueue[list[tuple[Placed, int]] | None] | None = None
        if background:
            self._late = queue.SimpleQueue()
            self._finisher = threading.Thread(target=self._finish, name="dataflow-secondaries", daemon=True)
            self._finisher.start()

    # -- snapshots

    def begin(self) -> _Snapshot:
        """The store as it is now."""
        with self._mutex:
            return self._snapshot(self.ground.oracle.next())

    def begin_many(self, count: int) -> list[_Snapshot]:
        """Each has a time of its own, by which its locks are known."""
        with self._mutex:
            first = self.ground.oracle.next(count) if count else 0
            return [self._snapshot(first + number) for number in range(count)]

    def as_of(self, timestamp: int) -> _Snapshot:
        """The store as it was."""
        if timestamp < 0:
            check_age(self.store, timestamp)  # refuses it, before others are told of a number that they cannot read
        with self._mutex:
            if timestamp > (now := self.ground.oracle.next()):
                raise SnapshotTooOldError(f"time {timestamp} is in the future; it is {now} now")
            snapshot = self._snapshot(timestamp)
        try:
            check_age(self.store, timestamp)
        except SnapshotTooOldError:
            self.closed(snapshot)
            raise
        return snapshot

    def _snapshot(self, timestamp: int) -> _Snapshot:
        snapshot = _Snapshot(self, timestamp)
        snapshot.noted = weakref.ref(snapshot, self._ended)
        self._active.add(snapshot.noted)
        if self._notes is not None:
            self._notes.begun(timestamp)
        return snapshot

    def closed(self, snapshot: _Snapshot) -> None:
        """A snapshot is not used any more."""
        self._ended(snapshot.noted)

    def _oldest(self, otherwise: int) -> int:
        return min([otherwise, *(snapshot.timestamp for noted in self._active.copy() if (snapshot := noted()) is not None)])

    def now(self) -> int:
        """A time not before any commit that was acknowledged."""
        return self.ground.oracle.next()

    # -- commits

    def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
        """Make the changes of each transaction visible, each at one time of its own; what is in the way of those that are not."""
        if self.one_phase:
            return [self._at_once.commit(intent) for intent in intents]
        ground = self.ground
        planned = [plan_locks(ground, intent) for intent in intents]
        outcomes: list[int | TransactionError] = []
        locked = False
        try:
            refused = prewrite(ground, planned)
            safe = safe_point(self.store)  # once for all, because all their locks stand
            outcomes = [
                conflict or (too_old(one.intent.start, safe) if one.intent.start < safe else 0)
                for one, conflict in zip(planned, refused, strict=True)
            ]
            locked = True
        finally:
            for number, one in enumerate(planned):
                if not locked or outcomes[number]:
                    roll_back(ground, one.rows)
        ready = [(number, one) for number, one in enumerate(planned) if not outcomes[number]]
        if ready:
            first = ground.oracle.next(len(ready))
            decided = commit_primaries(ground, [(one.rows[0], first + place) for place, (_, one) in enumerate(ready)])
            others = []
            for (number, one), outcome in zip(ready, decided, strict=True):
                outcomes[number] = outcome
                if isinstance(outcome, int):
                    others += [(row, outcome) for row in one.rows[1:]]
            if self._late is not None and others and self._finisher.is_alive():  # a fork has not that thread
                self._late.put(others)
            else:
                commit_secondaries(ground, others)
        return outcomes

    def _finish(self) -> None:
        assert self._late is not None
        while (work := self._late.get()) is not None:
            try:
                commit_secondaries(self.ground, work)
            except Exception:
                continue  # whoever meets the locks finishes them

    # -- notifications

    def dirty(self, start: bytes = b"\x01", stop: bytes = b"\xff", wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
        """The cells that observers have not looked at since they were changed."""
        return notify.dirty(self.store, start, stop, wanted)

    def drop(self, seen: Sequence[tuple[Pending, int]], gone_on: int | None = None) -> None:
        """Forget the notifications of changes up to a time, of each cell its own."""
        if gone_on is not None:
            hopped(self.ground, gone_on)
        notify.drop(self.store, seen)

    def note(self, key: bytes, trail: Trail) -> None:
        """Have a cell's observers look at it."""
        notify.note(self.store, key, self.now(), trail)

    def frontier(self) -> int:
        """The time up to which every change was looked at.

        The time is asked for first: what commits after that is newer than it. Then locks are looked at, and then notifications: a commit
        under way is seen by its lock, or by the notification that took its place. Locks of the dead are resolved, or they would hold
        the frontier for ever, and the changes of those who died between their commit and its last row would be noticed by nobody.

        A look is not of one moment: while it goes over pages and shards, an observer's run may leave a notification where it has been,
        and take away the one from before, where it has yet to come. Such `hops` are written, and read after all else.
        """
        until = self.now()
        self._at_once.wait_for(None)  # a commit in one phase has its time before it can be seen
        unfinished = self._unfinished()
        found = min(until, unfinished, oldest_hop(self.ground, until)) - 1
        with self._mutex:  # what was true stays so, though hops that are remembered together may say less
            self._reached = max(self._reached, found)
            return self._reached

    def _unfinished(self) -> int:
        """The oldest change that is on its way, or whose chain of observers has not come to its end; `NEVER` if none is found."""
        oldest = NEVER
        for key, packed in list(self.store.scan("lock", b"\x01", b"\xff")):
            lock = lock_of(packed)
            if not resolve(self.ground, key, lock, packed):  # though it stands, it may be committed, and what led to it be dropped
                origin = trail_of(lock.notify).origin if lock.notify is not None else 0
                oldest = min(oldest, lock.start, origin or NEVER)
        pending = notify.oldest(self.dirty())
        return oldest if pending is None else min(oldest, pending)

    # -- what others left

    def resolve_all(self) -> int:
        """Finish or undo what dead processes left, waiting for the life of their locks; not what begins only now."""
        return resolve_before(self.ground, self.now())

    # -- garbage

    def collect(self, before: int | None = None) -> tuple[int, int]:
        """Remove versions no snapshot in use can see."""
        with self._mutex:
            limit = self._oldest(self.ground.oracle.next())
        if self._notes is not None:
            limit = min([limit, *self._notes.others()])
        done = collect(self.ground, limit if before is None else min(before, limit))
        return done.safe_point, done.versions

    def close(self) -> None:
        """Finish what is under way, and close the store."""
        with contextlib.ExitStack() as closing:  # from the last to the first, whatever one of them raises
            closing.callback(self.store.close)
            closing.callback(self.ground.oracle.close)
            if self._notes is not None:
                closing.callback(self._notes.close)
            if self._late is not None:
                self._late.put(None)
                self._finisher.join(10)
                self._late = None
