"""The LMDB environment of a store: opening it, who is inside, and how its map grows.

LMDB reads its file through a map of fixed size, "as large as possible, to accommodate future growth" (its documentation): the file is as
large as its contents, and a map of 16 TiB takes half a millisecond to make and an eighth of the 47 bits of addresses that a process has.
Where there are fewer (`ulimit -v`), it is halved until as much again is left to others.

When the map is full all the same, or another process has grown its own, it must be mapped anew, and then no transaction of this process
may be open: one that is inside the old map would read memory that is gone, and a snapshot cannot be taken again as of then. So calls say
when they are inside (`Gate`), and growing waits until nobody is, for snapshots only so long.

>>> gate = Gate()
>>> gate.enter(); gate.leave()
>>> gate.alone(lambda: "mapped anew")
'mapped anew'
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import struct
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from dataflow.errors import Report, StoreError
from dataflow.kv.embedded import FORMAT_KEY, WRONG_ADDRESS, check_format, missing_package, stamp, why
from dataflow.kv.lmdb_length import is_whole
from dataflow.kv.store import FAMILIES

Environment = Any  # lmdb's: beside our lmdb.py, type checkers take that for the package

__all__ = ["Gate", "adopt", "grow", "lmdb", "open_environment", "pages_of", "room_for"]

T = TypeVar("T")
_READERS = 1024  # places in the table of readers: threads that read at once, and snapshots, of all processes
_LEAST = 1 << 30  # a map of this size must be possible, or there is no opening
_PAGE = 65536  # of the operating system at most
_MAKING = ".making-"
_META = struct.Struct("=16xI20xI")  # of LMDB's first page: its mark, and the size of pages
_MAGIC = 0xBEEFC0DE
_PATIENCE = 10.0  # seconds that growing waits for snapshots to be closed


def lmdb() -> Any:
    """The package lmdb, loaded when a store is first opened."""
    try:
        import lmdb as package
    except ImportError as error:
        raise missing_package("lmdb", "lmdb") from error
    return package


class Gate:
    """Many may be inside, for a short while (`enter`) or a long one (`stay`); or one alone. To enter and leave costs 0.1 microseconds.

    Who enters waits first (`wait`), and leaves again at once if the gate is ``closed`` then: said first, looked second, so either we see
    the other, or the other sees us.

    Ctrl-C may not leave anybody inside. Python raises it behind a call, so it never comes between ``try:`` and the end of a first call
    that is of C: `enter` is one, and its place is there, with `leave` in ``finally``. Who stays has a name, and may go without having come.
    """

    def __init__(self) -> None:
        self.inside: deque[None] = deque()  # its length is the count: append and pop are whole by themselves, += is not
        self.enter: Callable[[], None] = partial(self.inside.append, None)  # come in
        self.leave: Callable[[], None] = self.inside.pop  # go out
        self.staying: set[object] = set()
        self.go: Callable[[object], None] = self.staying.discard  # go out after a long while
        self._alone = threading.Lock()
        self.closed = False

    def wait(self) -> None:
        """Wait while one is alone."""
        while self.closed:
            time.sleep(0.0002)

    def stay(self, who: object) -> None:
        """Come in for long. Who stays may also enter."""
        self.staying.add(who)
        while self.closed:
            self.staying.discard(who)
            self.wait()
            self.staying.add(who)

    def alone(self, do: Callable[[], T]) -> T:
        """Do something while nobody is inside. Raises `TimeoutError` if someone stays too long."""
        until = time.monotonic() + _PATIENCE
        with self._alone:
            while True:
                self.closed = True
                try:
                    if not self.staying:
                        while self.inside:
                            time.sleep(0.0001)
                        return do()
                finally:
                    self.closed = False
                if time.monotonic() > until:
                    raise TimeoutError
                time.sleep(0.001)


def pages_of(size: int) -> int:
    """A size in whole pages of the operating system, whatever that is.

    >>> pages_of(1), pages_of(65536)
    (65536, 65536)
    """
    return -(-size // _PAGE) * _PAGE


def room_for(size: int) -> bool:
    """Whether so many addresses in a row are free.

    >>> room_for(1 << 20), room_for(1 << 60)
    (True, False)
    """
    try:  # a map that failed would be gone, and the environment closed with it: so it is tried with one of nothing
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def open_environment(name: str, path: str, size: int, durable: bool, create: bool) -> tuple[Environment, dict[str, Any]]:
    """The open environment, and its families."""
    package = lmdb()
    environment: Environment | None = None
    while size > _LEAST and not room_for(2 * size):
        size //= 2
    while environment is None:
        try:
            _suits(name, path, create)
            os.makedirs(path, exist_ok=True)
            _made(path)
            if not is_whole(os.path.join(path, "data.mdb")):
                sentence = f"{name} cannot be opened: it is damaged (data.mdb ends before pages that are in use)"
                raise StoreError(Report(sentence, hint="make the copy again, if it is one; else restore it from a checkpoint"))
            environment = package.open(
                path,
                map_size=size,
                max_dbs=len(FAMILIES) + 3,
                max_readers=_READERS,
                max_spare_txns=1,  # a reading transaction is begun in 0.3 microseconds instead of 0.5
                readahead=False,  # point reads of a store larger than memory
                sync=durable,
                metasync=False,  # see the head of lmdb.py
            )
        except package.MemoryError as reason:  # a limit on address space
            if size <= _LEAST:
                raise StoreError(why(name, "opened", reason)) from reason
            size //= 2
        except (package.Error, OSError) as reason:
            if "already open in this process" in str(reason):
                sentence = f"{name} is open already in this process ({os.getpid()})"
                raise StoreError(Report(sentence, hint="close it first, or share the object")) from reason
            raise StoreError(why(name, "opened", reason)) from reason
    try:
        while True:
            try:
                return environment, _families(name, environment, create)
            except package.MapResizedError:  # another process has grown its map just now
                environment.set_mapsize(0)
    except package.Error as reason:
        environment.close()
        raise StoreError(why(name, "opened", reason)) from reason
    except BaseException:
        environment.close()
        raise


def _suits(name: str, path: str, create: bool) -> None:
    """See that the folder holds a store, or may: nobody would look for one among the files of another."""
    if not _half_made(os.path.join(path, "data.mdb")):
        return
    if os.path.exists(os.path.join(path, "CURRENT")):
        sentence = f"{name} cannot be opened: the folder holds a RocksDB store"
        raise StoreError(Report(sentence, hint=f"write 'rocksdb:{name.removeprefix('lmdb:')}', or give a folder of its own to a store"))
    if not create:
        there = "the folder holds no store" if os.path.isdir(path) else "there is no such folder"
        raise StoreError(Report(f"{name} cannot be opened: {there}", hint=WRONG_ADDRESS))


def _made(path: str) -> None:
    """See that there is a file, whole: LMDB writes the two pages it begins with in place, and one that was killed between them (one of
    ten thousand kills in our tests) leaves a file that nobody can open. So it is made elsewhere, by one process at a time, and moved."""
    file = os.path.join(path, "data.mdb")
    if not _half_made(file):
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        for name in os.listdir(path):
            if name.startswith(_MAKING):  # of one that was killed
                shutil.rmtree(os.path.join(path, name))
        if _half_made(file):
            new = tempfile.mkdtemp(prefix=_MAKING, dir=path)
            with lmdb().open(new, map_size=1 << 20) as made:
                made.sync(True)
            os.replace(os.path.join(new, "data.mdb"), file)
            shutil.rmtree(new)
            os.fsync(folder)
    finally:
        os.close(folder)


def _half_made(file: str) -> bool:
    """Whether a file is not there, or ends before its second page does, whatever size its pages have: nothing was ever in it."""
    try:
        with open(file, "rb") as begun:
            first = begun.read(_META.size)
            size = begun.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return True
    if len(first) < _META.size:
        return True
    magic, page = _META.unpack(first)
    return bool(magic == _MAGIC and size < 2 * page)


def _families(name: str, environment: Environment, create: bool) -> dict[str, Any]:
    """The databases of a store; they are made, together with the mark, in one transaction."""
    environment.reader_check()
    with environment.begin() as transaction:
        there = {bytes(key).decode(errors="replace") for key, _ in transaction.cursor()}
    if there and not there >= set(FAMILIES):
        sentence = f"{name} cannot be opened: it is an LMDB store of something else ({', '.join(sorted(there)[:5])})"
        raise StoreError(Report(sentence, hint="give a folder of its own to a store"))
    if not there and not create:
        raise StoreError(Report(f"{name} cannot be opened: the folder holds no store", hint=WRONG_ADDRESS))
    if not there:
        with environment.begin(write=True) as transaction:
            families = {family: environment.open_db(family.encode(), transaction) for family in FAMILIES}
            transaction.put(FORMAT_KEY, stamp(), db=families["meta"], overwrite=False)  # another process may have been first
        environment.sync(True)
    families = {family: environment.open_db(family.encode(), create=False) for family in FAMILIES}
    with environment.begin() as transaction:
        check_format(name, bytes(transaction.get(FORMAT_KEY, b"", db=families["meta"])))
    return families


def grow(name: str, gate: Gate, environment: Environment, size: int) -> None:
    """Map twice what was mapped when a change found it full, or what can be, unless another thread has done it meanwhile."""
    environment.reader_check()  # the pages that a dead reader keeps from being used again

    def do() -> None:
        if environment.info()["map_size"] > size:
            return
        for part in (1, 2, 4, 8, 16):
            more = pages_of(size // part)
            if room_for(more):
                environment.set_mapsize(size + more)
                return
        sentence = f"{name} needs a larger map than its {size >> 20:,} MiB, and this process has no address space for it"
        raise StoreError(Report(sentence, hint="raise the limit: ulimit -v"))

    _remap(name, gate, do)


def adopt(name: str, gate: Gate, environment: Environment) -> None:
    """Map what another process has grown."""
    _remap(name, gate, lambda: environment.set_mapsize(0))


def _remap(name: str, gate: Gate, do: Callable[[], None]) -> None:
    try:
        gate.alone(do)
    except TimeoutError as reason:
        sentence = f"{name} must map its file anew, and cannot while this process has a snapshot of it open ({len(gate.staying)} are)"
        raise StoreError(Report(sentence, hint="close snapshots sooner, or open the store with a larger size")) from reason
    except lmdb().Error as reason:
        raise StoreError(why(name, "mapped anew", reason)) from reason
