"""What only the engine promises that uses the server's own transactions: what it tells of a commit, and how few connections it needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from dataflow.errors import ConflictError, OutcomeUnknownError, StoreError, TransactionError
from dataflow.kv import end_of_row, pack_element
from dataflow.txn import Database, Transaction

pytestmark = pytest.mark.parametrize("opening", ["native/postgres"], indirect=True)
FEW: dict[str, Any] = {"connections": 1, "timeout": 2.0, "patience": 1.0}  # a wait for a second one ends after three seconds


def losing_the_answer(t: Transaction) -> None:
    """The connection breaks when the commit was made and not yet acknowledged."""
    session: Any = t._snapshot.session  # type: ignore[attr-defined]
    run = session.run

    def lost(statement: str | bytes, values: Sequence[Any] = ()) -> Any:
        rows = run(statement, values)
        if statement == b"commit":
            raise OutcomeUnknownError("the connection was lost while it committed")
        return rows

    session.run = lost


def test_a_conflict_is_told_though_no_connection_is_free(opening: Any) -> None:
    db, other = opening(**FEW), opening()
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    with other.transaction() as before:
        before["a", "x"] = 5
    with pytest.raises(ConflictError, match=f"committed it at {before.committed}"):
        t.commit()
    assert db.snapshot()["a", "x"] == 5


def test_what_became_of_a_commit_is_asked_though_no_connection_is_free(opening: Any) -> None:
    db = opening(**FEW)
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    losing_the_answer(t)
    assert t.commit() == t.committed
    assert db.snapshot()["a", "x"] == 1


def test_a_server_that_is_away_when_it_is_asked_leaves_the_outcome_unknown(opening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    db = opening()
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    losing_the_answer(t)

    def away() -> Any:
        raise StoreError("it cannot be reached")

    monkeypatch.setattr(db.engine, "session", away)
    with pytest.raises(OutcomeUnknownError, match="cannot be reached"):
        t.commit()
    monkeypatch.undo()
    assert db.snapshot()["a", "x"] == 1


def failing(db: Database, *, at_once: int = 1) -> None:
    """An observer that fails when as many workers as ``at_once`` have its changes in hand."""
    together = threading.Barrier(at_once)

    @db.observer("x")
    def fail(t: Transaction, row: Any, value: Any) -> None:
        _ = t.get(row, "y")
        together.wait(10)
        raise ZeroDivisionError(f"of {row}")


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_fail_do_not_wait_for_each_others_connections(opening: Any, workers: int) -> None:
    db = opening(**FEW | {"connections": workers})
    failing(db, at_once=workers)
    for row in range(50):
        db.run(lambda t, row=row: t.__setitem__((row, "x"), 1))
    with pytest.raises(TransactionError, match=r"observer 'fail' failed: ZeroDivisionError"):
        db.run_observers(workers=workers)
    assert not list(db.engine.store.scan("meta", pack_element("worker"), end_of_row(pack_element("worker"))))  # they have left


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_set_failures_aside_do_not_wait_for_each_others_connections(opening: Any, workers: int) -> None:
    db = opening(**FEW | {"connections": workers})
    together = threading.Barrier(workers)

    @db.observer("x")
    def fail(t: Transaction, row: Any, value: Any) -> None:
        _ = t.get(row, "y")
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(1)  # of the last there may be no second
        raise ZeroDivisionError

    for row in range(20):
        db.run(lambda t, row=row: t.__setitem__((row, "x"), 1))
    assert db.run_observers(workers=workers, on_error="skip") == 20
    assert sorted(row for _, row, _ in db.failures()) == [*range(20)]


def test_an_observer_that_finds_the_store_away_leaves_though_no_connection_is_free(opening: Any) -> None:
    db = opening(**FEW)

    @db.observer("x")
    def fail(t: Transaction, row: Any, value: Any) -> None:
        _ = t.get(row, "y")
        raise StoreError("the other store is away")

    db.run(lambda t: t.__setitem__(("a", "x"), 1))
    with pytest.raises(StoreError, match="the other store is away"):
        db.run_observers()


def test_cells_are_noted_again_though_no_connection_is_free(opening: Any) -> None:
    db = opening(**FEW)
    for row in range(5):
        db.run(lambda t, row=row: t.__setitem__((row, "x"), 1))
    seen = []
    db.observer("x")(lambda t, row, value: seen.append(row))
    assert db.renotify("x") == 5
    assert db.run_observers() == 5
    assert sorted(seen) == [*range(5)]


def test_what_a_crash_left_of_a_commit_is_asked_though_no_connection_is_free(opening: Any) -> None:
    db = opening(**FEW)
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    session: Any = t._snapshot.session  # type: ignore[attr-defined]
    run, session.life = session.run, b"one before the crash"

    def lost(statement: str | bytes, values: Sequence[Any] = ()) -> Any:
        if statement == b"commit":
            raise OutcomeUnknownError("the connection was lost while it committed")
        return run(statement, values)

    session.run = lost
    with pytest.raises(ConflictError, match="rolled it back"):
        t.commit()
    assert db.snapshot().get("a", "x") is None
