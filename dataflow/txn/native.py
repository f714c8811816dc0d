"""The native engine: transactions of the store's own, for one PostgreSQL server.

    first read    begin isolation level repeatable read          the server's snapshot, and its conflicts
    commit        insert … on conflict update, notifications     in that transaction; commit

    data      key -> time, value        time: the number of the server's transaction that wrote it (`xid8`)
    notify    key + time -> trail

A transaction's time is the number that the server gave it. Numbers are given out before the commit, so of two that run at once the
larger may be seen first; a snapshot is therefore *of the time* below which everything is decided (the server's ``xmin``), and it may
see some commits of later times. Of one cell, times grow with the changes: who changes it has seen, or waits for, who did before.

Two that write the same cell: the second waits for the first, and is refused when that commits (SQLSTATE 40001). What it holds without
writing it writes again as it is, with the time of its last change, so that the same happens (`hold`). Rows are written in the order of
their keys; if two wait for each other in spite of that, the server ends one, which is a conflict, too.

If the connection breaks at commit, the server is asked what became of the transaction of that number. That, and what was in the way of a
refused one, is asked when its connection was given back: nobody waits for a second with the first in hand.

A server that crashed gives a number again if the disk knew nothing of it (`kv.postgres_lives`). Then what the server says of the number may
be said of another transaction, and the cells tell: of one that was committed each has its time, or a later one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataflow.errors import ConflictError, OutcomeUnknownError, Report, StoreError, TransactionError
from dataflow.txn import notify
from dataflow.txn.collect import collect_versions, raise_safe_point, safe_point
from dataflow.txn.ground import cell_name
from dataflow.txn.ledger import TIME
from dataflow.txn.notify import Pending, Trail
from dataflow.txn.past import Past
from dataflow.txn.prewrite import Intent
from dataflow.txn.records import committed_write
from dataflow.txn.snapshot_read import Version

__all__ = ["NativeEngine"]

_PAGE = 1_000
_MOST = 5_000  # cells of one statement
_DECIDED = 30.0  # seconds in which a server must say what became of a transaction

_BEGIN = b"begin isolation level repeatable read"
_SNAPSHOT = b"select pg_snapshot_xmin(pg_current_snapshot())::text::int8 - 1"
_NUMBER = b"select pg_current_xact_id()::text::int8"
_STATUS = b"select pg_xact_status($1::text::xid8)"
_ASSIGNED = b"select $1::text::xid8 < pg_current_xact_id()"  # takes one for itself; nothing was asked of it before
_GET = "select value from {data} where key = $1"
_GET_MANY = "select key, value from {data} where key = any($1)"
_SCAN = "select key, value from {data} where key >= $1 and key < $2 order by key {order} limit $3::int8"
_NOTED = "select key, value from {notify} where key >= $1 and key < $2 order by key limit $3::int8"
_PUT = (
    "insert into {data} (key, value) select k, int8send($1::int8) || v from unnest($2::bytea[], $3::bytea[]) as given(k, v) "
    "on conflict (key) do update set value = excluded.value"
)
_HOLD = (
    "insert into {data} (key, value) select k, int8send(0) from unnest($1::bytea[]) as given(k) "
    "on conflict (key) do update set value = {data}.value"  # the server's new version of the row is what others conflict with
)
_NOTIFY = "insert into {notify} (key, value) select k || int8send($1::int8), v from unnest($2::bytea[], $3::bytea[]) as given(k, v)"
_HISTORY = (
    "insert into {write} (key, value) select k || int8send(-1 - $1::int8), v from unnest($2::bytea[], $3::bytea[]) as given(k, v) "
    "on conflict (key) do update set value = excluded.value"
)


class _Snapshot:
    """A transaction of the server, from its first read on."""

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine
        self._stack = contextlib.ExitStack()
        self._session: Any = None
        self._time: int | None = None

    @property
    def session(self) -> Any:
        """The server's transaction, begun if it was not."""
        if self._session is None:
            self._session = self._stack.enter_context(self._engine.session())
            self._session.run(_BEGIN)
            ((self._time,),) = self._session.run(_SNAPSHOT)
        return self._session

    @property
    def timestamp(self) -> int:
        """The time below which everything is seen; asking for it is reading."""
        _ = self.session
        assert self._time is not None
        return self._time

    @property
    def start(self) -> int:
        """The time, or -1 if nothing was read."""
        return -1 if self._time is None else self._time

    def get(self, key: bytes) -> bytes | None:
        """A cell's value."""
        rows = self.session.run(_GET, (key,))
        return (bytes(rows[0][0][TIME:]) or None) if rows else None

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when."""
        found: dict[bytes, bytes] = {}
        for at in range(0, len(keys), _MOST):
            found.update(self.session.run(_GET_MANY, (self.session.blobs(keys[at : at + _MOST]),)))
        return [
            Version(int.from_bytes(packed[:TIME], "big"), packed[TIME:] or None) if (packed := found.get(key)) else None for key in keys
        ]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that have a value."""
        statement = _SCAN.replace("{order}", "desc" if reverse else "asc")
        while True:
            page = self.session.run(statement, (start, stop, _PAGE))
            for key, packed in page:
                if len(packed) > TIME:
                    yield key, packed[TIME:]
            if len(page) < _PAGE:
                return
            start, stop = (start, page[-1][0]) if reverse else (page[-1][0] + b"\x00", stop)

    def close(self) -> None:
        """End it; what it wrote and did not commit is gone."""
        session, self._session = self._session, None
        try:
            if session is not None:
                session.roll_back()
        finally:
            self._stack.close()


