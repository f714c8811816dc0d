"""A store that fails while it is written: nothing is half visible, what follows works, and who asked is told what is known."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dataflow.errors import ConflictError, OutcomeUnknownError, Report, StoreError
from dataflow.kv import Edit, Entry, MemoryStore, Mutation, Range
from dataflow.kv.faulty import FaultyStore
from dataflow.txn import Database, Transaction
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine


class Failing(MemoryStore):
    """Counts its changes, and fails at some: before them (the disk is full), or after them (no answer), and then also for all that follows.

    ``fails``: how, by number: "full", "unknown", "lost" (no answer, and it was not made), or "away" (no answer, and none from then on).
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fails: dict[int, str] = {}
        self.away = False
        self.delay = 0.0

    def get(self, family: str, key: bytes) -> bytes | None:
        self._reached()
        return super().get(family, key)

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        self._reached()
        return super().firsts(ranges)

    def scan(self, *given: Any, **options: Any) -> Iterator[Entry]:
        self._reached()
        return super().scan(*given, **options)

    def _reached(self) -> None:
        if self.away:
            raise StoreError("it cannot be reached")

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        self._around(lambda: super(Failing, self).write(edits))

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        return self._around(lambda: super(Failing, self).mutate(mutation))

    def _around(self, change: Callable[[], Any]) -> Any:
        with self._lock:
            nested = getattr(self, "_nested", False)
            if nested:
                return change()
            self._reached()
            self.count += 1
            how = self.fails.pop(self.count, "")
            if how == "lost":
                raise OutcomeUnknownError("no answer")
            if how == "full":
                raise StoreError(f"the disk is full ({errno.ENOSPC})")
            self._nested = True
            try:
                made = change()
            finally:
                self._nested = False
            if how in ("unknown", "away"):
                self.away = how == "away"
                raise OutcomeUnknownError("no answer")
        time.sleep(self.delay)
        return made


ENGINES: dict[str, Callable[[Failing], Database]] = {
    "embedded": lambda store: Database.open(store, engine="embedded"),
    "percolator": lambda store: Database(PercolatorEngine(store, StoreOracle(store), life=0.0)),
    "one phase": lambda store: Database(PercolatorEngine(store, StoreOracle(store), life=0.0, one_phase=True)),
}


