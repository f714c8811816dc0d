"""What a transaction means, the same on every engine and store: one set of tests (`conftest.py` lists what it runs over)."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dataflow.errors import ConflictError, SnapshotTooOldError, TransactionError, TransactionLimitError
from dataflow.txn import Database, Limits, Transaction

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def put(db: Database, **cells: Any) -> int:
    with db.transaction() as t:
        for row, value in cells.items():
            t[row, "x"] = value
    assert t.committed is not None
    return t.committed


def state(db: Database) -> dict[Any, Any]:
    with db.snapshot() as s:
        return {cell[0]: value for cell, value in s.scan()}


# Isolation


def test_bank_the_sum_never_changes(db: Database) -> None:
    """Fluo's stochastic bank: transfers in threads, beside them scans of everything, which all see the same sum."""
    accounts, sums, done = 30, list[int](), threading.Event()
    with db.transaction() as t:
        for number in range(accounts):
            t[number, "balance"] = 100

    def transfer(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(300 if LARGE else 25):
            giver, taker = chosen.sample(range(accounts), 2)
            amount = chosen.randrange(1, 30)

            def move(t: Transaction) -> None:
                t[giver, "balance"] -= amount
                t[taker, "balance"] += amount

            db.run(move, retries=1000)

    def verify() -> None:
        while not done.is_set() or len(sums) < 3:
            with db.snapshot() as s:
                sums.append(sum(balance for _, balance in s.scan(reverse=bool(len(sums) % 2))))

    with ThreadPoolExecutor(4) as threads:
        verifying = threads.submit(verify)
        moving = [threads.submit(transfer, seed) for seed in range(3)]
        for one in moving:
            one.result()
        done.set()
        verifying.result()
    assert set(sums) == {100 * accounts}
    assert sum(state(db).values()) == 100 * accounts


def test_counter_no_update_is_lost(db: Database) -> None:
    put(db, a=0)

    def add(t: Transaction) -> None:
        t["a", "x"] += 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: db.run(add, retries=1000), range(60)))
    assert state(db) == {"a": 60}


def test_of_two_that_overlap_and_write_the_same_cell_one_commits(db: Database) -> None:
    put(db, a=1, b=1)
    first, second = db.transaction(), db.transaction()
    for t in (first, second):
        t["b", "x"] = t["a", "x"] + 1
    first.commit()
    with pytest.raises(ConflictError):
        second.commit()
    assert state(db) == {"a": 1, "b": 2}


def test_a_conflict_names_the_cell_and_the_other_transaction(db: Database) -> None:
    put(db, a=1)
    t = db.transaction()
    began = t.timestamp
    t["a", "x"] = t["a", "x"] + 1
    time = put(db, a=5)
    with pytest.raises(ConflictError) as error:
        t.commit()
    text = str(error.value)
    assert text.startswith("['a', 'x'] cannot be committed: ")
    assert f"committed it at {time}" in text
    assert f"  attempt  the transaction that began at {began}" in text


def test_write_skew_is_possible_and_a_hold_closes_it(db: Database) -> None:
    for hold in (False, True):
        put(db, ann=True, bob=True)
        first, second = db.transaction(), db.transaction()
        for t, me, other in ((first, "ann", "bob"), (second, "bob", "ann")):
            assert t[other, "x"]
            if hold:
                t.hold(other, "x")
            t[me, "x"] = False
        first.commit()
        if hold:
            with pytest.raises(ConflictError):
                second.commit()
        else:
            second.commit()
        assert state(db) == {"ann": False, "bob": hold}


def test_a_hold_conflicts_with_a_change_that_came_before_and_one_that_comes_after(db: Database) -> None:
    put(db, a=1)
    t, later = db.transaction(), db.transaction()
    for one in (t, later):
        assert one["a", "x"] == 1
    t.hold("a", "x")
    t["b", "x"] = 1
    t.commit()
    later["a", "x"] = 2
    with pytest.raises(ConflictError):
        later.commit()
    holding = db.transaction()
    holding.hold("a", "x")
    holding["b", "x"] = 2
    put(db, a=3)
    with pytest.raises(ConflictError):
        holding.commit()
    assert state(db) == {"a": 3, "b": 1}


@pytest.mark.parametrize("cell", ["written", "deleted", "never written"])
def test_a_hold_conflicts_with_who_began_before_it_whatever_the_cell_holds(db: Database, cell: str) -> None:
    put(db, written=1, deleted=1, other=1)
    db.run(lambda t: t.delete("deleted", "x"))
    before = state(db)
    writing, holding, also = (db.transaction() for _ in range(3))
    for t in (writing, holding, also):
        t.get("other", "x")
    holding.hold(cell, "x")
    holding["a", "x"] = 1
    holding.commit()
    assert state(db) == {**before, "a": 1}  # it changes nothing
    writing[cell, "x"] = 2
    also.hold(cell, "x")
    also["b", "x"] = 2
    for t in (writing, also):
        with pytest.raises(ConflictError):
            t.commit()
    db.collect_garbage()
    put(db, **{cell: 3})
    assert state(db) == {**before, "a": 1, cell: 3}


