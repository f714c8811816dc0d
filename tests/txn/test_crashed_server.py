"""A server that crashed gives numbers of transactions again, of which its disk knows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from servers import PostgresServer

from dataflow.errors import ConflictError, OutcomeUnknownError, StoreError
from dataflow.txn import Database, Transaction


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may crash."""
    started = PostgresServer("wal_writer_delay=10s")  # nothing reaches the disk before a commit
    yield started
    started.stop()


@pytest.fixture
def db(server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    opened = Database.open(server.address, schema=f"s{abs(hash(request.node.name))}")
    assert opened.engine.name == "native"
    yield opened
    opened.close()


def at_commit(t: Transaction, act: Callable[[], object], *, before: bool) -> None:
    """Something happens when the commit of a transaction is about to be sent, or was made and is not yet acknowledged."""
    session: Any = t._snapshot.session  # type: ignore[attr-defined]
    run = session.run

    def ran(statement: str | bytes, values: Sequence[Any] = ()) -> Any:
        if statement != b"commit":
            return run(statement, values)
        if before:
            act()
            return run(statement, values)
        run(statement, values)
        act()
        raise OutcomeUnknownError("the connection was lost while it committed")

    session.run = ran


def crash(server: PostgresServer) -> None:
    server.kill()
    server.start()


def number_of(db: Database, row: str) -> int:
    """The number of a transaction that writes a row."""
    with db.transaction() as t:
        t[row, "x"] = 1
    assert t.committed is not None
    return t.committed


def test_a_commit_that_was_lost_is_not_taken_for_that_of_who_has_its_number_now(server: PostgresServer, db: Database) -> None:
    number_of(db, "others")
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    said: list[str] = []

    def crash_and_go_on() -> None:
        session: Any = t._snapshot.session  # type: ignore[attr-defined]
        ((mine,),) = session.run(b"select pg_current_xact_id()::text")
        crash(server)
        for _ in range(5):
            number_of(db, "others")
        with db.engine.session() as other:  # type: ignore[attr-defined]
            said.append(other.run(b"select pg_xact_status($1::text::xid8)", (mine,))[0][0])

    at_commit(t, crash_and_go_on, before=True)
    with pytest.raises(ConflictError):
        t.commit()
    assert said == ["committed"], "the number was not given again, so nothing was tested"
    assert db.snapshot().get("a", "x") is None


def test_where_deletes_were_collected_a_cell_that_is_not_there_tells_nothing(server: PostgresServer, db: Database) -> None:
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1

    def crash_and_collect() -> None:
        crash(server)
        with db.transaction() as other:
            del other["a", "x"]
        db.collect_garbage()

    at_commit(t, crash_and_collect, before=False)
    with pytest.raises(OutcomeUnknownError, match="has been changed since"):
        t.commit()


def test_a_cell_with_an_older_time_says_that_it_was_lost(server: PostgresServer, db: Database) -> None:
    number_of(db, "a")
    t = db.transaction()
    t["a", "x"], t["b", "x"] = t["a", "x"] + 1, 5

    def crash_and_go_on() -> None:
        crash(server)
        for _ in range(5):
            number_of(db, "others")

    at_commit(t, crash_and_go_on, before=True)
    with pytest.raises(ConflictError):
        t.commit()
    assert db.snapshot()["a", "x"] == 1 and db.snapshot().get("b", "x") is None


def test_a_commit_that_was_made_is_known_after_a_crash(server: PostgresServer, db: Database) -> None:
    number_of(db, "a")
    t = db.transaction()
    t["a", "x"], t["b", "x"] = t["a", "x"] + 1, 5
    at_commit(t, lambda: crash(server), before=False)
    assert t.commit() == t.committed
    assert db.snapshot()["a", "x"] == 2


def test_of_what_was_changed_since_it_is_said_that_it_is_not_known(server: PostgresServer, db: Database) -> None:
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1

    def crash_and_change() -> None:
        crash(server)
        number_of(db, "a")

    at_commit(t, crash_and_change, before=False)
    with pytest.raises(OutcomeUnknownError, match="has been changed since"):
        t.commit()


def test_a_store_of_before_gets_the_table_of_lives(server: PostgresServer, db: Database) -> None:
    with db.engine.store.session(sync=True) as session:  # type: ignore[attr-defined]
        session.run(f"drop table {db.engine.store._schema}.lives")  # type: ignore[attr-defined]
    again = Database.open(server.address, schema=db.engine.store._schema)  # type: ignore[attr-defined]
    assert number_of(again, "a") > 0
    again.close()


def test_a_connection_that_is_found_broken_is_an_error_of_the_store(
    server: PostgresServer, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    number_of(db, "a")
    store: Any = db.engine.store
    monkeypatch.setattr(store._pool, "_take", lambda: None)  # a new connection
    of = store._lives.of
    monkeypatch.setattr(store._lives, "of", lambda connection: (connection.close(), of(connection)))
    with pytest.raises(StoreError, match="was lost before"):
        db.snapshot().get("a", "x")
    monkeypatch.undo()
    assert db.snapshot()["a", "x"] == 1
