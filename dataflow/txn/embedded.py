"""The embedded engine: transactions at the speed of the store under them, which gives snapshots and writes many changes as one.

    data      key -> commit time, value          the current version of a cell: a read is one get

The store's own snapshots are the history: an old version stays as long as somebody holds a snapshot that sees it, and no longer, and costs
nothing to keep or to remove. Locks there are none: a transaction buffers its writes, and commits in one step.

The life of a commit: it stands in line; whoever gets the mutex takes all that wait, checks each against the commits since its snapshot,
as the ledger knows them (`ledger.py`), gives each its time, and writes all of them together, with one fsync. Then the time is
*published*: snapshots taken from now on see it. So nobody sees what is not safe on disk, and readers wait for nobody.

A transaction that has read nothing yet has no snapshot: it begins, as far as anybody can tell, when it first reads, or else when it
commits. So writes without reads never conflict.

With ``history`` every version is kept in "write", too, until it is collected, and `as_of` reads any time since then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from dataflow.errors import ConflictError, OutcomeUnknownError, Report, SnapshotTooOldError, TransactionError
from dataflow.kv import Edit
from dataflow.txn import notify
from dataflow.txn.collect import collect_versions, raise_safe_point
from dataflow.txn.ground import cell_name
from dataflow.txn.ledger import TIME, Ledger, Page, View
from dataflow.txn.notify import Pending, Trail
from dataflow.txn.past import Past
from dataflow.txn.prewrite import Intent
from dataflow.txn.records import committed_write, notification_key, version_key
from dataflow.txn.snapshot_read import Version

__all__ = ["EmbeddedEngine"]

_GROUP = 1_000  # transactions written together
_NOTHING = Intent(-1, {})


class _Snapshot:
    """The store as of its first read. ``start``: the time; -1 if nothing was read."""

    __slots__ = ("_engine", "_view", "start")

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine, self.start = engine, -1
        self._view: View | None = None

    def _bound(self) -> View:
        view = self._view = self._engine.view()
        self.start = view.timestamp
        return view

    def bind(self, view: View) -> _Snapshot:
        """Read from this view."""
        self._view, self.start = view, view.timestamp
        return self

    @property
    def timestamp(self) -> int:
        """The time; asking for it is reading."""
        return (self._view or self._bound()).timestamp

    def get(self, key: bytes) -> bytes | None:
        """A cell's value."""
        packed = (self._view or self._bound()).get(key)
        return (packed[TIME:] or None) if packed is not None else None

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when."""
        found = (self._view or self._bound()).frozen.get_many(keys)
        return [Version(int.from_bytes(packed[:TIME], "big"), packed[TIME:] or None) if packed else None for packed in found]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that have a value."""
        for key, packed in (self._view or self._bound()).frozen.scan(start, stop, reverse=reverse):
            if len(packed) > TIME:
                yield key, packed[TIME:]

    def close(self) -> None:
        """Let go of it."""
        self._view = None


def _never(intent: Intent, sync: bool) -> int:
    return 0


class _Waiting:
    """Transactions of one thread that wait to be committed together. ``taken``: somebody has begun to write them."""

    __slots__ = ("failure", "intents", "outcomes", "taken")

    def __init__(self, intents: Sequence[Intent]) -> None:
        self.intents = intents
        self.outcomes: list[int | TransactionError] | None = None
        self.failure: Exception | None = None
        self.taken = False


