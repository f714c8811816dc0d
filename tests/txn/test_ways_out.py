"""What went wrong once does not stay wrong: readers of the past say when it was collected, a circle ends with the code that made it, one
refused cell stops nobody else, and what was caught or interrupted leaves nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import KeyTypeError, SnapshotTooOldError, StoreError, TransactionError, TransactionLimitError
from dataflow.kv import MemoryStore
from dataflow.txn import Database
from dataflow.txn.database import Limits
from dataflow.txn.oracle import RequestedOracle


def put(db: Database, row: Any, column: str, value: Any) -> int:
    t = db.transaction()
    t[row, column] = value
    return t.commit()


# -- the past


def test_a_reader_of_the_past_says_that_it_was_collected_at_each_read() -> None:
    db = Database.open("memory:", history=True)
    first = put(db, "a", "x", 1)
    past = db.as_of(first)
    assert past["a", "x"] == 1 and list(past.scan()) == [(("a", "x"), 1)]
    put(db, "a", "x", 2)
    db.collect_garbage()
    for read in (lambda: past["a", "x"], lambda: past.get("b", "x"), lambda: list(past.scan()), lambda: past.get_many([("a", "x")])):
        with pytest.raises(SnapshotTooOldError):
            read()


def test_a_scan_of_the_past_that_is_overtaken_by_the_collection_is_an_error() -> None:
    db = Database.open("memory:", history=True)
    with db.transaction() as t:
        for row in range(1000):
            t[row, "x"] = row
    entries = db.as_of(db.now()).scan()
    assert next(entries) == ((0, "x"), 0)
    for row in range(1000):
        put(db, row, "x", -1)
    db.collect_garbage()
    with pytest.raises(SnapshotTooOldError):
        list(entries)


def test_a_closed_snapshot_keeps_its_time() -> None:
    db = Database.open("memory:")
    put(db, "a", "x", 1)
    with db.snapshot() as s:
        time = s.timestamp
    put(db, "a", "x", 2)
    assert s.timestamp == time
    never = db.snapshot()
    never.close()
    with pytest.raises(TransactionError, match="was never read"):
        _ = never.timestamp


# -- observers


@pytest.mark.parametrize("engine", ["embedded", "percolator"])
def test_a_circle_is_over_when_its_code_is(engine: Any) -> None:
    store = MemoryStore()

    def opened() -> Database:
        return Database.open(store, engine=engine)

    db = opened()
    seen: list[Any] = []

    @db.observer("x", name="f")
    def again(t: Any, row: Any, value: int) -> None:
        t[row, "x"] = value + 1

    @db.observer("y")
    def other(t: Any, row: Any, value: Any) -> None:
        seen.append(row)

    put(db, "a", "x", 0)
    put(db, "z", "y", 0)
    with pytest.raises(TransactionError, match="in a circle: f > f"):
        db.run_observers()
    db.run_observers(on_error="skip")
    assert seen == ["z"], "the others go on"
    assert ["circle" in text for _, _, text in db.failures()] == [True]

    db = opened()

    @db.observer("x", name="f")
    def fixed(t: Any, row: Any, value: int) -> None:
        t[row, "done"] = value

    db.observer("y")(other)
    put(db, "a", "x", 7)
    assert db.run_observers() == 1
    assert db.snapshot()["a", "done"] == 7 and list(db.failures()) == []


class Picky(MemoryStore):
    """A store that takes no keys longer than a hundred bytes."""

    def write(self, edits: Any, **options: Any) -> None:
        self._check(edits)
        super().write(edits, **options)

    def mutate(self, mutation: Any, **options: Any) -> bool:
        self._check(mutation.edits)
        return super().mutate(mutation, **options)

    @staticmethod
    def _check(edits: Any) -> None:
        if any(len(edit.key) > 100 and edit.family in ("data", "write", "lock") for edit in edits):
            raise StoreError("a key is too long for this store")


@pytest.mark.parametrize("engine", ["embedded", "percolator"])
def test_a_cell_that_the_store_refuses_stops_no_other(engine: Any) -> None:
    db = Database.open(Picky(), engine=engine)

    @db.observer("text")
    def index(t: Any, row: Any, text: str) -> None:
        t[("word", text), "in"] = row

    for row, text in ((1, "short"), (2, "long" * 50), (3, "other")):
        put(db, row, "text", text)
    with pytest.raises(StoreError, match="too long"):
        db.run_observers()
    db.run_observers(on_error="skip")
    assert [cell[0][1] for cell, _ in db.snapshot().scan(column="in")] == ["other", "short"]
    assert [(row, "too long" in text) for _, row, text in db.failures()] == [(2, True)]
    put(db, 2, "text", "shorter")
    assert db.run_observers(on_error="skip") == 1 and list(db.failures()) == []


def test_a_snapshot_of_an_observers_own_that_is_too_old_is_a_failure_after_some_tries() -> None:
    db = Database.open("memory:")

    @db.observer("x")
    def f(t: Any, row: Any, value: Any) -> None:
        _ = db.as_of(0)["a", "x"]

    put(db, "a", "x", 1)
    with pytest.raises(TransactionError, match="observer 'f' failed: SnapshotTooOldError"):
        db.run_observers()


@pytest.mark.parametrize("error", [ValueError("cannot parse x\udc80"), KeyError(10**5000)])
def test_what_an_error_says_is_set_aside_as_far_as_it_can_be_shown(error: Exception) -> None:
    db = Database.open("memory:")

    @db.observer("x")
    def f(t: Any, row: Any, value: Any) -> None:
        if row == "a":
            raise error
        t[row, "done"] = 1

    put(db, "a", "x", 1)
    put(db, "b", "x", 1)
    db.run_observers(on_error="skip")
    assert [row for _, row, _ in db.failures()] == ["a"] and ("b", "done") in db.snapshot()


def test_an_observer_that_never_ran_leaves_nothing_when_it_is_forgotten() -> None:
    db = Database.open("memory:")
    db.observer("x", name="f")(lambda t, row, value: None)
    put(db, "a", "x", 1)
    db.forget_observer("x", "f")
    db = Database.open(db.engine.store)
    at = put(db, "b", "x", 1)
    assert db.frontier() >= at


def test_what_a_writer_noted_after_the_last_observer_was_forgotten_elsewhere_goes_when_that_is_said_again() -> None:
    store = MemoryStore()
    db, writer = Database.open(store), Database.open(store)
    db.observer("x", name="f")(lambda t, row, value: None)
    put(db, "a", "x", 1)
    db.run_observers()
    writer = Database.open(store)
    db.forget_observer("x", "f")
    at = put(writer, "b", "x", 1)  # which knows that the column was observed
    fresh = Database.open(store)
    fresh.forget_observer("x", "f")
    assert fresh.frontier() >= at
    with pytest.raises(ValueError, match="has no observer"):
        fresh.forget_observer("x", "f")


def test_an_observer_needs_a_column_and_a_name() -> None:
    import functools

    db = Database.open("memory:")
    with pytest.raises(ValueError, match=r'write @db.observer\("column"\)'):
        db.observer(lambda t, row, value: None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give it one, by name="):
        db.observer("x")(functools.partial(print))


# -- transactions


def test_limits_hold_also_where_their_error_was_caught() -> None:
    db = Database.open("memory:", limits=Limits(cells=2))
    t = db.transaction()
    for row in range(5):
        try:
            t[row, "x"] = 1
        except TransactionLimitError:
            pass
    with pytest.raises(TransactionLimitError):
        t.commit()
    t = db.transaction()
    t["a", "x"] = 1
    for row in range(5):
        t.hold(row, "x")
    with pytest.raises(TransactionLimitError, match="writes or holds"):
        t.commit()
    assert list(db.snapshot().scan()) == []


def test_a_transaction_that_is_refused_for_its_time_lets_go_of_its_snapshot() -> None:
    now = [0.0]
    db = Database.open("memory:")
    db.clock = lambda: now[0]
    kept: list[BaseException] = []
    for _ in range(3):
        t = db.transaction(timeout=1)
        assert t.get("a", "x") is None
        t["a", "x"] = 1
        now[0] += 2
        with pytest.raises(TransactionLimitError) as caught:
            t.commit()
        kept.append(caught.value)
    put(db, "a", "x", 1)
    assert db.collect_garbage() is not None and db.snapshot()["a", "x"] == 1
    assert not t._open


def test_each_runs_again_what_failed_over_what_was_collected() -> None:
    db = Database.open("memory:", history=True)
    put(db, "a", "x", 1)
    tries: list[int] = []

    def function(t: Any, item: int) -> None:
        tries.append(item)
        if len(tries) == 1:
            close = t._snapshot.close

            def collected() -> None:
                close()
                raise SnapshotTooOldError("collected meanwhile")

            t._snapshot = type("Old", (), {"__getattr__": lambda self, name: getattr(snapshot, name), "close": lambda self: collected()})()
            raise KeyError("what never was")
        t[item, "x"] = 1

    snapshot = db.engine.begin()
    assert db.each(function, [5]) == 1
    assert tries == [5, 5] and db.snapshot()[5, "x"] == 1


@pytest.mark.parametrize("cell", ["ab", "a", "abc", 5, ("a",), ("a", "b", "c")])
def test_a_cell_is_a_row_and_a_column(cell: Any) -> None:
    with pytest.raises(KeyTypeError), Database.open("memory:").transaction() as t:
        t[cell] = 1


@pytest.mark.parametrize("value", [{1: "a"}, [{"x": {None: 1}}], ({"a": [{2.5: 1}]},)])
def test_dictionaries_with_keys_that_json_would_change_are_refused(value: Any) -> None:
    with pytest.raises(TransactionError, match="which is no text"), Database.open("memory:").transaction() as t:
        t["a", "x"] = value


def test_what_no_key_can_hold_is_refused_where_it_is_given() -> None:
    import datetime as dt

    from dataflow.txn import CombineQueue

    zone = dt.timezone(dt.timedelta(hours=14))
    db = Database.open("memory:")
    with pytest.raises(KeyTypeError, match="in no year from 1 to 9999"), db.transaction() as t:
        t[dt.datetime(1, 1, 1, tzinfo=zone), "x"] = 1
    row = dt.datetime(9999, 12, 31, 23, tzinfo=dt.UTC)
    put(db, row, "x", 1)
    assert list(db.snapshot().scan()) == [((row, "x"), 1)]
    key: Any = "k"
    for _ in range(32):
        key = (key,)
    queue = CombineQueue(db, "q", lambda old, new: (old or 0) + sum(new))
    with pytest.raises(KeyTypeError, match="deep"), db.transaction() as t:
        queue.add(t, key, 1)


# -- under them


def test_one_folder_by_two_names_is_opened_once(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with Database.open(f"rocksdb:{tmp_path}/a") as db:
        put(db, 1, "x", 1)
        with pytest.raises(StoreError, match="is open already"):
            Database.open(f"rocksdb:{tmp_path}/b")
    with Database.open(f"rocksdb:{tmp_path}/b") as db:
        assert db.snapshot()[1, "x"] == 1


def test_an_interrupt_between_asking_and_being_told_the_time_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = RequestedOracle(lambda count: 100)

    class Interrupted:
        """A condition behind whose first use Ctrl-C comes."""

        def __init__(self) -> None:
            self.inner, self.times = threading.Condition(), 0

        def __enter__(self) -> Any:
            return self.inner.__enter__()

        def __exit__(self, *of: Any) -> None:
            self.inner.__exit__(*of)
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr(oracle, "_changed", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        oracle.next()
    told: list[int] = []
    thread = threading.Thread(target=lambda: told.append(oracle.next()), daemon=True)
    thread.start()
    thread.join(5)
    assert told and told[0] >= 100
