"""A store that several processes have open at once: LMDB. One writes at a time, readers wait for nobody.

    folder/  data.mdb   a tree of pages; a change writes new pages, and last the page that says where the tree begins
             lock.mdb   the writer's lock, and a table of who reads what

A family is a named database. The life of a change (`_change`): the writer's lock is taken, over all processes; conditions are looked at,
edits made; the transaction is committed. A process that dies within it has changed nothing, and its lock passes on. If the map is full,
the change is given up, the map grown (`lmdb_map`), the change made again, from its first look at the store: whatever it needs, there is
room for in the end. A map as large as ours by default never grows, which matters to snapshots: no map can be replaced while one is open.

What is on the disk when, which is a choice for the store and not for a call:

- ``durable=True``: every commit waits for the disk, whatever ``sync`` says, because LMDB uses the pages of older trees again. Were one
  commit not on the disk before the next, what a crash of the machine leaves could be a tree of pages of different times, and what an
  earlier ``sync`` had acknowledged would be gone with it. Without ``sync`` it waits once, for the pages, and a crash of the machine may
  take back the very last commit; with it, twice.
- ``durable=False``: nobody waits, but where ``sync`` is said. A killed process loses nothing. A crash of the machine may leave a store
  that is *damaged*, the more so if something was written after the last ``sync``. For what can be computed again.

On two cores, in microseconds: get 0.4, a range's first entry 0.7, a change 5 when nobody waits, 150 with one wait on a quiet disk.
Dead readers would keep old pages from being used again; they are looked for at opening, every so many changes, and before the map grows.

>>> import tempfile
>>> from dataflow.kv.keys import pack
>>> store = LmdbStore(tempfile.mkdtemp())
>>> store.write([Edit("data", pack(("doc", 7)), b"text")])
>>> store.get("data", pack(("doc", 7)))
b'text'
>>> store.close()
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from dataflow.errors import OutcomeUnknownError, Report, StoreError
from dataflow.kv.embedded import Closed, Sizes, copied_to, in_child, pages, why
from dataflow.kv.lmdb_map import Gate, adopt, grow, lmdb, open_environment, pages_of
from dataflow.kv.lmdb_view import LONG, LmdbSnapshot, Transaction, View
from dataflow.kv.store import FAMILIES, Edit, Entry, Mutation, Outcome, Range
from dataflow.sizes import parse_size

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LmdbStore"]

T = TypeVar("T")
_CHECK = 1000  # changes between two looks for dead readers


class LmdbStore:
    """An ordered map of bytes to bytes in a folder, for several processes. ``size``: of the map, at first; less if address space is short.

    It costs nothing but addresses. One that is too small grows when it is full, for which this process may have no snapshot open.
    ``create``: make the store where there is none.

    >>> import tempfile
    >>> with LmdbStore(tempfile.mkdtemp(), durable=False) as store:
    ...     store.mutate(Mutation(b"a", (), (Edit("data", b"a1", b"x"),)))
    ...     list(store.scan("data", b"a", b"b"))
    True
    [(b'a1', b'x')]
    """

    atomic: Literal["row", "store"] = "store"
    shared = True

    def __init__(self, path: str | os.PathLike[str], *, size: int | str = "16TiB", durable: bool = True, create: bool = True) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.name = f"lmdb:{os.fspath(path)}"
        self.durable = durable
        self._environment, self._families = open_environment(self.name, self.path, pages_of(parse_size(size)), durable, create)
        self._begin = self._environment.begin
        self._package = lmdb()
        self._gate = Gate()
        self._inside = self._gate.inside
        self._changes = 0
        self._late = False  # whether it is closed, but for those who stay
        in_child(self, LmdbStore._forked)

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        if len(key) < LONG and not self._gate.closed:
            try:
                self._inside.append(None)  # as Gate.enter, and nothing may come before it here
                if not self._gate.closed:
                    return self._begin(self._families[family]).get(key)  # type: ignore[return-value]  # it ends with its last name
            except Exception as reason:
                if not isinstance(reason, self._package.MapResizedError):
                    self._refuse("read", reason)
            finally:
                self._inside.pop()
        return self._read(lambda view: view.get(family, key))

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order, as they were at one moment."""

        def read(view: View) -> list[bytes | None]:
            return [view.get(family, key) for key in keys]

        return self._read(read)

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, page by page; a page as it was at one moment."""

        def read(start: bytes, stop: bytes, most: int) -> list[Entry]:
            return self._read(lambda view: view.page(family, start, stop, reverse, most))

        return pages(read, start, stop, reverse, limit)

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range, all at one moment."""

        def read(view: View) -> list[Entry | None]:
            first = view.first
            return [first(*one) for one in ranges]

        return self._read(read)

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together. Raises `OutcomeUnknownError` if the disk fails meanwhile."""

        def change(view: View) -> bool:
            view.apply(edits)
            return True

        self._change(change, sync)

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold."""

        def change(view: View) -> bool:
            if not view.holds(mutation.require):
                return False
            view.apply(mutation.edits)
            return True

        return self._change(change, sync)

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently, but all in one transaction: with one wait for the disk."""
        answers: list[bool] = []

        def change(view: View) -> bool:
            answers.clear()
            for mutation in mutations:
                made = view.holds(mutation.require)
                if made:
                    view.apply(mutation.edits)
                answers.append(made)
            return any(answers)

        try:
            self._change(change, sync)
        except OutcomeUnknownError as reason:
            return [reason if made else False for made in answers]
        return [*answers]

    def exclusive(self, do: Callable[[View], T], *, sync: bool = True) -> T:
        """What is done with the writer's lock held, over all processes: what it reads is as it is, what it changes is committed together.

        >>> import tempfile
        >>> with LmdbStore(tempfile.mkdtemp()) as store:
        ...     store.exclusive(lambda now: now.put("data", b"k", (now.get("data", b"k") or b"") + b"v"))
        ...     store.get("data", b"k")
        b'v'

        An exception leaves the store as it was. If the map was full, it is done again in a larger one, and what it did before counts for
        nothing. The object has `get`, `first`, `scan`, `put` and `delete`; the store itself must not be changed meanwhile, by this thread.
        """
        done: list[T] = []
        failed: list[BaseException] = []

        def change(view: View) -> bool:
            try:
                done[:] = [do(view)]
            except self._package.Error:
                raise
            except BaseException as reason:
                failed.append(reason)
            return not failed

        try:
            if not self._change(change, sync, long=True):
                raise failed[0]
        finally:
            self._close_late()
        return done[0]

    def snapshot(self, family: str) -> LmdbSnapshot:
        """The family as it is now, for as long as the snapshot lives; pages that it sees are not used again meanwhile.

        >>> import tempfile
        >>> with LmdbStore(tempfile.mkdtemp()) as store, store.snapshot("data") as before:
        ...     store.write([Edit("data", b"k", b"v")])
        ...     before.get(b"k"), store.get("data", b"k")
        (None, b'v')
        """
        self._families[family]  # raises if closed
        taken = LmdbSnapshot(self.name, self._families, family, self._gate)
        try:
            taken.begin(self._begin)
        except BaseException as reason:
            taken.close()
            if isinstance(reason, self._package.MapResizedError):
                adopt(self.name, self._gate, self._environment)
                return self.snapshot(family)
            if isinstance(reason, Exception):
                self._refuse("read", reason)
            raise
        return taken

    def checkpoint(self, folder: str | os.PathLike[str]) -> None:
        """A copy as of now in a new folder, without the space that is free within.

        >>> import tempfile
        >>> folder = os.path.join(tempfile.mkdtemp(), "copy")
        >>> with LmdbStore(tempfile.mkdtemp()) as store:
        ...     store.write([Edit("data", b"k", b"v")])
        ...     store.checkpoint(folder)
        >>> with LmdbStore(folder) as copy:
        ...     copy.get("data", b"k")
        b'v'
        """
        copying = object()
        try:
            self._gate.stay(copying)
            self._families["data"]  # raises if closed
            with copied_to(self.name, folder) as unfinished:
                self._environment.copy(unfinished, compact=True)
        except Exception as reason:
            self._refuse(f"copied to {os.fspath(folder)}", reason)
        finally:
            self._gate.go(copying)
            self._close_late()

    def sizes(self) -> Sizes:
        """Bytes on disk, and how many records each family has; of keys longer than 510 bytes a record may hold several.

        >>> import tempfile
        >>> with LmdbStore(tempfile.mkdtemp()) as store:
        ...     store.sizes().keys["data"]
        0
        """
        counts = self._read(lambda view: {name: view.transaction.stat(found)["entries"] for name, found in self._families.items()})
        return Sizes(os.stat(os.path.join(self.path, "data.mdb")).st_blocks * 512, counts)

    def close(self) -> None:
        """Let go of the folder. Scans and snapshots end with it. Twice is no error."""
        if isinstance(self._families, Closed):
            return
        self._families = Closed(f"{self.name} is closed")
        for staying in list(self._gate.staying):
            if isinstance(staying, weakref.ref) and (snapshot := staying()) is not None:
                snapshot.close()
        try:
            self._gate.alone(self._environment.close)
        except TimeoutError as reason:
            self._late = True
            sentence = f"{self.name} cannot be closed now: another thread is in the middle of `exclusive`, or of a copy"
            raise StoreError(Report(sentence, hint="it will be closed when that thread is done")) from reason

    def _close_late(self) -> None:
        """Close what could not be closed while someone stayed."""
        if self._late:
            with suppress(TimeoutError):  # another stays; it will close it
                self._gate.alone(self._environment.close)

    def _read(self, do: Callable[[View], T]) -> T:
        """What is done sees the store as it is at one moment."""
        gate = self._gate
        while True:
            gate.wait()
            try:
                gate.enter()
                if gate.closed:
                    continue
                families = self._families
                families["data"]  # raises if closed
                return do(View(self._begin(), families))  # the transaction ends with its last name
            except Exception as reason:
                if not isinstance(reason, self._package.MapResizedError):
                    self._refuse("read", reason)
            finally:
                gate.leave()
            adopt(self.name, gate, self._environment)

    def _change(self, do: Callable[[View], bool], sync: bool, *, long: bool = False) -> bool:
        """What is done is done alone, and committed if it says so. It may be done again, if the map was full."""
        gate, name = self._gate, object()
        enter, leave = (partial(gate.staying.add, name), partial(gate.go, name)) if long else (gate.enter, gate.leave)
        while True:
            size = 0
            gate.wait()
            try:
                enter()
                if gate.closed:
                    continue
                transaction = self._write_transaction()
                try:
                    made = do(View(transaction, self._families))
                    if not made:
                        transaction.abort()
                        return False
                    self._commit(transaction, sync)
                    break
                except self._package.MapFullError:
                    size = self._environment.info()["map_size"]
                    transaction.abort()
                except BaseException:
                    transaction.abort()
                    raise
            except self._package.MapResizedError:
                pass
            except Exception as reason:
                self._refuse("written", reason)
            finally:
                leave()
            if size:
                grow(self.name, self._gate, self._environment, size)
            else:
                adopt(self.name, self._gate, self._environment)
        return True

    def _write_transaction(self) -> Transaction:
        self._families["data"]  # raises if closed
        self._changes += 1
        if self._changes % _CHECK == 0:
            self._environment.reader_check()
        return self._begin(write=True)

    def _commit(self, transaction: Transaction, sync: bool) -> None:
        """Commit, and wait for the disk. What fails here may have happened."""
        try:
            transaction.commit()
            if sync:
                self._environment.sync(True)
        except self._package.MapFullError:
            raise
        except self._package.Error as reason:
            raise OutcomeUnknownError(why(self.name, "written", reason)) from reason

    def _forked(self) -> None:
        """LMDB in a forked process would count itself as its parent, and closing it there would free the parent's places as a reader."""
        self._families = Closed(
            f"{self.name} was opened by process {os.getppid()}, of which this one is a fork: start it by spawn, or open it after the fork"
        )

    def _refuse(self, doing: str, reason: BaseException) -> NoReturn:
        """Raises what went wrong in our words."""
        if isinstance(reason, (StoreError, TypeError)):
            raise reason
        if isinstance(self._families, Closed):
            raise StoreError(self._families.sentence) from reason
        if isinstance(reason, KeyError):
            raise StoreError(Report(f"a store has no family {reason.args[0]!r}", hint=f"families: {', '.join(FAMILIES)}")) from reason
        if isinstance(reason, self._package.ReadersFullError):
            raise StoreError(Report(f"{self.name}: too many read it at once", hint="close snapshots sooner")) from reason
        raise StoreError(why(self.name, doing, reason)) from reason

    def __enter__(self) -> LmdbStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
