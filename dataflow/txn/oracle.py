"""The oracle: timestamps, each larger than all that were handed out before, by anybody, ever.

    next() ──> from memory, up to `limit`  ──(used up)──> a new limit is written to the store, and then served from

Why a limit is written first: after a crash nobody knows which numbers below it were handed out, so all of them are skipped. Time
never goes back, and no clock is asked. As the limit stands in the store, a copy of the store holds one that is above all times in the
copy, and who opens it goes on from there.

Three oracles, by who shares the store:

- `StoreOracle`: one process owns the store.
- `FileOracle`: several processes of one machine share a store. A file they all map holds the next number, under the file's lock, so a
  timestamp costs two system calls and no write to disk. Nothing in the file need ever reach the disk: if the machine went down since,
  which it can tell by the machine's boot identity, or the file is gone or behind the store, times go on from the limit. A limit stands in
  the file only when the store has it on its disk, so no process serves from one that a crash could take back.
- `RequestedOracle`: a server counts (PostgreSQL's sequences, Bigtable's increments). Threads that ask while a request is under way share
  the next one, so there is one request in flight however many ask, and batches grow with the load (the paper: 2 million a second from one
  machine). A request that was sent before a thread asked may not serve it: its number could be smaller than one that the thread has seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Edit, Equals, Mutation, Store, pack, pack_element

__all__ = ["FileOracle", "Oracle", "RequestedOracle", "StoreOracle"]

RANGE = 1_000_000  # a limit is written once for so many timestamps
_ROW = pack_element("oracle")
_KEY = pack(("oracle", "limit"))
_MARK = b"oracle1\n"


class Oracle(Protocol):
    """Hands out timestamps."""

    def next(self, count: int = 1) -> int:
        """A timestamp larger than all before it, 1 or more; of several it is the first, and the others follow without a gap."""
        ...

    def close(self) -> None:
        """Let go of what it holds; the store stays open."""
        ...


class StoreOracle:
    """Timestamps for the one process that owns a store.

    >>> from dataflow.kv import MemoryStore
    >>> store = MemoryStore()
    >>> oracle = StoreOracle(store)
    >>> oracle.next(), oracle.next()
    (1, 2)
    >>> StoreOracle(store).next()  # a crash later
    1000001
    """

    def __init__(self, store: Store, size: int = RANGE) -> None:
        self._store, self._size = store, size
        self._lock = threading.Lock()
        self._next = self._limit = _limit_in(store)

    def next(self, count: int = 1) -> int:
        """A timestamp larger than all before it, the first of so many."""
        with self._lock:
            if self._next + count > self._limit:
                self._extend(max(self._size, count))
            self._next += count
            return self._next - count + 1

    def _extend(self, size: int) -> None:
        new = self._limit + size
        try:
            made = _raised(self._store, self._limit, new)
        except OutcomeUnknownError:
            made = _limit_in(self._store) == new  # the store is ours alone, so nobody else has made it
            if not made:
                raise
        if not made:
            raise StoreError(f"another process hands out timestamps for {self._store.name}; one process may own it")
        self._limit = new

    def close(self) -> None:
        """Nothing to let go of."""


def _limit_in(store: Store) -> int:
    found = store.get("meta", _KEY)
    return int.from_bytes(found, "big") if found else 0


def _raised(store: Store, old: int, new: int) -> bool:
    """Whether a limit was raised, on the disk, from one that nobody else has raised meanwhile."""
    before = old.to_bytes(8, "big") if old else None
    return store.mutate(Mutation(_ROW, (Equals("meta", _KEY, before),), (Edit("meta", _KEY, new.to_bytes(8, "big")),)))


class FileOracle:
    """Timestamps for the processes of one machine that share a store, from a file they share.

    >>> import tempfile
    >>> from dataflow.kv import MemoryStore
    >>> path, store = Path(tempfile.mkdtemp()) / "oracle", MemoryStore()
    >>> first, second = FileOracle(path, store), FileOracle(path, store)
    >>> first.next(), second.next(), first.next()
    (1, 2, 3)
    """

    _FORM = struct.Struct("<8sQQ36s")  # mark, next, limit, boot identity
    _map: Any  # of the file, while it is open

    def __init__(self, path: Path | str, store: Store, size: int = RANGE) -> None:
        self._path, self._store, self._size = Path(path), store, size
        self._threads = threading.Lock()
        self._file, self._map = -1, None
        self._open()

    def _open(self) -> None:
        self.close()
        self._pid = os.getpid()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with self._held():
                if os.fstat(self._file).st_size < self._FORM.size:
                    for size in (0, self._FORM.size):  # what is there of less than all of it counts for nothing
                        os.ftruncate(self._file, size)
                self._map = mmap.mmap(self._file, self._FORM.size)
                self._agree()
        except BaseException:
            self.close()
            raise

    def _agree(self) -> None:
        """Have the file and the store say the same limit, and the file a next number that nobody was given."""
        mark, last, limit, boot = self._FORM.unpack_from(self._map)
        if mark not in (_MARK, bytes(8)):
            raise StoreError(f"{self._path} is no file of timestamps, or of a newer version")
        while (forced := _limit_in(self._store)) < limit and not _raised(self._store, forced, limit):
            pass  # a file of an older version, which kept the limit to itself
        if boot.rstrip(b"\0") != _boot() or forced > limit:
            last = limit = max(forced, limit)
        self._FORM.pack_into(self._map, 0, _MARK, last, limit, _boot())

    def next(self, count: int = 1) -> int:
        """A timestamp larger than all before it, the first of so many."""
        if self._pid != os.getpid() and self._file >= 0:
            self._open()  # the lock of a file belongs to who opened it; a fork did not
        with self._threads:
            if self._file < 0:
                raise StoreError(f"{self._path} is closed")
            with self._held():
                last, limit = struct.unpack_from("<QQ", self._map, 8)
                while last + count > limit:
                    forced = _limit_in(self._store)
                    if forced > limit:
                        last = forced  # who raised it died before it told the file, or does not share our file
                    raised = max(last, limit) + max(self._size, count)
                    if _raised(self._store, forced, raised):
                        limit = raised
                struct.pack_into("<QQ", self._map, 8, last + count, limit)
                return int(last + 1)

    def close(self) -> None:
        """Let go of the file. Twice is no error."""
        with self._threads:
            if self._file >= 0:
                if self._map is not None:
                    self._map.close()
                os.close(self._file)
                self._file, self._map = -1, None

    @contextlib.contextmanager
    def _held(self):  # type: ignore[no-untyped-def]
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _boot() -> bytes:
    """What changes when the machine starts anew; never the same where that is not known, so that each opening skips to the limit."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36]
    except OSError:
        return os.urandom(18).hex().encode()