class NativeEngine:
    """Commits by the transactions of the store, which must have a ``session``."""

    name = "native"
    together = 1  # each has a connection
    takes_seen = False

    def __init__(self, store: Any, *, sync: bool = True, history: bool = False) -> None:
        self.store, self._sync, self._history = store, sync, history

    def session(self) -> Any:
        """A connection of its own, for one transaction."""
        return self.store.session(sync=self._sync)

    # -- snapshots

    def begin(self) -> _Snapshot:
        """The store as it is when first read."""
        return _Snapshot(self)

    def begin_many(self, count: int) -> list[_Snapshot]:
        """Each has a connection of its own."""
        return [self.begin() for _ in range(count)]

    def as_of(self, timestamp: int) -> Past:
        """The store as it was."""
        return Past.of(self.store, timestamp, self.now(), kept=self._history)

    def now(self) -> int:
        """A time below which everything is decided."""
        with self.session() as session:
            ((time,),) = session.run(_SNAPSHOT)
            return int(time)

    # -- commits

    def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
        """Commit each transaction in that of the server which it reads from."""
        return [self._commit(intent) for intent in intents]

    def _commit(self, intent: Intent) -> int | TransactionError:
        number, life = 0, b""
        try:
            try:
                session = intent.snapshot.session
                life = session.life
                ((number,),) = session.run(_NUMBER)
                self._edit(session, intent, number)
                session.run(b"commit")
                return int(number)
            finally:
                intent.snapshot.close()  # what is asked below needs a connection, and all may be lent to threads that do the same
        except ConflictError as refused:
            return self._conflict(intent, refused)
        except OutcomeUnknownError:
            if number and self._became(number, life, intent):
                return int(number)
            return self._conflict(intent, ConflictError("the connection was lost, and the server rolled it back"))

    def _edit(self, session: Any, intent: Intent, number: int) -> None:
        blobs = session.blobs
        keys = sorted({*intent.writes, *intent.holds})
        for at in range(0, len(keys), _MOST):
            part = keys[at : at + _MOST]
            written = [key for key in part if key in intent.writes]
            if written:
                session.run(_PUT, (number, blobs(written), blobs([intent.writes[key] or b"" for key in written])))
            if len(written) < len(part):
                session.run(_HOLD, (blobs([key for key in part if key not in intent.writes]),))
            if self._history and written:
                records = [committed_write(intent.start, intent.writes[key]) for key in written]
                session.run(_HISTORY, (number, blobs(written), blobs(records)))
        noted = list(intent.notify)
        for at in range(0, len(noted), _MOST):
            part = noted[at : at + _MOST]
            session.run(_NOTIFY, (number, blobs(part), blobs([intent.notify[key] for key in part])))

    def _became(self, number: int, life: bytes, intent: Intent) -> bool:
        """Whether the transaction of a number was committed; the server may still be at it. Raises `OutcomeUnknownError`."""
        until = time.monotonic() + _DECIDED
        while True:
            try:
                with self.session() as session:
                    same = session.life == life
                    status = session.run(_STATUS, (str(number),))[0][0] if same else ""
                if not same:
                    return self._survived(number, intent)
            except OutcomeUnknownError:
                raise
            except StoreError as error:
                raise OutcomeUnknownError(
                    Report(
                        f"whether transaction {number} was committed is not known: {self.store.name} was lost while it committed, "
                        f"and when it was asked again, {error.report.sentence}",
                        hint="look at what it was to write, when the server is there again",
                    )
                ) from error
            if status != "in progress":
                return bool(status == "committed")
            if time.monotonic() > until:
                raise OutcomeUnknownError(f"{self.store.name} does not say what became of transaction {number}")
            time.sleep(0.05)

    def _survived(self, number: int, intent: Intent) -> bool:
        """Whether a transaction was committed before its server crashed, by what it wrote."""
        keys = [*intent.writes][:_MOST]
        found = {key: packed for key, packed in zip(keys, self.store.get_many("data", keys), strict=True) if packed is not None}
        times = {key: int.from_bytes(packed[:TIME], "big") for key, packed in found.items()}
        if any(when < number for when in times.values()):
            return False
        if len(times) < len(keys) and safe_point(self.store) < number:  # of a delete, too, something stands there until it is collected
            return False
        if any(when == number and found[key][TIME:] == (intent.writes[key] or b"") for key, when in times.items()):
            return True
        with self.session() as session:
            ((known,),) = session.run(_ASSIGNED, (str(number),))
            if not known or session.run(_STATUS, (str(number),))[0][0] != "committed":
                return False
        raise OutcomeUnknownError(
            Report(
                f"whether transaction {number} was committed is not known: {self.store.name} crashed while it committed, "
                "and what it was to write has been changed since",
                hint="look at what it was to write",
            )
        )

    def _conflict(self, intent: Intent, refused: ConflictError) -> ConflictError:
        """The conflict with the cell that was changed, as far as that can be told."""
        keys = sorted({*intent.writes, *intent.holds})
        where = keys[0]
        why = refused.report.sentence
        for key, packed in zip(keys, self.store.get_many("data", keys), strict=True):
            if packed and int.from_bytes(packed[:TIME], "big") > intent.start >= 0:
                where, why = key, f"another transaction committed it at {int.from_bytes(packed[:TIME], 'big')}"
        return ConflictError(
            Report(
                f"{cell_name(where)} cannot be committed: {why}",
                attempt=f"the transaction that began at {intent.start}",
                hint="run the transaction again, from its reads; db.transactional does",
            )
        )

    # -- notifications

    def dirty(self, start: bytes = b"\x01", stop: bytes = b"\xff", wanted: Callable[[bytes], bool] | None = None) -> Iterator[Pending]:
        """The cells that observers have not looked at since they were changed."""
        return notify.dirty(self.store, start, stop, wanted)

    def drop(self, seen: Sequence[tuple[Pending, int]], gone_on: int | None = None) -> None:
        """Forget the notifications of pending cells: all were there before its run began, so its snapshot saw their changes."""
        notify.drop(self.store, [(pending, max(pending.timestamps)) for pending, _ in seen])

    def note(self, key: bytes, trail: Trail) -> None:
        """Have a cell's observers look at it. The note is a transaction of its own, with a number of its own: it takes no other's place."""
        with self.store.session(sync=False) as session:
            try:
                session.run(_BEGIN)
                ((number,),) = session.run(_NUMBER)
                session.run(_NOTIFY, (number, session.blobs([key]), session.blobs([trail.packed()])))
                session.run(b"commit")
            finally:
                session.roll_back()

    def frontier(self) -> int:
        """The time up to which every change was looked at. What is not decided yet is of a later time than ``now``.

        Both are of one snapshot of the server: an observer's run drops a notification and leaves others, perhaps where a scan has been.
        """
        with self.session() as session:
            session.run(_BEGIN)
            try:
                ((now,),) = session.run(_SNAPSHOT)
                pending = notify.oldest(notify.pending_in(_noted(session)))
            finally:
                session.roll_back()
        return int(now) if pending is None else min(int(now), pending - 1)

    # -- garbage

    def collect(self, before: int | None = None) -> tuple[int, int]:
        """Remove versions older than a time; none: all but the current ones. What snapshots need, the server keeps."""
        safe = raise_safe_point(self.store, self.now() if before is None else min(before, self.now()))
        return safe, collect_versions(self.store, safe)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def _noted(session: Any) -> Iterator[tuple[bytes, bytes]]:
    """The notifications that a transaction of the server sees."""
    start = b"\x01"
    while True:
        page = session.run(_NOTED, (start, b"\xff", _PAGE))
        yield from page
        if len(page) < _PAGE:
            return
        start = page[-1][0] + b"\x00"