def test_a_scan_sees_no_phantom(db: Database) -> None:
    put(db, a=1, c=3)
    t = db.transaction()
    before = list(t.scan())
    put(db, b=2, d=4)
    db.run(lambda other: other.delete("c", "x"))
    assert list(t.scan()) == before == [(("a", "x"), 1), (("c", "x"), 3)]
    assert list(t.scan(reverse=True)) == before[::-1]
    t.commit()
    assert state(db) == {"a": 1, "b": 2, "d": 4}


def test_a_snapshot_stays_as_it_was(db: Database) -> None:
    put(db, a=1)
    with db.snapshot() as s:
        assert s["a", "x"] == 1
        put(db, a=2, b=2)
        assert (s["a", "x"], s.get("b", "x"), ("b", "x") in s, s.row("a")) == (1, None, False, {"x": 1})
        assert s.get_many([("a", "x"), ("b", "x")], default=0) == [1, 0]
    with pytest.raises(TransactionError, match="closed"):
        s["a", "x"]


# What a transaction sees of itself


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_merges_what_was_written(db: Database, reverse: bool) -> None:
    stored: dict[Any, Any] = dict.fromkeys(range(0, 60, 2), "stored")
    with db.transaction() as t:
        for row, value in stored.items():
            t[row, "x"] = value
    t = db.transaction()
    chosen = random.Random(1)
    for _ in range(60):
        row = chosen.randrange(60)
        if chosen.random() < 0.4:
            t.delete(row, "x")
            stored.pop(row, None)
        else:
            t[row, "x"] = stored[row] = f"written {row}"
    for low, high in ((0, 60), (7, 31), (30, 30)):
        wanted = sorted((row, value) for row, value in stored.items() if low <= row < high)
        found = [(cell[0], value) for cell, value in t.scan(low, high, reverse=reverse)]
        assert found == (wanted[::-1] if reverse else wanted)
    t.commit()
    assert state(db) == stored


def test_read_your_own_writes(db: Database) -> None:
    put(db, a=1, b=2)
    with db.transaction() as t:
        t["a", "x"] = 10
        t["c", "x"] = 30
        del t["b", "x"]
        assert (t["a", "x"], t["c", "x"], t.get("b", "x"), ("b", "x") in t) == (10, 30, None, False)
        with pytest.raises(KeyError):
            t["b", "x"]
        assert t.get_many([("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")]) == [10, None, 30, None]
        t["b", "x"] = 20
        assert t["b", "x"] == 20
        assert state(db) == {"a": 1, "b": 2}
    assert state(db) == {"a": 10, "b": 20, "c": 30}


def test_deletes_and_what_comes_after_them(db: Database) -> None:
    put(db, a=1)
    db.run(lambda t: t.delete("a", "x"))
    assert state(db) == {}
    put(db, a=2)
    assert state(db) == {"a": 2}
    t = db.transaction()
    assert t["a", "x"] == 2
    t["a", "x"] = 3
    db.run(lambda other: other.delete("a", "x"))
    with pytest.raises(ConflictError):
        t.commit()
    assert state(db) == {}


# Time


def test_the_past_is_as_it_was(db: Database) -> None:
    times = []
    for number in range(6):
        if number % 3 == 2:
            db.run(lambda t: t.delete("a", "x"))
        else:
            put(db, a=number, **{f"r{number}": number})
        times.append((db.now(), state(db)))
    for time, then in times:
        with db.as_of(time) as past:
            assert {cell[0]: value for cell, value in past.scan()} == then
            assert {cell[0]: value for cell, value in past.scan(reverse=True)} == then
            assert past.get("a", "x") == then.get("a")
    with pytest.raises(SnapshotTooOldError, match="future"):
        db.as_of(db.now() + 1_000_000)


def test_garbage_goes_and_what_live_snapshots_see_stays(db: Database) -> None:
    for number in range(5):
        put(db, a=number, b=number)
    held = db.snapshot()
    assert held["a", "x"] == 4
    for number in range(5, 10):
        put(db, a=number)
    db.run(lambda t: t.delete("b", "x"))
    assert db.collect_garbage() > 0
    assert (held["a", "x"], held["b", "x"]) == (4, 4)
    held.close()
    put(db, c=1)
    db.collect_garbage()
    assert state(db) == {"a": 9, "c": 1}
    with pytest.raises(SnapshotTooOldError), db.as_of(1) as past:
        past.get("a", "x")


def test_a_snapshot_nobody_closed_holds_no_garbage_back(db: Database) -> None:
    put(db, a=1)
    assert db.snapshot()["a", "x"] == 1
    with pytest.raises(ZeroDivisionError), db.transaction() as t:
        t["a", "x"] / 0
    del t
    for number in range(5):
        put(db, a=number)
    assert db.collect_garbage() >= 4
    assert state(db) == {"a": 4}


