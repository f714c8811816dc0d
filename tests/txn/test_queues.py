"""Queues, on every engine and store: nothing that was added is lost, whatever the functions do that are given to them."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.errors import TransactionError
from dataflow.txn import CombineQueue, Database, Export, ExportQueue, Transaction


def add(db: Database, queue: Any, *entries: tuple[Any, Any]) -> None:
    with db.transaction() as t:
        for key, value in entries:
            queue.add(t, key, value)


def total(old: Any, updates: list[Any]) -> Any:
    return (old or 0) + sum(updates)


def test_what_could_not_be_sent_stays_and_is_sent_later(db: Database) -> None:
    sent: list[Export] = []
    down = [True]

    def send(exports: list[Export]) -> None:
        if down:
            raise OSError("the network is down")
        sent.extend(exports)

    mail = ExportQueue(db, "mail", send, buckets=1)
    add(db, mail, ("ann", 1))
    with pytest.raises(TransactionError, match="the network is down"):
        db.run_observers()
    db.run_observers(on_error="skip")
    assert [text for _, _, text in db.failures()] == ["OSError: the network is down"]
    down.clear()
    assert db.renotify("export mail") == 1
    assert db.run_observers() == 1
    assert [(export.key, export.value) for export in sent] == [("ann", 1)]
    assert not db.failures()
    assert not list(db.snapshot().scan())

    down.append(True)
    add(db, mail, ("bob", 2))
    db.run_observers(on_error="skip")
    down.clear()
    add(db, mail, ("ann", 3))
    db.run_observers()
    assert [(export.key, export.value) for export in sent[1:]] == [("bob", 2), ("ann", 3)]
    assert not db.failures()
    assert db.renotify("export mail") == 0
    snapshot = db.engine.begin()
    assert not list(snapshot.scan(b"\x01", b"\xff")), "no ack is left either"
    snapshot.close()


def test_a_bad_update_keeps_back_its_own_key_alone(db: Database) -> None:
    changes: list[tuple[Any, Any, Any]] = []
    words = CombineQueue(db, "words", total, buckets=1, on_change=lambda t, key, old, new: changes.append((key, old, new)))
    add(db, words, ("good", 1), ("bad", 1), ("bad", "x"), ("good", 1))
    db.frontier()  # now the notifications of all are there, also where some are written in the background
    with pytest.raises(TransactionError, match="observer 'combine words' failed: TypeError"):
        db.run_observers()
    db.run_observers(on_error="skip")
    assert words.get(db.snapshot(), "good") == 2
    assert words.get(db.snapshot(), "bad") is None
    assert len(db.failures()) == 2
    add(db, words, ("good", 1))
    db.run_observers()
    assert words.get(db.snapshot(), "good") == 3
    words._combine = lambda old, updates: (old or 0) + sum(int(update, 36) if isinstance(update, str) else update for update in updates)
    add(db, words, ("bad", 5))
    db.run_observers()
    assert words.get(db.snapshot(), "bad") == 39
    assert not db.failures()
    assert [change for change in changes if change[0] == "bad"] == [("bad", None, 39)]
    assert sorted(row[0] for (row, _), _ in db.snapshot().scan()) == ["combined", "combined"]


def test_an_old_value_that_is_changed_in_place_is_kept(db: Database) -> None:
    changes: list[tuple[Any, Any]] = []

    def collect(old: Any, updates: list[Any]) -> Any:
        old = old if old is not None else {}
        for update in updates:
            old[update] = 1
        return old

    seen = CombineQueue(db, "seen", collect, on_change=lambda t, key, old, new: changes.append((old, dict(new))))
    for name in "abb":
        add(db, seen, ("key", name))
        db.run_observers()
    assert seen.get(db.snapshot(), "key") == {"a": 1, "b": 1}
    assert changes == [(None, {"a": 1}), ({"a": 1}, {"a": 1, "b": 1})]


def test_numbers_of_exports_rise_also_within_a_transaction(db: Database) -> None:
    state: dict[Any, Any] = {}
    numbers: dict[int, Any] = {}

    def send(exports: list[Export]) -> None:
        for export in exports:
            numbers[export.number] = export.value
            if export.number > state.get(export.key, (0,))[0]:
                state[export.key] = (export.number, export.value)

    mail = ExportQueue(db, "mail", send)
    for at in range(3):
        add(db, mail, *(("ann", 10 * at + number) for number in range(4)))
        db.run_observers()
        assert state["ann"][1] == 10 * at + 3
    assert [numbers[number] for number in sorted(numbers)] == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]


def test_an_entry_of_before_has_the_smallest_number_of_its_transaction(db: Database) -> None:
    sent: list[Export] = []
    mail = ExportQueue(db, "mail", sent.extend)
    with db.transaction() as t:
        t[("queue", "mail", 0, b"", 1, 1), "export mail"] = ["ann", 1]
    assert t.committed is not None
    db.run_observers()
    assert sent[0].number > t.committed
    add(db, mail, ("ann", 2))
    db.run_observers()
    assert sent[1].number > sent[0].number


def test_what_is_no_queue() -> None:
    db = Database.open("memory:")
    with pytest.raises(ValueError, match="needs a function"):
        CombineQueue(db, "x", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one bucket"):
        ExportQueue(db, "x", print, buckets=0)


def test_a_run_that_succeeds_clears_the_failure(db: Database) -> None:
    bad = [True]

    @db.observer("x")
    def failing(t: Transaction, row: Any, value: Any) -> None:
        if bad:
            raise ValueError(row)
        t[row, "y"] = value or "gone"

    def notify() -> None:
        for row in "ab":
            db.notify(row, "x")

    for again in (lambda: db.renotify("x"), notify):
        bad[:] = [True]
        with db.transaction() as t:
            t["a", "x"], t["b", "x"] = 1, 2
        with db.transaction() as t:
            t.delete("b", "x")
        db.run_observers(on_error="skip")
        assert len(db.failures()) == db.stats()["failures"] == 2
        assert db.run_observers() == 0
        bad.clear()
        again()
        assert db.run_observers() == 2
        assert not db.failures()
        assert (db.snapshot()["a", "y"], db.snapshot()["b", "y"]) == (1, "gone")
        assert db.renotify("x") == 0
