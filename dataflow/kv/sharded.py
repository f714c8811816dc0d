"""Several stores as one: a row lives in the shard that a hash of its bytes names.

    row ── blake2b ──► number ── % 3 ──► shard 0 │ shard 1 │ shard 2
                                         "meta"  │         │

    a row          one shard: its mutations stay what they were, atomic
    many rows      each shard is given its own, all at once, in threads
    a scan         the shards' scans, merged as they come

Where a row lives depends on how many shards there are, and in which order: so that is written in every shard's "meta" family, with a
name that the shards of one store share, and stores that do not belong together, or come in another order, are refused. To change the
number of shards is to copy everything.

`firsts` keeps the order of its ranges: those of one shard that stand together are one message, and the next waits for its answer. A
range over many rows asks all shards at once, each for the ranges in their order: so for each row the order holds.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Literal, TypeVar

from dataflow.errors import Report, StoreError
from dataflow.kv.rows import in_row, row_if_seen, row_or_key
from dataflow.kv.store import FAMILIES, Edit, Entry, Equals, Mutation, Outcome, Range, Store, unknown
from dataflow.kv.threads import Threads

__all__ = ["ShardedStore", "refuse_part"]

T = TypeVar("T")
_RECORD = b"shard"
_BEGUN = b" begun"
_HIGHEST = b"\xff" * 64  # above every packed key


def refuse_part(store: Store) -> None:
    """Raises `StoreError` if a store is one of several that are one: who writes to it by itself writes where the whole does not look.

    >>> from dataflow.kv.memory import MemoryStore
    >>> part = MemoryStore()
    >>> refuse_part(part)
    >>> refuse_part(ShardedStore([part, MemoryStore()]))
    >>> refuse_part(part)
    Traceback (most recent call last):
      ...
    dataflow.errors.StoreError: memory: is shard 0 of the 2 of a store, and cannot be opened by itself
      hint     open them together, in the order in which they were first opened: a list of addresses; on the command line commas between

    The only shard of a store is all of it, and so it may.
    """
    index, _, rest = (store.get("meta", _RECORD) or b"0 of 1").decode(errors="replace").partition(" of ")
    count = rest.partition(" ")[0]
    if count != "1":
        raise StoreError(
            Report(
                f"{store.name} is shard {index} of the {count} of a store, and cannot be opened by itself",
                hint="open them together, in the order in which they were first opened: "
                "a list of addresses; on the command line commas between",
            )
        )


class ShardedStore:
    """Stores as one store. The same stores must be given each time, in the same order.

    >>> from dataflow.kv.memory import MemoryStore
    >>> store = ShardedStore([MemoryStore(), MemoryStore()])
    >>> from dataflow.kv.keys import pack
    >>> for name in ("ann", "bob", "cid"):
    ...     store.write([Edit("data", pack((name,)), b"")])
    >>> [key for key, _ in store.scan("data", b"", b"\\xff")] == [pack((name,)) for name in ("ann", "bob", "cid")]
    True

    ``threads``: messages under way at once; four times the shards if not given.
    """

    atomic: Literal["row", "store"] = "row"

    def __init__(self, stores: Sequence[Store], *, threads: int | None = None) -> None:
        if not stores:
            raise ValueError("a sharded store needs at least one store")
        self.shards = tuple(stores)
        self.shared = all(store.shared for store in stores)
        self._threads = Threads(threads or 4 * len(stores), "dataflow shard")
        self._closed = threading.Event()
        self._belong_together()

    @classmethod
    def open(cls, address: str, **options: Any) -> ShardedStore:
        """The stores at ``sharded:address|address|…``; options are those of the stores.

        >>> ShardedStore.open("sharded:memory:|memory:").name
        'sharded:memory:|memory:'
        """
        return cls.of(address.removeprefix("sharded:").split("|"), **options)

    @classmethod
    def of(cls, addresses: Iterable[str | os.PathLike[str]], **options: Any) -> ShardedStore:
        """The stores at addresses; if one cannot be opened, or they do not belong together, none is left open.

        >>> ShardedStore.of(["memory:", "memory:"]).name
        'sharded:memory:|memory:'
        """
        from dataflow.kv.opening import open_store  # which opens this

        opened: list[Store] = []
        with contextlib.ExitStack() as failing:
            for each in addresses:
                opened.append(open_store(each, **options))
                failing.callback(opened[-1].close)
            store = cls(opened)
            failing.pop_all()
        return store

    @property
    def name(self) -> str:
        """The names of the shards."""
        return f"sharded:{'|'.join(store.name for store in self.shards)}"

    def shard_of(self, row: bytes) -> int:
        """The number of the shard where a row lives.

        >>> from dataflow.kv.memory import MemoryStore
        >>> ShardedStore([MemoryStore(), MemoryStore(), MemoryStore()]).shard_of(b"`a\\x00")
        0
        """
        return int.from_bytes(blake2b(row, digest_size=8).digest(), "big") % len(self.shards)

    def _belong_together(self) -> None:
        """Check what is written in the shards. If nothing is: write it, and say in the first shard that it was begun until all have it.

        Whoever finds it begun goes on with it; nobody puts an entry before it is done. A shard that has nothing while the first says
        it is done was lost, or exchanged for another.
        """
        while (first := self.shards[0].get("meta", _RECORD)) is None:
            taken = next((store for store in self.shards if self._holds(store) or store.get("meta", _RECORD) is not None), None)
            if taken is None:
                self._record(0, None, self._text(0, secrets.token_hex(8).encode()) + _BEGUN)
            elif self.shards[0].get("meta", _RECORD) is None:  # and so nobody else began meanwhile
                raise self._not_new(taken)
        name = first.removesuffix(_BEGUN).rpartition(b" ")[2]
        if first == self._text(0, name) + _BEGUN:
            for index, store in enumerate(self.shards[1:], 1):
                holds = self._holds(store)  # before its record is read: what others put since has a record before it
                if store.get("meta", _RECORD) is None:
                    if holds:
                        raise self._not_new(store)
                    self._record(index, None, self._text(index, name))
            self._belongs(1, name)
            self._record(0, first, self._text(0, name))
        self._belongs(0, name)

    def _belongs(self, begin: int, name: bytes) -> None:
        for index in range(begin, len(self.shards)):
            says = self.shards[index].get("meta", _RECORD)
            if says != self._text(index, name):
                said, wanted = ((text or b"nothing").decode(errors="replace") for text in (says, name))
                raise StoreError(
                    Report(
                        f"{self.shards[index].name} is not shard {index} of the {len(self.shards)} of this store",
                        record=f"it says {said!r}, and the store is {wanted!r}",
                        hint="give the stores that belong together, all of them, in the order in which they were first opened",
                    )
                )

    @staticmethod
    def _holds(store: Store) -> bool:
        return any(next(store.scan(family, b"", _HIGHEST, limit=1), None) for family in FAMILIES if family != "meta")

    @staticmethod
    def _not_new(store: Store) -> StoreError:
        return StoreError(
            Report(
                f"{store.name} is no new shard: it holds entries, or belongs to another store",
                hint="a store that was used by itself, or as a part of another, cannot become a shard: its rows would not be found",
            )
        )

    def _text(self, index: int, name: bytes) -> bytes:
        return b"%d of %d in %b" % (index, len(self.shards), name)

    def _record(self, index: int, was: bytes | None, now: bytes) -> None:
        """Whether another did it first is seen by reading again."""
        self.shards[index].mutate(Mutation(row_or_key(_RECORD), (Equals("meta", _RECORD, was),), (Edit("meta", _RECORD, now),)))

    def _home(self, family: str, key: bytes) -> int:
        return 0 if family == "meta" else self.shard_of(row_or_key(key))

    def _home_of(self, mutation: Mutation) -> int:
        """The shard of a mutation. Raises `ValueError` if it is of several rows."""
        row, require, edits = mutation
        meta = [family == "meta" for family, *_ in (*require, *edits)]
        if any(meta):
            if not all(meta):
                raise ValueError('a sharded store cannot change "meta" and other families at once')
            return 0
        for _, key, _ in edits:
            if not in_row(key, row):
                raise ValueError(f"a sharded store changes one row at once: {key!r} is not of row {row!r}")
        for condition in require:
            if not in_row(condition[1], row):
                raise ValueError(f"the conditions of a mutation are of its row: {condition!r} is not of row {row!r}")
        return self.shard_of(row)

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        if family == "meta" and key == _RECORD:
            return None  # it is of each shard, and says nothing of the whole
        return self.shards[self._home(family, key)].get(family, key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order; the shards are asked at once."""
        return self._spread(keys, lambda key: self._home(family, key), lambda store, part: store.get_many(family, part))

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, merged from the shards as they come."""
        homes = self._homes(family, start, stop)
        scans = [self.shards[home].scan(family, start, stop, reverse=reverse, limit=limit) for home in homes]
        merged = scans[0] if len(scans) == 1 else heapq.merge(*scans, key=itemgetter(0), reverse=reverse)
        yield from islice(merged, limit)

    def _homes(self, family: str, start: bytes, stop: bytes) -> range:
        """The shards that a range touches: one, if it lies within a row."""
        if family == "meta":
            return range(1)
        row = row_if_seen(start)
        if row and stop <= row + b"\xff":  # behind it are rows that begin with the bytes of this one
            home = self.shard_of(row)
            return range(home, home + 1)
        return range(len(self.shards))

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range, looked at in their order."""
        homes = [self._homes(*each) for each in ranges]
        answers: list[Entry | None] = []
        for home, run in groupby(range(len(ranges)), homes.__getitem__):
            part = [ranges[at] for at in run]
            if len(home) == 1:
                answers += self.shards[home[0]].firsts(part)
                continue
            found = self._at_once([partial(self.shards[at].firsts, part) for at in home])
            answers += [min((entry for entry in each if entry), default=None) for each in zip(*found)]
        return answers

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, which must be of one row."""
        rows = {b"meta" if edit.family == "meta" else row_or_key(edit.key) for edit in edits}
        if len(rows) > 1:
            raise ValueError(f"a sharded store changes one row at once, not {len(rows)}")
        if rows:
            self.shards[self._home(edits[0].family, edits[0].key)].write(edits, sync=sync)

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold, and say whether they did."""
        return self.shards[self._home_of(mutation)].mutate(mutation, sync=sync)

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation; each shard is given its own at once. Those of a shard that fails are unknown, unless all shards fail."""
        return self._spread(mutations, self._home_of, lambda store, part: store.mutate_many(part, sync=sync), lost=unknown)

    def _spread(
        self,
        things: Sequence[T],
        home: Callable[[T], int],
        ask: Callable[[Store, list[T]], list[Any]],
        lost: Callable[[StoreError], Any] | None = None,
    ) -> list[Any]:
        """Answers for things, each asked of its shard; ``lost``: what stands for those of a shard that raised it."""
        places: dict[int, list[int]] = {}
        for place, thing in enumerate(things):
            places.setdefault(home(thing), []).append(place)

        def asked(index: int) -> list[Any] | StoreError:
            try:
                return ask(self.shards[index], [things[place] for place in places[index]])
            except StoreError as reason:
                return reason

        replies = self._at_once([partial(asked, index) for index in places])
        failed = [reply for reply in replies if isinstance(reply, StoreError)]
        if failed and (not lost or len(failed) == len(replies)):
            raise failed[0]
        answers: list[Any] = [None] * len(things)
        for listed, reply in zip(places.values(), replies):
            if isinstance(reply, StoreError):
                reply = [lost(reply)] * len(listed) if lost else []
            for place, answer in zip(listed, reply, strict=True):
                answers[place] = answer
        return answers

    def _at_once(self, acts: Sequence[Callable[[], T]]) -> list[T]:
        """What acts give, done at once; the last in this thread, which would only wait."""
        if self._closed.is_set():
            raise StoreError(Report(f"{self.name} is closed"))
        begun = [self._threads.submit(act) for act in acts[:-1]]
        here = [acts[-1]()] if acts else []
        return [one.result() for one in begun] + here

    @property
    def next_timestamps(self) -> Callable[..., int]:
        """``next_timestamps(n)``: the first of ``n`` numbers in a row that nobody was given before, if the first shard gives any."""
        given: Callable[..., int] = getattr(self.shards[0], "next_timestamps")  # noqa: B009  # no store must have it
        return given

    def close(self) -> None:
        """Close all shards."""
        self._closed.set()
        with contextlib.ExitStack() as closing:  # whatever one of them raises
            for store in reversed(self.shards):
                closing.callback(store.close)
            self._threads.shutdown()
