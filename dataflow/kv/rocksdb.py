"""The embedded store, and the default: RocksDB, through rocksdict. One process, any number of threads, larger than memory.

    folder/  000012.log     what was written, in order; an acknowledged write is in it
             000009.sst …   sorted files
             CURRENT, MANIFEST-…, OPTIONS-…, LOCK

A family is a column family, with files of its own. The life of a mutation:

1. The latch of its row is taken (`rocksdb_latches`), so that nothing else changes the row meanwhile; readers take none.
2. Its conditions are looked at (`_holds`).
3. Its edits go to the log as one batch, and into memory (`_commit`). With ``sync`` the log is on the disk before the call ends; threads
   that wait for the disk at the same time share one fsync. Without, the operating system has it: a killed process loses nothing,
   a machine without power loses the last writes, and what remains is a prefix of what was written.

What a call costs is the way from Python into RocksDB and back, so that is what is saved here. On two cores, everything in memory, in
microseconds: get 1.0, of a list 0.65 a key (and other threads run meanwhile); an iterator 0.6 to 1.0, to move it 0.5, each question to it
0.15; put 2.7; a batch of one 3.4 and 0.7 for each more; a snapshot 0.2. Hence a range of one key is a get, several of them in a row one
list, and several ranges in a row one iterator. Hence, too, a caller does well to order its ranges by family.

What looks faster and is wrong:

- An iterator made once and moved again sees the store as it was when it was made. A "tailing" one sees new entries, but of a batch that
  is being made as well: then a lock is gone, and the write record that replaces it is not there yet.
- An iterator without an upper bound, when nothing is in the range, goes on over every deleted key behind it: thousands of dead locks.
- ``items()`` ends without a word where a block is damaged; so a page that ends early asks an iterator (`rocksdb_reading`).

>>> import tempfile
>>> from dataflow.kv.keys import pack
>>> store = RocksStore(tempfile.mkdtemp())
>>> store.write([Edit("data", pack(("doc", 7)), b"text")])
>>> store.get("data", pack(("doc", 7)))
b'text'
>>> store.close()
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from dataflow.errors import OutcomeUnknownError, Report, StoreError
from dataflow.kv.embedded import Closed, Sizes, immortal, in_child, pages, refuse_existing, why
from dataflow.kv.rocksdb_batch import Batch, fill
from dataflow.kv.rocksdb_files import open_folder, rocksdict
from dataflow.kv.rocksdb_latches import Latches
from dataflow.kv.rocksdb_reading import RocksSnapshot, first, first_of_each, freeze, live_page
from dataflow.kv.store import FAMILIES, Absent, Condition, Edit, Entry, Equals, Mutation, Outcome, Range
from dataflow.sizes import parse_size

if TYPE_CHECKING:
    from types import TracebackType

    from rocksdict import Rdict

__all__ = ["RocksStore"]

_KEPT = 1_000  # entries of "meta"


class RocksStore:
    """An ordered map of bytes to bytes in a folder. ``cache``: bytes of blocks kept in memory, of all families together.

    ``create``: make the store where there is none.

    >>> import tempfile
    >>> with RocksStore(tempfile.mkdtemp(), cache="64MiB") as store:
    ...     store.mutate(Mutation(b"a", (Equals("data", b"a1", None),), (Edit("data", b"a1", b"x"),)))
    ...     list(store.scan("data", b"a", b"b"))
    True
    [(b'a1', b'x')]
    """

    atomic: Literal["row", "store"] = "store"
    shared = False

    def __init__(self, path: str | os.PathLike[str], *, cache: int | str = "256MiB", read_only: bool = False, create: bool = True) -> None:
        self.path = os.path.realpath(os.fspath(path))  # RocksDB's own lock goes by the name, and a folder may have several
        self.name = f"rocksdb:{os.fspath(path)}"
        self.read_only = read_only
        self._db = open_folder(self.name, self.path, parse_size(cache), read_only, create)
        rocks = rocksdict()
        self._batch, self._read_options = rocks.WriteBatch, rocks.ReadOptions
        self._synced, self._unsynced = rocks.WriteOptions(), rocks.WriteOptions()
        self._synced.sync = True
        self._families: dict[str, Rdict] = {family: self._db.get_column_family(family) for family in FAMILIES}
        self._handles: dict[str, Any] = {family: self._db.get_column_family_handle(family) for family in FAMILIES}
        self._gets: dict[str, Callable[[Any], Any]] = {family: found.get for family, found in self._families.items()}
        self._putting = {sync: self._db.get_column_family("data") for sync in (False, True)}
        self.puts: dict[Any, Callable[[bytes, bytes], None]] = {sync: found.put for sync, found in self._putting.items()}
        """By ``sync``, RocksDB's own put into "data". What it raises is for `refuse_write`. Of a closed store there is none."""
        for sync, found in self._putting.items():
            found.set_write_options(self._synced if sync else self._unsynced)  # else each call would have to say it
        self._meta: dict[Any, Any] = {}  # what is known of "meta"
        self._meta_lock = threading.Lock()
        self._latches = Latches()
        self._snapshots: weakref.WeakSet[RocksSnapshot] = weakref.WeakSet()
        in_child(self, RocksStore._forked)

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        try:
            return self._gets[family](key) if family != "meta" else self._get_meta(key)
        except Exception as reason:
            self._refuse("read", reason)

    def _get_meta(self, key: bytes) -> bytes | None:
        """What is in "meta" is asked for all the time (the safe point, by every transaction) and seldom changed: it is kept in memory."""
        try:
            return self._meta[key]
        except KeyError:
            with self._meta_lock:  # so that nobody changes it between the two
                value = self._gets["meta"](key)
                if len(self._meta) >= _KEPT:
                    self._meta.clear()
                self._meta[key] = value
            return value

    def getter(self, family: str) -> Callable[[bytes], bytes | None]:
        """RocksDB's own get of a family, for who reads so much that our call around it matters: its errors are RocksDB's.

        >>> import tempfile
        >>> with RocksStore(tempfile.mkdtemp()) as store:
        ...     print(store.getter("data")(b"none"))
        None
        """
        return self._gets[family]

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order, as they were at one moment."""
        try:
            return self._gets[family](keys if type(keys) is list else list(keys)) if keys else []
        except Exception as reason:
            self._refuse("read", reason)

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, page by page; a page as it was at one moment."""

        def read(start: bytes, stop: bytes, most: int) -> list[Entry]:
            try:
                return live_page(self._families[family], self._read_options(), start, stop, reverse, most)
            except Exception as reason:
                self._refuse("read", reason)

        return pages(read, start, stop, reverse, limit)

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range; ranges of one family that follow each other are looked at at one moment."""
        try:
            if len(ranges) == 1:
                return [self._first(ranges[0])]
            found: list[Entry | None] = []
            at, count = 0, len(ranges)
            while at < count:
                family, end = ranges[at].family, at + 1
                while end < count and ranges[end].family == family:
                    end += 1
                if end == at + 1:
                    found.append(self._first(ranges[at]))
                else:
                    found += first_of_each(self._families[family], self._gets[family], self._read_options(), ranges[at:end])
                at = end
            return found
        except Exception as reason:
            self._refuse("read", reason)

    def _first(self, one: Range | Absent) -> Entry | None:
        family, start, stop = one
        return first(self._families[family], self._gets[family], self._read_options, start, stop)

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together, as one batch. Raises `OutcomeUnknownError` if the disk fails meanwhile."""
        self._latches.holding_edits(edits, sync, lambda: self._commit(edits, sync))

    # -- without latches, which are half the time of a write: for who alone changes these keys, and never on a condition

    def batch(self, family: str) -> Batch:
        """A batch to be filled, most of it with keys of a family."""
        return Batch(self._batch(True), self._handles, family)

    def write_batch(self, batch: Batch, *, sync: bool = True) -> None:
        """Make all edits of a batch, together. Raises `OutcomeUnknownError` if the disk fails meanwhile."""
        self._written(batch.raw, batch.noted, self._synced if sync else self._unsynced)

    def refuse_write(self, reason: Exception) -> NoReturn:
        """Raises what went wrong with a write in our words."""
        if str(reason).startswith("IO error") and not self.read_only:
            # The batch may stand in the log although it was not acknowledged, and then it is there after a crash.
            raise OutcomeUnknownError(why(self.name, "written", reason)) from reason
        self._refuse("written", reason)

    # -- on a condition

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold."""
        row, require, edits = mutation
        with self._latches.of_row(row):
            if not self._holds(require):
                return False
            self._commit(edits, sync)
            return True

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently, but all of different rows in one batch: with one fsync."""
        answers: list[Outcome] = []
        at = 0
        while at < len(mutations):
            rows: set[bytes] = set()
            end = at
            while end < len(mutations) and mutations[end].row not in rows:
                rows.add(mutations[end].row)
                end += 1
            answers += self._mutate_rows(mutations[at:end], rows, sync)
            at = end
        return answers

    def _mutate_rows(self, mutations: Sequence[Mutation], rows: set[bytes], sync: bool) -> list[Outcome]:
        """Mutations of rows that all differ: what one changes, no other's condition sees."""

        def change() -> list[Outcome]:
            answers = self._hold(mutations)
            edits = [edit for mutation, made in zip(mutations, answers, strict=True) if made for edit in mutation.edits]
            try:
                self._commit(edits, sync)
            except OutcomeUnknownError as reason:
                return [reason if made else False for made in answers]
            return [*answers]

        return self._latches.holding_rows(rows, change)

    def _hold(self, mutations: Sequence[Mutation]) -> list[bool]:
        """Whether the conditions of each mutation hold; those of all together are one list and one iterator for each family."""
        held = [True] * len(mutations)
        equal: dict[str, list[tuple[int, bytes, bytes | None]]] = {}
        absent: dict[str, list[tuple[int, Range]]] = {}
        for at, mutation in enumerate(mutations):
            for condition in mutation.require:
                if isinstance(condition, Equals):
                    equal.setdefault(condition.family, []).append((at, condition.key, condition.value))
                else:
                    absent.setdefault(condition.family, []).append((at, Range(*condition)))
        for family, wanted in equal.items():
            values = self.get_many(family, [key for _, key, _ in wanted])
            for (at, _, value), found in zip(wanted, values, strict=True):
                if found != value:
                    held[at] = False
        for ranges in absent.values():
            for (at, _), entry in zip(ranges, self.firsts([one for _, one in ranges]), strict=True):
                if entry is not None:
                    held[at] = False
        return held

    def _holds(self, require: tuple[Condition, ...]) -> bool:
        try:
            for condition in require:
                if isinstance(condition, Equals):
                    if self._gets[condition.family](condition.key) != condition.value:
                        return False
                elif self._first(condition) is not None:
                    return False
            return True
        except Exception as reason:
            self._refuse("read", reason)

    def _commit(self, edits: Sequence[Edit], sync: bool) -> None:
        options = self._synced if sync else self._unsynced
        if len(edits) == 1 and edits[0][2] is not None and edits[0][0] != "meta":  # 0.6 microseconds less than as a batch
            ((family, key, value),) = edits
            try:
                self._families[family].put(key, value, options)
            except Exception as reason:
                self.refuse_write(reason)
        elif edits:
            batch = self._batch(True)
            try:
                noted = fill(batch, self._handles, edits)
            except Exception as reason:
                self._refuse("written", reason)
            self._written(batch, noted, options)

    def _written(self, batch: Any, noted: Sequence[bytes], options: Any) -> None:
        try:
            if noted:
                with self._meta_lock:
                    for key in noted:
                        self._meta.pop(key, None)
                    self._db.write(batch, options)
            else:
                self._db.write(batch, options)
        except Exception as reason:
            self.refuse_write(reason)

    def snapshot(self, family: str) -> RocksSnapshot:
        """The family as it is now, for as long as the snapshot lives.

        >>> import tempfile
        >>> with RocksStore(tempfile.mkdtemp()) as store, store.snapshot("data") as before:
        ...     store.write([Edit("data", b"k", b"v")])
        ...     before.get(b"k"), store.get("data", b"k")
        (None, b'v')
        """
        try:
            taken = RocksSnapshot(*freeze(self._db, self._families[family]), partial(self._refuse, "read"))
        except Exception as reason:
            self._refuse("read", reason)
        self._snapshots.add(taken)
        return taken

    def checkpoint(self, folder: str | os.PathLike[str]) -> None:
        """A copy as of now in a new folder, to be opened as a store. On one disk its files are links, and cost no space at first.

        >>> import tempfile
        >>> folder = os.path.join(tempfile.mkdtemp(), "copy")
        >>> with RocksStore(tempfile.mkdtemp()) as store:
        ...     store.write([Edit("data", b"k", b"v")])
        ...     store.checkpoint(folder)
        >>> with RocksStore(folder) as copy:
        ...     copy.get("data", b"k")
        b'v'
        """
        try:
            self._families["data"]  # raises if closed
            refuse_existing(self.name, folder)
            rocksdict().Checkpoint(self._db).create_checkpoint(os.path.abspath(os.fspath(folder)))
        except Exception as reason:
            self._refuse(f"copied to {os.fspath(folder)}", reason)

    def sizes(self) -> Sizes:
        """Bytes on disk, and about how many keys each family has: overwritten ones count until they are compacted.

        >>> import tempfile
        >>> with RocksStore(tempfile.mkdtemp()) as store:
        ...     store.sizes().keys["data"]
        0
        """
        try:
            keys = {family: self._families[family].property_int_value("rocksdb.estimate-num-keys") or 0 for family in FAMILIES}
        except Exception as reason:
            self._refuse("read", reason)
        size = 0
        for entry in os.scandir(self.path):
            with contextlib.suppress(FileNotFoundError):  # compacted away just now
                size += entry.stat().st_size if entry.is_file() else 0
        return Sizes(size, keys)

    def close(self) -> None:
        """Let go of the folder. Scans and snapshots end with it. Twice is no error."""
        if isinstance(self._families, Closed):
            return
        families = [*self._families.values(), *self._putting.values()]
        self._shut(f"{self.name} is closed")
        for snapshot in list(self._snapshots):
            snapshot.close()
        try:
            with contextlib.ExitStack() as closing:
                for found in (self._db, *families):  # each keeps the lock of the folder, whatever another raises
                    closing.callback(found.close)
                if not self.read_only:
                    self._db.flush_wal(True)
        except Exception as reason:
            raise StoreError(why(self.name, "closed", reason)) from reason

    def _shut(self, sentence: str) -> None:
        closed = Closed(sentence)
        self._families, self._handles, self._gets, self.puts, self._meta = closed, closed, closed, closed, closed

    def _forked(self) -> None:
        """In a forked process RocksDB's threads are missing: every call would wait for them, even the one that closes it."""
        immortal((self._db, self._families, self._putting, self._handles, self._gets, *map(RocksSnapshot.pieces, self._snapshots)))
        self._shut(f"{self.name} was opened by process {os.getppid()}, of which this one is a fork")

    def _refuse(self, doing: str, reason: Exception) -> NoReturn:
        """Raises what went wrong in our words."""
        if isinstance(reason, StoreError):
            raise reason
        if isinstance(self._families, Closed):
            raise StoreError(self._families.sentence) from reason
        if type(reason).__name__ == "DbClosedError":
            raise StoreError(f"{self.name} is closed") from reason
        if isinstance(reason, KeyError):
            if reason.args[0] == "raw mode only support bytes":
                raise TypeError("keys and values of a store are bytes") from reason
            raise StoreError(Report(f"a store has no family {reason.args[0]!r}", hint=f"families: {', '.join(FAMILIES)}")) from reason
        if self.read_only and "Not implemented" in str(reason):
            raise StoreError(f"{self.name} is open for reading only") from reason
        raise StoreError(why(self.name, doing, reason)) from reason

    def __enter__(self) -> RocksStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