@pytest.mark.parametrize("how", ["full", "unknown"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at", range(1, 6))
def test_a_failed_write_leaves_all_or_nothing(engine: str, how: str, at: int) -> None:
    store = Failing()
    db = ENGINES[engine](store)
    with db.transaction() as t:
        for row in "abc":
            t[row, "x"] = 1
    before = db.transaction()
    assert before["a", "x"] == 1
    before["a", "x"] = 7
    t = db.transaction()
    for row in "abc":
        t[row, "x"] = t[row, "x"] + 1
    store.fails = {store.count + at: how}
    try:
        t.commit()
        told = "committed"
    except ConflictError:
        told = "refused"
    except StoreError:
        told = "not known"
    store.fails = {}
    seen = {row: db.snapshot()[row, "x"] for row in "abc"}
    assert seen in ({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2})
    if told != "not known":
        assert (seen["a"] == 2) == (told == "committed")
    try:
        before.commit()
        assert seen["a"] == 1, "it began before the other, and wrote over it"
    except ConflictError:
        pass
    for row in "abc":
        db.run(lambda t, row=row: t.__setitem__((row, "x"), t[row, "x"] + 10))
    with db.snapshot() as s:
        assert s["b", "x"] == seen["b"] + 10


@pytest.mark.parametrize(("hows", "seen"), [(("away",), 2), (("lost", "full"), 1), (("lost", "away"), 2)])
def test_a_store_that_fails_while_the_outcome_is_looked_for_leaves_it_unknown(hows: tuple[str, ...], seen: int) -> None:
    store = Failing()
    db = ENGINES["percolator"](store)
    with db.transaction() as t:
        t["a", "x"] = 1
    t = db.transaction()
    t["a", "x"] = 2
    store.fails = {store.count + 2 + number: how for number, how in enumerate(hows)}  # behind the lock
    with pytest.raises(OutcomeUnknownError, match=r"whether \['a', 'x'\] was committed"):
        t.commit()
    assert not store.fails
    store.away = False
    assert db.snapshot()["a", "x"] == seen


def test_a_store_that_stays_full_is_what_the_transaction_says_and_soon() -> None:
    store = Failing()
    engine = PercolatorEngine(store, StoreOracle(store), life=0.0)
    waits: list[float] = []
    engine.ground.pause = waits.append
    db = Database(engine)
    for rows in ("a", "ab"):
        with db.transaction() as t:
            t["a", "x"] = 1
        begun = store.count
        store.fails = dict.fromkeys(range(begun + 1, begun + 1_000), "lost")
        with pytest.raises(StoreError, match="no answer") as raised:
            db.run(lambda t, rows=rows: [t.__setitem__((row, "x"), 2) for row in rows])
        assert not isinstance(raised.value, OutcomeUnknownError)
        assert "was not committed" in str(raised.value)
        assert isinstance(raised.value.__cause__, OutcomeUnknownError)
        assert sum(waits) < 10, "seconds"
        store.fails = {}
        assert db.snapshot()["a", "x"] == 1
        db.run(lambda t: t.__setitem__(("b", "x"), 3))


def test_what_a_store_failed_with_is_said_where_a_transaction_gives_up() -> None:
    """The locks cannot be placed, and can be taken back: LMDB on a full disk."""

    class Full(MemoryStore):
        def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
            if any(edit.family == "lock" and edit.value is not None for edit in mutation.edits):
                raise OutcomeUnknownError(Report("the disk is full", hint="free some space"))
            return super().mutate(mutation, sync=sync)

    store = Full()
    db = Database(PercolatorEngine(store, StoreOracle(store), life=0.0))
    for rows in ("a", "ab"):
        with pytest.raises(ConflictError, match=r"'x'\] cannot be committed: the disk is full") as raised:
            db.run(lambda t, rows=rows: [t.__setitem__((row, "x"), 2) for row in rows], retries=3)
        assert "4 times" in str(raised.value)
        assert "free some space" in str(raised.value)


def test_an_error_behind_the_commit_point_is_not_one_of_the_commit() -> None:
    store = Failing()
    db = ENGINES["percolator"](store)
    with db.transaction() as t:
        t["a", "x"] = t["b", "x"] = 1
    with db.transaction() as t:
        t["a", "x"] = t["b", "x"] = 2
        store.fails = {store.count + 4: "full"}  # after both locks and the primary
    assert t.committed is not None
    assert not store.fails
    assert [db.snapshot()[row, "x"] for row in "ab"] == [2, 2]


def test_commits_under_threads_share_writes() -> None:
    store = Failing()
    db = Database.open(store, engine="embedded")
    with db.transaction() as t:
        t["a", "x"] = 1
    store.count, store.delay = 0, 0.002
    barrier = threading.Barrier(8)

    def commit(worker: int) -> None:
        barrier.wait()
        for number in range(20):
            with db.transaction() as t:
                t[worker, "x"] = number

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(commit, range(8)))
    assert len(list(db.snapshot().scan())) == 9
    assert store.count < 0.9 * 160


@pytest.mark.parametrize("seed", range(6))
def test_bank_on_a_store_that_loses_answers(seed: int) -> None:
    """Two processes over one store; a transaction whose outcome is unknown to its writer counts if it is there."""
    base = MemoryStore()
    oracle = StoreOracle(base)
    with Database(PercolatorEngine(base, oracle, life=0.0)).transaction() as t:
        for number in range(6):
            t[number, "x"] = 100
    chosen = random.Random(seed)
    faulty = FaultyStore(base, random.Random(seed), 0.2, late=0.5, twice=0.3)
    engines = [PercolatorEngine(faulty, oracle, life=0.0) for _ in range(2)]
    for engine in engines:
        engine.ground.pause = lambda seconds: None
    dbs = [Database(engine) for engine in engines]
    done = 0
    for _ in range(150):
        giver, taker = chosen.sample(range(6), 2)

        def move(t: Transaction, giver: int = giver, taker: int = taker) -> None:
            t[giver, "x"] -= 1
            t[taker, "x"] += 1

        first, second = (db.transaction() for db in dbs)
        try:
            move(first)
            move(second)
            for t in (first, second):
                try:
                    t.commit()
                    done += 1
                except ConflictError:
                    pass
        except OutcomeUnknownError:
            pass
        assert sum(value for _, value in dbs[0].snapshot().scan()) == 600
    faulty.deliver()
    assert sum(value for _, value in Database(PercolatorEngine(base, oracle, life=0.0)).snapshot().scan()) == 600
    assert done > 20


def test_a_long_value_that_is_collected_while_it_is_read() -> None:
    from dataflow.errors import SnapshotTooOldError

    store = MemoryStore()
    oracle = StoreOracle(store)
    mine, other = (Database(PercolatorEngine(store, oracle, life=0.0)) for _ in range(2))
    for number in range(3):
        with mine.transaction() as t:
            t["a", "x"] = str(number) * 1_000
    old = mine.snapshot()
    with mine.transaction() as t:
        t["a", "x"] = "new" * 1_000
    found = store.firsts

    def collect_between(ranges: Any) -> Any:
        entries = found(ranges)
        del store.firsts
        other.collect_garbage()
        return entries

    store.firsts = collect_between  # type: ignore[method-assign]
    with pytest.raises(SnapshotTooOldError):
        old["a", "x"]