class EmbeddedEngine:
    """Commits in groups, on a store whose commits stand in one line."""

    name = "embedded"
    together = _GROUP
    takes_seen = True

    def __init__(self, ledger: Ledger, *, sync: bool = True, history: bool = False) -> None:
        self.store, self._ledger, self._sync, self._history = ledger.store, ledger, sync, history
        self._mutex = threading.Lock()
        self._held = self._mutex.locked
        self._line: deque[_Waiting] = deque()
        self._closed = False
        self._alone: Callable[[Intent, bool], int] = ledger.alone if not history else _never  # a version that is kept is a second edit
        self.view = ledger.view

    # -- snapshots

    def begin(self) -> _Snapshot:
        """The store as it is when first read."""
        return _Snapshot(self)

    def begin_many(self, count: int) -> list[_Snapshot]:
        """On a shared store all as of now, and so of one view: of LMDB, a view costs more than a read."""
        if not self.store.shared:
            return [_Snapshot(self) for _ in range(count)]
        view = self.view()
        return [_Snapshot(self).bind(view) for _ in range(count)]

    def as_of(self, timestamp: int) -> Past:
        """The store as it was."""
        return Past.of(self.store, timestamp, self.now(), kept=self._history)

    def now(self) -> int:
        """The time of the last commit, or note."""
        return self.view().timestamp

    # -- commits

    def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
        """Commit transactions together, and with them those of other threads that wait.

        On a shared store their snapshots are let go first, since their times are all that is asked: the map of LMDB may have to grow now,
        and waits for every snapshot of this process.
        """
        if self.store.shared:
            for intent in intents:
                if intent.snapshot is not None:
                    intent.snapshot.close()
        if not self._line and not self._held():  # nobody else commits, so there is no line to stand in
            # Python raises Ctrl-C behind a call: between `acquire()` and `try:` it would leave the mutex held. Behind `with` it does not.
            with self._mutex:
                if len(intents) == 1 and (time := self._alone(intents[0], self._sync)):
                    return [time]
                return self._ledger.page(lambda page: self._decide(page, (intents,)), self._sync)[0]
        if not intents:
            return []
        mine = _Waiting(intents)
        try:
            self._line.append(mine)
            while True:
                with self._mutex:
                    if not mine.taken:
                        self._commit_line()
                    if mine.taken:  # it stood there until now, or who came meanwhile would have taken the mutex for free, and gone alone
                        self._line.remove(mine)
                    if mine.outcomes is not None:
                        return mine.outcomes
                    if mine.failure is not None:
                        raise mine.failure
                    if mine.taken:
                        raise OutcomeUnknownError(
                            "whether a transaction was committed is not known: the thread that wrote it was interrupted"
                        )
        except BaseException:
            mine.intents = ()  # if it stands in the line still, nobody commits it later, when its thread has gone on
            raise

    def _commit_line(self) -> None:
        """Commit those who wait the longest; called with the mutex held.

        What interrupts it is for this thread alone. Of the others, those who are not taken are in the line as before, for one of them.
        """
        line, count, group = self._line, 0, list[_Waiting]()
        for waiting in line.copy():
            if not waiting.intents:  # of one that was interrupted
                line.remove(waiting)
            elif not waiting.taken and count < _GROUP:
                group.append(waiting)
                count += len(waiting.intents)
        try:
            decided = self._ledger.page(lambda page: self._decide(page, [waiting.intents for waiting in group], group), self._sync)
            for waiting, outcomes in zip(group, decided, strict=True):
                waiting.outcomes = outcomes
        except Exception as failure:
            for waiting in group:
                waiting.failure, waiting.taken = failure, True

    def _decide(
        self, page: Page, group: Sequence[Sequence[Intent]], waiting: Sequence[_Waiting] = ()
    ) -> list[list[int | TransactionError]]:
        """The times of transactions, or what is in their way; all of them written as one page, when those who wait are taken."""
        decided: list[list[int | TransactionError]] = []
        time, committed, add = page.time, page.committed, page.add
        for intents in group:
            outcomes: list[int | TransactionError] = []
            for intent in intents:
                refused = self._refused(intent, committed) if intent.start >= 0 else None
                if refused is None:
                    time += 1
                    add(intent, time, self._more_edits(intent, time) if intent.notify or intent.seen or self._history else ())
                outcomes.append(refused or time)
            decided.append(outcomes)
        for one in waiting:
            one.taken = True
        page.write(time)
        return decided

    def _more_edits(self, intent: Intent, time: int) -> list[Edit]:
        edits = [Edit("notify", notification_key(key, time), trail) for key, trail in intent.notify.items()]
        edits += [Edit("notify", key, None) for key in intent.seen]
        if self._history:
            for key, value in intent.writes.items():
                edits.append(Edit("write", version_key(key, time), committed_write(intent.start, value)))
        return edits

    def _refused(self, intent: Intent, committed: Callable[[bytes], int]) -> TransactionError | None:
        start = intent.start
        if start < self._ledger.floor:
            return SnapshotTooOldError(
                f"the transaction of time {start} is older than {self._ledger.floor}, up to which what was committed is forgotten"
            )
        for keys in (intent.writes, intent.holds):
            for key in keys:
                if (when := committed(key)) > start:
                    return ConflictError(
                        Report(
                            f"{cell_name(key)} cannot be committed: another transaction committed it at {when}",
                            attempt=f"the transaction that began at {start}",
                            hint="run the transaction again, from its reads; db.transactional does",
                        )
                    )
        return None

    # -- notifications

    def dirty(self, start: bytes = b"\x01", stop: bytes = b"\xff", wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
        """The cells that observers have not looked at since they were changed."""
        return notify.dirty(self.store, start, stop, wanted)

    def drop(self, seen: Sequence[tuple[Pending, int]], gone_on: int | None = None) -> None:
        """Forget the notifications of changes up to a time, of each cell its own; where chains go on is seen as of one moment."""
        notify.drop(self.store, seen)

    def note(self, key: bytes, trail: Trail) -> None:
        """Have a cell's observers look at it. The note has a time of its own, as a commit has: it takes no other's place."""

        def noted(page: Page) -> None:
            time = page.time + 1
            page.add(_NOTHING, time, (Edit("notify", notification_key(key, time), trail.packed()),))
            page.write(time)

        with self._mutex:
            self._ledger.page(noted, sync=False)

    def frontier(self) -> int:
        """The time up to which every change was looked at. A commit and its notifications are one write, so these alone tell.

        They are looked at as of one moment: an observer's run drops one and leaves others, perhaps where a scan has been already.
        """
        now = self.now()
        noted = self._ledger.frozen("notify")
        try:
            pending = notify.oldest(notify.pending_in(noted.scan(b"\x01", b"\xff")))
        finally:
            noted.close()
        return now if pending is None else min(now, pending - 1)

    # -- garbage

    def collect(self, before: int | None = None) -> tuple[int, int]:
        """Remove versions older than a time; none: all but the current ones."""
        with self._mutex:
            safe = raise_safe_point(self.store, min(self._ledger.oldest(), before if before is not None else self.now()))
            removed = self._ledger.forget_deletes(safe)
        return safe, removed + collect_versions(self.store, safe)

    def close(self) -> None:
        """Close the store, when nobody commits."""
        with self._mutex:
            if not self._closed:
                self._closed = True
                self._ledger.close()