class RequestedOracle:
    """Timestamps from a server that counts: ``ask(n)`` gives the first of n numbers nobody else gets.

    >>> counter = iter(range(1, 100, 1))
    >>> RequestedOracle(lambda count: next(counter)).next()
    1
    """

    def __init__(self, ask: Callable[[int], int]) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, list[int]]] = []  # how many, and a place for the first, of who asked since the last request was sent
        self._asking = False

    def next(self, count: int = 1) -> int:
        """A timestamp larger than all before it, the first of so many."""
        mine: list[int] = []
        served: list[tuple[int, list[int]]] = []
        try:  # what comes behind `with` is Ctrl-C's, too
            with self._changed:
                self._waiting.append((count, mine))
                while not mine and self._asking:
                    self._changed.wait()
                if mine:
                    return mine[0]
                served, self._waiting = self._waiting, []
                self._asking = True
            first = self._ask(sum(asked for asked, _ in served))
        except BaseException:
            with self._changed:
                if served:
                    self._waiting += [(asked, place) for asked, place in served if place is not mine]
                    self._asking = False
                    self._changed.notify_all()
            raise
        with self._changed:
            for asked, place in served:
                place.append(first)
                first += asked
            self._asking = False
            self._changed.notify_all()
        return mine[0]

    def close(self) -> None:
        """Nothing to let go of."""