def test_garbage_under_threads(db: Database) -> None:
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            db.collect_garbage()

    def add(t: Transaction) -> None:
        for row in ("a", "b"):
            t[row, "x"] = t.get(row, "x", 0) + 1
        assert len({value for _, value in t.scan()}) == 1

    with ThreadPoolExecutor(4) as threads:
        collecting = threads.submit(collect)
        adding = [threads.submit(db.run, add, retries=1000) for _ in range(60)]
        for one in adding:
            one.result()
        done.set()
        collecting.result()
    assert state(db) == {"a": 60, "b": 60}


def test_opened_again_time_goes_on(opening: Any) -> None:
    db = opening(history=True)
    put(db, a=1)
    before = db.now()
    db.close()
    again = opening(history=True)
    assert put(again, a=2) > before
    assert state(again) == {"a": 2}
    assert again.as_of(before)["a", "x"] == 1


# Running


def test_a_retry_runs_the_function_again_and_not_its_writes(db: Database) -> None:
    put(db, a=1)
    seen = []

    def double(t: Transaction) -> str:
        seen.append(t["a", "x"])
        if len(seen) == 1:
            put(db, a=10)
        t["a", "x"] *= 2
        return "done"

    assert db.run(double) == "done"
    assert seen == [1, 10]
    assert state(db) == {"a": 20}


def test_retries_end_with_the_last_conflict(db: Database) -> None:
    put(db, a=1)
    runs = []

    def overtaken(t: Transaction) -> None:
        runs.append(t["a", "x"])
        put(db, a=len(runs))
        t["a", "x"] = 0

    with pytest.raises(ConflictError, match=r"attempt  3 times; the transaction that began at"):
        db.run(overtaken, retries=2)
    assert len(runs) == 3


def test_an_exception_rolls_back(db: Database) -> None:
    put(db, a=1)
    with pytest.raises(ZeroDivisionError), db.transaction() as t:
        t["a", "x"] = 2
        1 / 0
    assert state(db) == {"a": 1}
    with pytest.raises(TransactionError, match="over"):
        t.commit()


def test_used_after_its_end_it_says_so(db: Database) -> None:
    with db.transaction() as t:
        t["a", "x"] = 1
    other = db.transaction()
    other.rollback()
    for over in (t, other):
        for use in (
            lambda over=over: over["a", "x"],
            lambda over=over: over.get_many([("a", "x")]),
            lambda over=over: list(over.scan()),
            lambda over=over: over.delete("a", "x"),
            lambda over=over: over.hold("a", "x"),
            lambda over=over: over.commit(),
        ):
            with pytest.raises(TransactionError, match="over"):
                use()
    assert state(db) == {"a": 1}


def test_timeouts_by_the_databases_clock(opening: Any) -> None:
    db = opening(history=True)
    now = [0.0]
    db.clock = lambda: now[0]
    with pytest.raises(TransactionLimitError, match="timeout"), db.transaction(timeout=5) as t:
        t["a", "x"] = 1
        now[0] = 6
    assert state(db) == {}
    with pytest.raises(TransactionLimitError, match="timeout"):
        db.run(lambda t: now.__setitem__(0, now[0] + 10) or t.get("a", "x"), timeout=5)


def test_limits_on_size(opening: Any) -> None:
    db = opening(limits=Limits(cells=3, bytes=1_000))
    with pytest.raises(TransactionLimitError, match="more than 3 cells"), db.transaction() as t:
        for number in range(4):
            t[number, "x"] = 1
    with pytest.raises(TransactionLimitError), db.transaction() as t:
        t["a", "x"] = b"x" * 1_000
    with db.transaction() as t:
        for _ in range(10):
            t["a", "x"] = b"x" * 600  # written over, it counts once
    assert state(db) == {"a": b"x" * 600}


def test_each_commits_in_groups_and_runs_conflicts_again(db: Database) -> None:
    def load(t: Transaction, number: int) -> None:
        t[number, "x"] = number
        t["sum", "x"] = t.get("sum", "x", 0) + number

    assert db.each(load, range(30), group=7, retries=100) == 30
    assert state(db) == {**{number: number for number in range(30)}, "sum": sum(range(30))}


@pytest.mark.parametrize("who", ["function", "items"])
def test_what_came_before_a_failure_is_committed_by_each(db: Database, who: str) -> None:
    def numbers() -> Iterator[int]:
        for number in range(30):
            if who == "items" and number == 18:
                raise ValueError("no number 18")
            yield number

    def load(t: Transaction, number: int) -> None:
        if who == "function" and number == 18:
            raise ValueError("no number 18")
        t[number, "x"] = number
        t["sum", "x"] = t.get("sum", "x", 0) + number

    with pytest.raises(ValueError, match="no number 18"):
        db.each(load, numbers(), group=7, retries=100)
    assert state(db) == {**{number: number for number in range(18)}, "sum": sum(range(18))}


def test_each_runs_again_what_finds_its_snapshot_too_old(db: Database) -> None:
    tries: list[int] = []

    def load(t: Transaction, number: int) -> None:
        tries.append(number)
        if tries.count(number) == 1 and number % 5 == 3:
            raise SnapshotTooOldError("collected")
        t[number, "x"] = number

    assert db.each(load, range(20), group=7) == 20
    assert state(db) == {number: number for number in range(20)}
