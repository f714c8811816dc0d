"""What a crash leaves in the store, and what a reader makes of it: one test for each place between two calls of the protocol.

The transaction moves 1 from "a" (the primary) to "b" and "c"; it began at 2, and would commit at 3. Its writer stops where the test says.
`holds` shows the store: locks as ``a:L2`` (of who began at 2), write records as ``a:P3<2`` (a put at 3 of who began at 2), tombstones as
``a:R2``, notifications as ``a:N3``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataflow.errors import ConflictError
from dataflow.kv import MemoryStore, unpack
from dataflow.txn import Database
from dataflow.txn.commit import commit_primaries, commit_secondaries
from dataflow.txn.ground import Ground
from dataflow.txn.notify import Trail
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.prewrite import Intent, Planned, plan_locks, prewrite
from dataflow.txn.records import ROLLBACK, lock_of, timestamp_in, write_of
from dataflow.txn.transaction import cell_key
from dataflow.txn.values import encode


class Crash:
    """A store with what was there before, and the steps of a transaction on it, one by one."""

    def __init__(self, life: float = 0.0) -> None:
        self.store = MemoryStore()
        self.db = self.process(life)
        self.db.observer("x")(lambda t, row, value: None)
        with self.db.transaction() as t:
            t["a", "x"] = t["b", "x"] = t["c", "x"] = 5
        self.db.run_observers()
        self.ground: Ground = self.db.engine.ground  # type: ignore[attr-defined]
        self.before = self.ground.oracle.next()
        self.began = self.ground.oracle.next()
        cells = {cell_key(row, "x"): encode(value) for row, value in (("a", 3), ("b", 6), ("c", 6))}
        intent = Intent(self.began, cells, notify=dict.fromkeys(cells, Trail().packed()))
        self.plan: Planned = plan_locks(self.ground, intent)

    def process(self, life: float = 0.0) -> Database:
        """Another process: its engine, and its own clock."""
        self.oracle = getattr(self, "oracle", None) or StoreOracle(self.store)
        return Database(PercolatorEngine(self.store, self.oracle, life=life, sync=False))

    def prewrite(self, rows: int = 3) -> None:
        assert prewrite(self.ground, [self.plan._replace(rows=self.plan.rows[:rows])]) == [None]

    def commit_primary(self) -> int:
        self.time = self.ground.oracle.next()
        (outcome,) = commit_primaries(self.ground, [(self.plan.rows[0], self.time)])
        if isinstance(outcome, ConflictError):
            raise outcome
        return outcome

    def commit_secondaries(self, *rows: int) -> None:
        commit_secondaries(self.ground, [(self.plan.rows[row], self.time) for row in rows])

    def holds(self) -> str:
        """What is there of this transaction, in words of two letters; times counted from its start."""
        found = []
        for family in ("lock", "write", "notify"):
            for key, packed in self.store.scan(family, b"\x01", b"\xff"):
                name = unpack(key if family == "lock" else key[:-8])[0]
                if family == "lock":
                    found.append(f"{name}:L{lock_of(packed).start - self.began}")
                elif family == "notify":
                    found.append(f"{name}:N{timestamp_in(key, newest_first=False) - self.began}")
                elif write_of(packed).start >= self.began and unpack(key[:-8])[1] == "x":
                    write = write_of(packed)
                    at = timestamp_in(key) - self.began
                    found.append(f"{name}:R" if write.kind == ROLLBACK else f"{name}:{write.kind.decode()}{at}<{write.start - self.began}")
        return " ".join(sorted(found, key=lambda word: (word[0], word)))

    def read(self, *rows: str) -> dict[str, int]:
        """What a new reader in another process sees."""
        with self.process().snapshot() as s:
            return {row: s[row, "x"] for row in rows or ("a", "b", "c")}


OLD = {"a": 5, "b": 5, "c": 5}
NEW = {"a": 3, "b": 6, "c": 6}


def test_crash_before_anything() -> None:
    crash = Crash()
    assert crash.holds() == ""
    assert crash.read() == OLD


def test_crash_after_prewrite_of_primary() -> None:
    crash = Crash()
    crash.prewrite(1)
    assert crash.holds() == "a:L0"
    assert crash.read() == OLD
    assert crash.holds() == "a:R"


def test_crash_after_prewrite_of_primary_and_nobody_reads_it() -> None:
    crash = Crash()
    crash.prewrite(1)
    assert crash.read("b", "c") == {"b": 5, "c": 5}
    assert crash.holds() == "a:L0"
    crash.process().collect_garbage()
    assert "L" not in crash.holds()


def test_crash_after_prewrite_of_all() -> None:
    crash = Crash()
    crash.prewrite()
    assert crash.holds() == "a:L0 b:L0 c:L0"
    assert crash.read("c") == {"c": 5}
    assert crash.holds() == "a:R b:L0 c:R"
    assert crash.read() == OLD
    assert crash.holds() == "a:R b:R c:R"


def test_crash_after_commit_of_primary() -> None:
    crash = Crash()
    crash.prewrite()
    crash.commit_primary()
    assert crash.holds() == "a:N1 a:P1<0 b:L0 c:L0"
    assert crash.read("b") == {"b": 6}
    assert crash.holds() == "a:N1 a:P1<0 b:N1 b:P1<0 c:L0"
    assert crash.read() == NEW


def test_crash_between_secondaries() -> None:
    crash = Crash()
    crash.prewrite()
    crash.commit_primary()
    crash.commit_secondaries(2)
    assert crash.holds() == "a:N1 a:P1<0 b:L0 c:N1 c:P1<0"
    assert crash.read() == NEW
    assert crash.holds() == "a:N1 a:P1<0 b:N1 b:P1<0 c:N1 c:P1<0"


def test_crash_between_secondaries_and_observers_hear_of_it() -> None:
    """Nobody reads the row whose lock is left: the workers finish it before they say that nothing is left to do."""
    crash = Crash()
    crash.prewrite()
    crash.commit_primary()
    seen: dict[Any, Any] = {}
    other = crash.process()
    other.observer("x")(lambda t, row, value: seen.__setitem__(row, value))
    other.run_observers()
    assert seen == NEW
    assert crash.holds() == "a:P1<0 b:P1<0 c:P1<0"
    assert other.frontier() > crash.time


def test_a_snapshot_from_before_does_not_care() -> None:
    crash = Crash()
    old = crash.process().as_of(crash.before)
    crash.prewrite()
    assert {row: old[row, "x"] for row in "abc"} == OLD
    assert crash.holds() == "a:L0 b:L0 c:L0"
    assert crash.commit_primary() == crash.began + 2  # "a:N2": asking for the past asked the oracle for the time
    assert {row: old[row, "x"] for row in "abc"} == OLD
    assert crash.holds() == "a:N2 a:P2<0 b:L0 c:L0"


def test_paused_past_the_locks_life() -> None:
    crash = Crash()
    crash.prewrite()
    assert crash.read() == OLD
    with pytest.raises(ConflictError, match="took this one for dead and rolled it back"):
        crash.commit_primary()
    assert crash.holds() == "a:R b:R c:R"


def test_paused_between_primary_and_secondaries() -> None:
    """He was taken for dead behind his commit point: others have done his work, and what he still does changes nothing."""
    crash = Crash()
    crash.prewrite()
    crash.commit_primary()
    assert crash.read() == NEW
    with crash.process().transaction() as t:
        t["b", "x"] = 9
    crash.commit_secondaries(1, 2)
    assert crash.read() == {**NEW, "b": 9}


def test_paused_before_the_secondaries_are_locked() -> None:
    crash = Crash()
    crash.prewrite(1)
    assert crash.read() == OLD
    (refused,) = prewrite(crash.ground, [crash.plan])
    assert refused is not None
    assert "rolled it back" in str(refused)
    assert crash.holds() == "a:R"


def test_a_prewrite_that_comes_late_finds_the_tombstone() -> None:
    """A reader met a secondary and found nothing at the primary, whose request was still under way."""
    crash = Crash()
    late = crash.plan._replace(rows=crash.plan.rows[1:])
    assert prewrite(crash.ground, [late]) == [None]
    assert crash.holds() == "b:L0 c:L0"
    assert crash.read("b") == {"b": 5}
    assert crash.holds() == "a:R b:R c:L0"
    (refused,) = prewrite(crash.ground, [crash.plan._replace(rows=crash.plan.rows[:1])])
    assert refused is not None
    assert crash.read() == OLD


def test_a_lock_whose_life_is_not_over_is_waited_for() -> None:
    crash = Crash(life=60.0)
    crash.prewrite()
    waited = []

    def commit_meanwhile(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            crash.commit_primary()

    other = crash.process()
    other.engine.ground.pause = commit_meanwhile  # type: ignore[attr-defined]
    with other.snapshot() as s:
        assert s["b", "x"] == 5  # it commits after this snapshot
    assert len(waited) == 3
    assert crash.holds() == "a:N2 a:P2<0 b:N2 b:P2<0 c:L0"


def test_the_life_is_counted_from_when_it_was_first_seen_by_the_readers_own_clock() -> None:
    crash = Crash(life=60.0)
    crash.prewrite()
    now = [1_000_000.0]
    other = crash.process()
    ground = other.engine.ground  # type: ignore[attr-defined]
    ground.clock = lambda: now[0]
    waits = []

    def later(seconds: float) -> None:
        waits.append(seconds)
        now[0] += 20

    ground.pause = later
    with other.snapshot() as s:
        assert s["b", "x"] == 5
    assert len(waits) == 3
    assert crash.holds() == "a:R b:R c:L0"


def test_who_writes_over_an_abandoned_lock() -> None:
    crash = Crash()
    crash.prewrite()
    with crash.process().transaction() as t:
        t["b", "x"] = 7
    assert crash.read() == {**OLD, "b": 7}
    with pytest.raises(ConflictError):
        crash.commit_primary()


@pytest.mark.parametrize("step", ["prewrite", "commit"])
def test_who_writes_over_a_live_lock_conflicts_at_once(step: str) -> None:
    crash = Crash(life=60.0)
    crash.prewrite()
    if step == "commit":
        crash.commit_primary()
    t = crash.process(60.0).transaction()
    t["b", "x"] = 7
    if step == "prewrite":
        with pytest.raises(ConflictError, match=f"the transaction that began at {crash.began} is committing it"):
            t.commit()
    else:
        t.commit()
        assert crash.read() == {**NEW, "b": 7}


def everything_at_once(crash: Crash) -> list[Callable[[], object]]:
    return [lambda: crash.read("a"), lambda: crash.read("b"), crash.process().collect_garbage, lambda: crash.process().frontier()]


@pytest.mark.parametrize("who", range(4))
@pytest.mark.parametrize("until", ["prewrite", "commit"])
def test_whoever_comes_first_the_end_is_the_same(who: int, until: str) -> None:
    crash = Crash()
    crash.prewrite()
    if until == "commit":
        crash.commit_primary()
    everything_at_once(crash)[who]()
    assert crash.read() == (NEW if until == "commit" else OLD)
    assert "L" not in crash.holds()


def test_a_process_without_the_thread_that_finishes_commits_finishes_them_itself() -> None:
    """As a fork is."""
    store = MemoryStore()
    engine = PercolatorEngine(store, StoreOracle(store), background=True)
    assert engine._late is not None
    engine._late.put(None)
    engine._finisher.join()
    with Database(engine).transaction() as t:
        t["a", "x"] = t["b", "x"] = 1
    assert not list(store.scan("lock", b"\x01", b"\xff"))
