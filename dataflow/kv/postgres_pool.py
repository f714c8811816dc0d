"""A few connections to a PostgreSQL server: lent to one thread at a time, opened again when they broke, watched while they work.

    run(statement) ── borrow ──► connection ──► server
         ▲                           │
         │    answered ──────────────┤ the rows
         │    refused by the server ─┤ nothing was done: again if it was chance (deadlock), else `StoreError`
         └─── broke ─────────────────┘ a read is sent again; a change may have been made: `OutcomeUnknownError`

What an error means for a change is decided here and nowhere else. An answer of severity ERROR says that its transaction was rolled
back. FATAL does not: a server that is told to end a session may do so between the commit and the answer.

A server that hangs answers nothing, so a thread of the pool looks once a second for statements that are long overdue (the server's own
`statement_timeout` comes first, and its answer is a definite one) and cuts their connection.
"""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import adapt, conninfo, pq

from dataflow.errors import OutcomeUnknownError, Report, StoreError, redact

__all__ = ["Blobs", "Numbers", "OutOfLocksError", "Pool"]

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_BY_CHANCE = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available
_STARTING = frozenset({"57P03"})  # the server starts up, or recovers
_OUT_OF_LOCKS = "53200"
_GRACE = 5.0  # seconds that the server has to say itself that a statement timed out
_SESSION = """
set default_transaction_isolation = 'read committed';
set enable_seqscan = off; set enable_bitmapscan = off; set jit = off; set max_parallel_workers_per_gather = 0;
set search_path = pg_catalog;
set statement_timeout = {0}; set idle_in_transaction_session_timeout = {0};
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
"""
# The plans are chosen once, when the tables may be empty or never looked at, and kept: so no plan may read a whole table.


class Blobs(bytes):
    """An array of bytes as PostgreSQL reads it."""


class Numbers(bytes):
    """An array of 32-bit numbers as PostgreSQL reads it."""


class _BlobsDumper(adapt.Dumper):
    format = pq.Format.BINARY
    oid = 1001

    def dump(self, obj: bytes) -> bytes:
        return obj


class _NumbersDumper(_BlobsDumper):
    oid = 1007


class OutOfLocksError(StoreError):
    """The server has no room for so many locks in one transaction; nothing was done."""


def _adapters() -> adapt.AdaptersMap:
    known = adapt.AdaptersMap(psycopg.adapters)
    known.register_dumper(Blobs, _BlobsDumper)
    known.register_dumper(Numbers, _NumbersDumper)
    return known


