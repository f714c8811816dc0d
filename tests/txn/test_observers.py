"""Observers, the same on every engine and store: of every change one run, of several perhaps one, and none is lost."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import pytest

from dataflow.errors import ConflictError, TransactionError
from dataflow.txn import Database, Transaction, observers
from dataflow.txn.members import LEASE, Members
from dataflow.txn.notify import Trail
from dataflow.txn.transaction import cell_key

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def put(db: Database, column: str = "x", **cells: Any) -> None:
    with db.transaction() as t:
        for row, value in cells.items():
            if value is None:
                t.delete(row, column)
            else:
                t[row, column] = value


def column(db: Database, name: str) -> dict[Any, Any]:
    with db.snapshot() as s:
        return {cell[0]: value for cell, value in s.scan(column=name)}


def log_of(db: Database, of: str = "x", **options: Any) -> list[tuple[Any, Any]]:
    """An observer that notes what it is given, also for runs that are not committed."""
    seen: list[tuple[Any, Any]] = []
    db.observer(of, **options)(lambda t, row, value: seen.append((row, value)))
    return seen


def test_a_run_for_every_change_and_none_without(db: Database) -> None:
    seen = log_of(db)
    assert db.run_observers() == 0
    put(db, a=1, b=2)
    assert db.run_observers() == 2
    assert sorted(seen) == [("a", 1), ("b", 2)]
    assert db.run_observers() == 0
    put(db, a=1)  # the same value is a change, too
    put(db, "y", a=1)
    assert db.run_observers() == 1
    assert seen[2:] == [("a", 1)]


def test_several_changes_collapse_into_one_run(db: Database) -> None:
    seen = log_of(db)
    for number in range(5):
        put(db, a=number)
    assert db.run_observers() == 1
    assert seen == [("a", 4)]


def test_a_deletion_is_seen_as_none(db: Database) -> None:
    seen = log_of(db)
    put(db, a=1)
    db.run_observers()
    put(db, a=None)
    assert db.run_observers() == 1
    assert seen == [("a", 1), ("a", None)]
    put(db, a=2)
    put(db, a=None)
    assert db.run_observers() == 1
    assert db.run_observers() == 0
    assert seen[2:] == [("a", None)]


def test_a_deletion_is_seen_also_when_its_garbage_is_collected(db: Database) -> None:
    seen = log_of(db)
    put(db, a=1)
    db.run_observers()
    put(db, a=None)
    put(db, "y", b=1)
    db.collect_garbage()
    assert db.run_observers() == 1
    assert seen == [("a", 1), ("a", None)]


def test_a_deletion_by_an_observer_is_a_change(db: Database) -> None:
    db.observer("x")(lambda t, row, value: t.delete(row, "y") if value is None else t.__setitem__((row, "y"), value))
    seen = log_of(db, "y")
    put(db, a=1)
    db.run_observers()
    put(db, a=None)
    db.run_observers()
    assert seen == [("a", 1), ("a", None)]


def test_two_observers_of_a_column_each_run(db: Database) -> None:
    first, second = log_of(db, name="first"), log_of(db, name="second")
    put(db, a=1)
    assert db.run_observers() == 2
    assert first == second == [("a", 1)]
    with pytest.raises(TransactionError, match="has an observer 'first' already"):
        log_of(db, name="first")


def test_chains_run_to_their_end(db: Database) -> None:
    for number in range(20):
        db.observer(f"c{number}", name=f"step {number}")(
            lambda t, row, value, number=number: t.__setitem__((row, f"c{number + 1}"), value + 1)
        )
    put(db, "c0", a=0, b=100)
    assert db.run_observers() == 40
    assert column(db, "c20") == {"a": 20, "b": 120}


def test_a_circle_is_named(db: Database) -> None:
    db.observer("x", name="there")(lambda t, row, value: t.__setitem__((row, "y"), value + 1))
    db.observer("y", name="back")(lambda t, row, value: t.__setitem__((row, "x"), value + 1))
    put(db, a=0)
    with pytest.raises(TransactionError, match="in a circle: (there > back|back > there)") as error:
        db.run_observers()
    assert "row 'a'" in str(error.value)


def test_a_failing_observer_says_where(db: Database) -> None:
    @db.observer("x")
    def half(t: Transaction, row: Any, value: Any) -> None:
        t[row, "y"] = 10 / value  # the user's line

    put(db, a=0)
    with pytest.raises(TransactionError) as error:
        db.run_observers()
    text = str(error.value)
    assert text.startswith("observer 'half' failed: ZeroDivisionError")
    assert "test_observers.py" in text
    assert "in half" in text
    assert "row 'a': 0" in text
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    put(db, a=5)
    assert db.run_observers() == 1
    assert column(db, "y") == {"a": 2}


def test_a_failing_observer_is_skipped_and_its_change_set_aside(db: Database) -> None:
    @db.observer("x")
    def half(t: Transaction, row: Any, value: Any) -> None:
        t[row, "z"] = "of a run that failed"
        t[row, "y"] = 10 / value

    put(db, a=0, b=5)
    db.run_observers(on_error="skip")
    assert column(db, "y") == {"b": 2}
    assert "a" not in column(db, "z")
    ((observer, row, text),) = db.failures()
    assert (observer, row) == ("half", "a")
    assert "ZeroDivisionError" in text
    assert db.run_observers() == 0
    put(db, a=2)
    db.run_observers()
    assert column(db, "y") == {"a": 5, "b": 2}


def test_what_changes_while_an_observer_fails_is_not_set_aside_with_it(db: Database) -> None:
    seen = []

    @db.observer("x")
    def failing(t: Transaction, row: Any, value: Any) -> None:
        seen.append(value)
        if value == 1:
            put(db, a=2)
            raise ValueError("bad")

    put(db, a=1)
    db.run_observers(on_error="skip")
    assert seen[-1] == 2


def test_weak_notifications_run_without_a_change(db: Database) -> None:
    seen = log_of(db)
    put(db, a=1)
    db.run_observers()
    db.notify("a", "x")
    db.notify("never written", "x")
    db.run_observers()
    assert sorted(seen, key=str) == [("a", 1), ("a", 1), ("never written", None)]
    assert db.run_observers() == 0


def test_a_notification_that_comes_while_an_observer_runs_is_not_dropped_with_what_it_saw(db: Database) -> None:
    seen: list[Any] = []

    @db.observer("x")
    def noting(t: Transaction, row: Any, value: Any) -> None:
        seen.append(value)
        if len(seen) == 1:
            db.notify(row, "x")

    put(db, a=1)
    db.run_observers()
    assert seen == [1, 1]


def test_a_notification_takes_no_others_place(db: Database) -> None:
    log_of(db)
    put(db, a=1)
    at = db.now()
    for _ in range(2):
        db.notify("a", "x")
    (pending,) = db.engine.dirty(b"\x01", b"\xff")
    assert len(pending.timestamps) == 3
    assert pending.trail.origin <= at
    assert db.frontier() < pending.trail.origin
    assert db.run_observers() == 1
    assert not list(db.engine.dirty(b"\x01", b"\xff"))


def test_renotify_is_for_observers_that_are_new(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "_NOTED", 2)
    put(db, **dict(zip("abcde", range(5), strict=True)))
    put(db, "z", a=1, e=1)
    seen = log_of(db)
    assert db.run_observers() == 0
    assert db.renotify("x") == 5
    assert db.run_observers() == 5
    assert sorted(seen) == [*zip("abcde", range(5), strict=True)]
    assert db.renotify("x") == 0
    with pytest.raises(TransactionError, match="nobody observes"):
        db.renotify("y")


def test_who_comes_without_an_observer_that_ran_before_is_refused_and_nothing_is_lost(opening: Any) -> None:
    seen: list[tuple[str, Any, Any]] = []

    def run(*names: str) -> int:
        with opening() as db:
            for name in names:
                db.observer("x", name=name)(lambda t, row, value, name=name: seen.append((name, row, value)))
            put(db, a=len(seen))
            return db.run_observers()

    assert run("first", "second") == 2
    with pytest.raises(TransactionError, match="'x' has been observed by 'second', too") as error:
        run("first")
    assert "db.forget_observer('x', 'second')" in str(error.value)
    assert run("first", "second") == 2
    assert sorted(seen) == [("first", "a", 0), ("first", "a", 2), ("second", "a", 0), ("second", "a", 2)]
    assert run("first", "second", "third") == 3
    with opening() as db:
        for name in ("second", "first"):
            db.forget_observer("x", name)
        with pytest.raises(ValueError, match="column 'x' has no observer 'thirt'; did you mean 'third'?"):
            db.forget_observer("x", "thirt")
    assert run("third") == 1


def test_who_only_writes_notes_changes_for_observers_of_other_processes(opening: Any) -> None:
    """Also a delete, of which nothing is left by which `renotify` could find it."""
    seen: list[tuple[Any, Any]] = []

    def run(db: Database) -> int:
        db.observer("x", name="log")(lambda t, row, value: seen.append((row, value)))
        return db.run_observers()

    with opening() as db:
        put(db, before=1)
        assert not db.observed
    with opening() as db:
        assert run(db) == 0
    with opening() as db:
        assert db.observed == {"x"}
        put(db, a=1, b=2)
        put(db, b=None)
    with opening() as db:
        assert run(db) == 2
        assert sorted(seen) == [("a", 1), ("b", None)]
        assert db.renotify("x") == 1 and db.run_observers() == 1 and seen[-1] == ("before", 1)
        put(db, a=7)
        changed = db.now()
        with pytest.raises(ValueError, match="has no observer 'another'"):
            db.forget_observer("x", "another")
        assert db.observed == {"x"} and db.frontier() < changed
    with opening() as db:
        db.forget_observer("x", "log")
        assert not db.observed and db.frontier() >= changed, "nobody will look at what was noted"
    with opening() as db:
        assert not db.observed


def test_an_observer_that_found_nothing_to_do_is_known(opening: Any) -> None:
    """What is changed after it ran is not taken from it either."""
    seen: list[tuple[str, Any]] = []

    def run(*names: str) -> int:
        with opening() as db:
            for name in names:
                db.observer("x", name=name)(lambda t, row, value, name=name: seen.append((name, row)))
            return db.run_observers()

    assert run("words", "links") == 0
    with opening() as db:
        put(db, a=1)
    with pytest.raises(TransactionError, match="'links', too"):
        run("words")
    assert run("words", "links") == 2 and sorted(seen) == [("links", "a"), ("words", "a")]


def test_a_hold_is_no_change(db: Database) -> None:
    seen = log_of(db)
    put(db, a=1, gone=1)
    put(db, gone=None)
    assert db.run_observers() == 2
    with db.transaction() as t:
        t.hold("a", "x")
        t.hold("gone", "x")
        t["b", "y"] = 1
    assert db.renotify("x") == 0
    for row in ("a", "gone"):
        db.engine.note(cell_key(row, "x"), Trail())  # as if the worker had died when its runs were committed
    assert db.run_observers() == 0
    assert sorted(seen) == [("a", 1), ("gone", None)]


def test_rows_that_go_together_are_handed_over_together(db: Database) -> None:
    seen: list[dict[Any, Any]] = []

    @db.observer("x", together=lambda row: row[0])
    def group(t: Transaction, rows: dict[Any, Any]) -> None:
        seen.append(rows)

    with db.transaction() as t:
        for shop, number in (("a", 1), ("b", 1), ("a", 2)):
            t[(shop, number), "x"] = number
    db.frontier()  # now the notifications of all rows are there, also where some are written in the background
    assert db.run_observers() == 2
    assert sorted(seen, key=str) == [{("a", 1): 1, ("a", 2): 2}, {("b", 1): 1}]
    with pytest.raises(TransactionError, match="goes together"):
        db.observer("x", name="other")(lambda t, row, value: None)


def test_at_most_one_committed_run_for_each_change_under_threads(db: Database) -> None:
    """Each run counts itself in the row; workers of several `run_observers` meet, as those of several processes do."""

    @db.observer("x")
    def count(t: Transaction, row: Any, value: Any) -> None:
        t[row, "runs"] = t.get(row, "runs", 0) + 1
        t[row, "seen"] = value

    for number in range(3):
        put(db, **{f"r{row}": number for row in range(20)})
        runs: list[int] = []
        threads = [threading.Thread(target=lambda: runs.append(db.run_observers(workers=2))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        db.run_observers()
        assert set(column(db, "runs").values()) == {number + 1}
        assert set(column(db, "seen").values()) == {number}


def test_changes_while_workers_run(db: Database) -> None:
    @db.observer("x")
    def copy(t: Transaction, row: Any, value: Any) -> None:
        if value is None:
            t.delete(row, "y")
        else:
            t[row, "y"] = value

    done = threading.Event()
    failed: list[BaseException] = []

    def working() -> None:
        try:
            db.run_observers(workers=2, until=done.is_set)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=working)
    thread.start()
    chosen = random.Random(3)

    @db.transactional
    def changing(t: Transaction, row: int, number: int, deleted: bool) -> None:
        if deleted:
            t.delete(row, "x")
            t[row, "deleted"] = number
        else:
            t[row, "x"] = number

    try:
        for number in range(120):
            row, deleted = chosen.randrange(8), chosen.random() < 0.2
            changing(row, number, deleted)  # again, if the machine stands still for so long that a worker takes us for dead
    finally:
        done.set()
        thread.join()
    assert not failed
    db.run_observers()
    assert column(db, "x") == column(db, "y")
    assert not list(db.engine.dirty(b"\x01", b"\xff"))


def test_a_dead_workers_part_is_taken_over(db: Database) -> None:
    seen = log_of(db)
    now = [100.0]
    db.clock = lambda: now[0]
    dead = Members(db.engine.store, db.clock, lambda: {"x": ["<lambda>"]})  # says once that it lives, and never again
    put(db, **{f"r{number}": number for number in range(20)})
    deadline = time.monotonic() + 60

    def enough() -> bool:
        now[0] += LEASE / 8
        return len(set(seen)) == 20 or time.monotonic() > deadline  # one may have run twice, if it conflicted

    db.run_observers(until=enough)
    assert sorted(set(seen)) == sorted((f"r{number}", number) for number in range(20))
    dead._looked = -1_000.0
    dead.look()  # it was only asleep
    dead.leave()


def test_a_worker_taken_for_dead_while_it_looks_goes_on(db: Database) -> None:
    now = [0.0]
    one = Members(db.engine.store, lambda: now[0], lambda: {"x": ["f"]})
    store, scan = db.engine.store, db.engine.store.scan

    def deleted_meanwhile(family: str, *given: Any, **options: Any) -> Any:
        one.leave()
        return scan(family, *given, **options)

    store.scan = deleted_meanwhile  # type: ignore[method-assign]
    try:
        now[0] += LEASE
        one.look()
    finally:
        del store.scan
    assert one.mine("x", b"row")


def test_the_frontier_never_passes_a_change_that_is_not_reflected(db: Database) -> None:
    """Random changes, and single rounds of workers: after each, every change up to the frontier was seen by both observers."""
    seen: dict[Any, int] = {}
    changes: list[tuple[int, int, int]] = []  # when, which row, which number

    @db.observer("x")
    def copy(t: Transaction, row: Any, value: Any) -> None:
        t[row, "y"] = value

    @db.observer("y")
    def note(t: Transaction, row: Any, value: Any) -> None:
        seen[row] = value

    chosen, last = random.Random(7), 0
    for number in range(1, 60):
        if chosen.random() < 0.6:
            row = chosen.randrange(4)
            with db.transaction() as t:
                t[row, "x"] = number
            assert t.committed is not None
            changes.append((t.committed, row, number))
        else:
            asked = iter((False, True))
            db.run_observers(until=lambda asked=asked: next(asked))
        frontier = db.frontier()
        assert frontier >= last
        assert all(seen.get(row, 0) >= number for when, row, number in changes if when <= frontier)
        last = frontier
    db.run_observers()
    assert seen == {row: number for _, row, number in changes}
    assert db.frontier() >= changes[-1][0]


def test_trie_counter_counts_the_unique_numbers(db: Database) -> None:
    """Fluo's stress test: unique numbers percolate up a trie, level by level; the root's sum is how many there are."""
    slow = db.engine.store.name.startswith("bigtable")  # the emulator takes a message a cell
    levels, count = 4, 20_000 if LARGE else 100 if slow else 1_000
    for level in range(levels, 0, -1):

        @db.observer(f"level {level}", name=f"up {level}", together=lambda row: row // 16)
        def up(t: Transaction, nodes: dict[int, int | None], level: int = level) -> None:
            parent, added = next(iter(nodes)) // 16, 0
            for node, total in nodes.items():
                added += (total or 0) - t.get(node, f"counted {level}", 0)
                t[node, f"counted {level}"] = total or 0
            if added:
                t[parent, f"level {level - 1}"] = t.get(parent, f"level {level - 1}", 0) + added

    chosen = random.Random(5)
    numbers = [chosen.randrange(16**levels) for _ in range(count)]
    for at in range(0, count, 250):
        db.each(lambda t, number: t.__setitem__((number, f"level {levels}"), 1), numbers[at : at + 250])
        if at % 500 == 0:
            db.run_observers(workers=2)
    db.run_observers(workers=2)
    assert db.snapshot()[0, "level 0"] == len(set(numbers))


def test_a_note_for_a_column_that_nobody_observes_is_refused(db: Database) -> None:
    """It would never be looked at, and the frontier would stop before it for ever."""
    log_of(db, "text")
    with pytest.raises(TransactionError, match="nobody observes column 'txet'; did you mean 'text'?"):
        db.notify("a", "txet")
    put(db, a=1)
    assert db.run_observers() == 0
    assert db.frontier() >= db.now() - 2


def test_what_makes_no_sense_is_refused() -> None:
    db = Database.open("memory:")
    log_of(db)
    for options in ({"on_error": "Raise"}, {"workers": 0}, {"until": "empty"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            db.run_observers(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="group=0"):
        db.each(lambda t, item: None, [1], group=0)
    with pytest.raises(ValueError, match="no observer 'words'"):
        db.forget_observer("nobody's", "words")


def test_functions_that_would_do_nothing_are_refused() -> None:
    db = Database.open("memory:")

    async def later(t: Transaction, row: Any, value: Any) -> None:
        t[row, "y"] = value

    def piecewise(t: Transaction, row: Any, value: Any) -> Any:
        yield row

    for function, why in ((later, "is async"), (piecewise, "has a yield"), (7, "not 7")):
        with pytest.raises(ValueError, match=why):
            db.observer("x", name="it")(function)  # type: ignore[arg-type]


def test_an_observer_that_runs_observers_says_so() -> None:
    db = Database.open("memory:")
    db.observer("x")(lambda t, row, value: db.run_observers())
    put(db, a=1)
    with pytest.raises(TransactionError, match="an observer runs observers"):
        db.run_observers()


def test_an_observer_runs_those_of_another_database() -> None:
    db, other = Database.open("memory:"), Database.open("memory:")
    seen: list[Any] = []

    @other.observer("x")
    def there(t: Transaction, row: Any, value: Any) -> None:
        seen.append((row, value))

    @db.observer("x")
    def here(t: Transaction, row: Any, value: Any) -> None:
        put(other, **{row: value})
        assert other.run_observers() == 1
        with pytest.raises(TransactionError, match="an observer runs observers"):
            db.run_observers()

    put(db, a=1, b=2)
    assert db.run_observers() == 2
    assert sorted(seen) == [("a", 1), ("b", 2)]


def test_a_conflict_of_the_observers_own_is_a_failure() -> None:
    db = Database.open("memory:")

    @db.observer("x")
    def stubborn(t: Transaction, row: Any, value: Any) -> None:
        raise ConflictError("of its own")

    put(db, a=1)
    with pytest.raises(TransactionError, match="observer 'stubborn' failed: ConflictError: of its own"):
        db.run_observers()
    assert db.run_observers(on_error="skip") == 1
    assert len(db.failures()) == 1


def test_an_error_in_together_says_whose_it_is() -> None:
    db = Database.open("memory:")
    db.observer("x", name="group", together=lambda row: row[7])(lambda t, rows: None)
    put(db, a=1)
    with pytest.raises(TransactionError, match=r"together= of observer 'group' failed: IndexError"):
        db.run_observers()


def test_observers_without_observers() -> None:
    with pytest.raises(TransactionError, match="no observers"):
        Database.open("memory:").run_observers()
