"""A function that reads from a snapshot whose versions are being collected may see what never was. What it says then counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.errors import SnapshotTooOldError, StoreError
from dataflow.kv import MemoryStore
from dataflow.txn import Database, Transaction
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine


@pytest.fixture
def two() -> tuple[Database, Database]:
    """Two processes, as it were, on one store, which do not hear of each other's snapshots."""
    store = MemoryStore()
    oracle = StoreOracle(store)
    return Database(PercolatorEngine(store, oracle)), Database(PercolatorEngine(store, oracle))


def _change_and_collect(database: Database) -> None:
    with database.transaction() as t:
        t["a", "x"] = "new"
    database.collect_garbage()


def test_a_transaction_that_fails_over_what_was_collected_is_run_again(two: tuple[Database, Database]) -> None:
    here, there = two
    with here.transaction() as t:
        t["a", "x"] = "old"
    runs = 0

    def read(t: Transaction) -> Any:
        nonlocal runs
        runs += 1
        _ = t.timestamp
        if runs == 1:
            _change_and_collect(there)
        return t["a", "x"]  # of the first run's time there is no version any more

    assert here.run(read) == "new"
    assert runs == 2
    t = here.transaction()
    _change_and_collect(there)
    with pytest.raises(SnapshotTooOldError) as told, t:
        _ = t["a", "x"]
    assert isinstance(told.value.__context__, KeyError)


def test_an_error_of_its_own_stays_what_it_is(two: tuple[Database, Database]) -> None:
    with pytest.raises(ZeroDivisionError), two[0].transaction():
        _ = 1 // 0


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_observer_that_fails_over_what_was_collected_is_run_again(two: tuple[Database, Database], on_error: Any) -> None:
    here, there = two
    with here.transaction() as t:
        t["a", "x"] = "old"
    runs = []

    @here.observer("y")
    def copy(t: Transaction, row: str, value: Any) -> None:
        runs.append(row)
        if len(runs) == 1:
            _change_and_collect(there)
        t["copy", "x"] = t["a", "x"]

    with here.transaction() as t:
        t["b", "y"] = 1
    here.run_observers(on_error=on_error)
    assert runs == ["b", "b"]
    assert here.failures() == []
    assert here.snapshot()["copy", "x"] == "new"


class _GoneAfterwards(MemoryStore):
    """A server that is away as soon as the commit is made."""

    away = False

    def get(self, family: str, key: bytes) -> bytes | None:
        if self.away:
            raise StoreError("the server is away")
        return super().get(family, key)


def test_what_the_engine_answered_is_not_lost_when_the_store_goes_away_then() -> None:
    store = _GoneAfterwards()
    engine = PercolatorEngine(store, StoreOracle(store))
    database = Database(engine)
    commit = engine.commit_many

    def commit_and_lose(intents: Any) -> Any:
        answer = commit(intents)
        store.away = True
        return answer

    engine.commit_many = commit_and_lose  # type: ignore[method-assign]
    t = database.transaction()
    assert t.get("a", "x") is None
    t["a", "x"] = 1
    assert t.commit() == t.committed


def test_there_is_no_time_before_the_first(db: Database) -> None:
    with db.transaction() as t:
        t["a", "x"] = 1
    for never in (-1, -5, -(1 << 70)):
        with pytest.raises(SnapshotTooOldError):
            db.as_of(never)
    assert db.snapshot()["a", "x"] == 1