class Pool:
    """Connections to one server, at most ``size`` at once."""

    def __init__(self, address: str, *, size: int, timeout: float, patience: float) -> None:
        try:
            parts = conninfo.conninfo_to_dict(address)
        except psycopg.Error as reason:
            raise StoreError(Report(f"no address of a PostgreSQL server: {redact(address)}", hint=_said(reason))) from None
        user, host, port, database = (parts.get(part) or "" for part in ("user", "host", "port", "dbname"))
        self.name = f"postgresql://{user}{'@' if user else ''}{host}{f':{port}' if port else ''}/{database}"
        self._parts: dict[str, Any] = {
            "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": int(timeout * 1000), "application_name": "dataflow",
        } | parts  # fmt: skip
        self._timeout, self._patience = timeout, patience
        self._size = size
        self._adapters = _adapters()
        self._reset()
        self._closed = False

    def _reset(self) -> None:
        self._process = os.getpid()
        self._room = threading.BoundedSemaphore(self._size)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}
        self._stop: threading.Event | None = None

    def run(self, statement: bytes, values: Sequence[Any] = (), *, read: bool) -> list[tuple[Any, ...]]:
        """The rows that one statement gives, in a transaction of its own."""
        return self.using(lambda connection: connection.execute(statement, values, binary=True).fetchall(), read=read)

    def using(self, act: Callable[[Connection], T], *, read: bool) -> T:
        """What an act on a connection gives; again after a failure where that is safe."""
        deadline = time.monotonic() + self._patience
        attempt = 0
        while True:
            try:
                with self._borrow(deadline) as connection:
                    return act(connection)
            except psycopg.Error as reason:
                attempt += 1
                if reason.sqlstate == _OUT_OF_LOCKS:
                    raise OutOfLocksError(self._report("had no room for the locks of a change", reason)) from reason
                if _definite(reason):
                    if reason.sqlstate not in _BY_CHANCE or attempt >= 10:
                        raise StoreError(self._report("refused a statement", reason)) from reason
                elif not read:
                    raise OutcomeUnknownError(self._report("was lost while it made a change", reason)) from reason
                elif attempt >= 10 or time.monotonic() > deadline:
                    raise StoreError(self._report("was lost while it read", reason)) from reason
                time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))

    @contextmanager
    def _borrow(self, deadline: float) -> Generator[Connection]:
        if self._process != os.getpid():  # a fork has our connections, but may not use them
            self._reset()
        if not self._room.acquire(timeout=self._timeout + self._patience):
            hint = f"an open transaction or snapshot has one: close them sooner, or open the store with connections={2 * self._size}"
            raise StoreError(Report(f"{self.name} has no free connection: {self._size} are all busy", hint=hint))
        try:
            connection = self._take() or self._connect(deadline)
            with self._lock:
                self._busy[connection] = time.monotonic() + self._timeout + _GRACE
            whole = False
            try:
                yield connection
                whole = True
            except psycopg.Error as reason:
                whole = _definite(reason) and connection.info.transaction_status == pq.TransactionStatus.IDLE
                raise
            finally:
                with self._lock:
                    del self._busy[connection]
                    if whole and not self._closed:
                        self._idle.append(connection)
                    else:
                        connection.close()
        finally:
            self._room.release()

    @contextmanager
    def lent(self) -> Generator[Connection]:
        """A connection for a transaction of several statements; the server ends one that is idle for too long."""
        with self._borrow(time.monotonic() + self._patience) as connection:
            with self._lock:
                self._busy[connection] = float("inf")
            yield connection

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                if self._closed:
                    raise StoreError(Report(f"{self.name} is closed"))
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not connection.closed and not select.select([connection.fileno()], [], [], 0)[0]:
                return connection  # the server had nothing to say: not even good-bye
            connection.close()

    def _connect(self, deadline: float) -> Connection:
        while True:
            try:
                made = psycopg.connect(
                    **self._parts, autocommit=True, cursor_factory=psycopg.RawCursor, context=self._adapters
                )  # fmt: skip
                made.execute(_SESSION.format(int(self._timeout * 1000)).encode())
            except psycopg.Error as reason:
                lost = isinstance(reason, psycopg.OperationalError) and (reason.sqlstate is None or reason.sqlstate in _STARTING)
                if not lost or "authentication" in str(reason) or time.monotonic() > deadline:
                    raise StoreError(self._report("cannot be reached", reason)) from None  # the cause may hold the password
                time.sleep(0.05)
            else:
                break
        with self._lock:
            if self._stop is None:
                self._stop = threading.Event()
                threading.Thread(target=self._watch, args=(self._stop,), name="dataflow postgres", daemon=True).start()
        return made

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            now = time.monotonic()
            with self._lock:  # so that none is closed, and its number given to another, while it is cut
                for connection, deadline in self._busy.items():
                    if now > deadline and not connection.closed:
                        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                            try:
                                wire.shutdown(socket.SHUT_RDWR)
                            except OSError:
                                pass  # it broke by itself

    def _report(self, what: str, reason: psycopg.Error) -> Report:
        return Report(f"{self.name} {what}", hint=_said(reason))

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        if self._process != os.getpid():
            self._reset()  # what is idle is another's, and so may be who holds the lock
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._stop is not None:
                self._stop.set()
        for connection in idle:
            connection.close()


def _definite(reason: psycopg.Error) -> bool:
    """Whether the server said that the transaction was rolled back."""
    return reason.sqlstate is not None and (reason.diag.severity_nonlocalized or reason.diag.severity) == "ERROR"


def _said(reason: psycopg.Error) -> str:
    return redact(" ".join(str(reason).split()))[:300]
