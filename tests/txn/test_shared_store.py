"""Databases in a store that several processes share (LMDB): a map that grows while transactions read, and nothing that is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import ConflictError
from dataflow.txn import Database, Transaction

pytest.importorskip("lmdb", reason="needs lmdb")
from dataflow.kv import lmdb_map
from dataflow.txn import ledger_shared
from dataflow.txn.together import commit_together

LARGE = b"v" * 5_000  # of which thirty fit into the map, and some into what must be free of it before a group is written


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(lmdb_map, "_PATIENCE", 0.5)
    opened = Database.open(f"lmdb:{tmp_path}/cells", sync=False, durable=False, size="256KiB")
    yield opened
    opened.close()


def add(t: Transaction, number: int) -> None:
    t["count", "x"] = t.get("count", "x", 0) + 1
    t[number, "large"] = LARGE


def added(db: Database, number: int) -> None:
    db.run(lambda t: add(t, number), retries=1_000)


def test_the_map_grows_for_a_transaction_that_has_read(db: Database) -> None:
    for number in range(60):
        added(db, number)
    assert db.snapshot()["count", "x"] == 60


def test_the_map_grows_for_those_that_wait_in_line(db: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: added(db, number), range(60)))
    assert db.snapshot()["count", "x"] == 60


def test_the_map_grows_for_groups_of_which_some_run_again(db: Database) -> None:
    assert db.each(add, range(60), group=5, retries=1_000) == 60
    assert db.snapshot()["count", "x"] == 60


def test_the_map_grows_for_observers_of_which_some_run_again(db: Database) -> None:
    tried: set[Any] = set()

    @db.observer("x")
    def enlarge(t: Transaction, row: Any, value: Any) -> None:
        if row % 5 == 0 and row not in tried:
            tried.add(row)
            raise ConflictError("what it did elsewhere has failed")
        t[row, "large"] = LARGE

    for row in range(0, 60, 5):
        db.each(lambda t, row: t.__setitem__((row, "x"), row), range(row, row + 5))
        assert db.run_observers() == 5


def test_a_group_that_is_larger_than_the_map_is_committed(db: Database) -> None:
    assert db.each(lambda t, number: t.__setitem__((number, "large"), LARGE), range(600), group=600) == 600
    with db.transaction() as t:
        for number in range(600, 2_000):
            t[number, "large"] = LARGE
    assert [cell for cell, _ in db.snapshot().scan(column="large")] == [(number, "large") for number in range(2_000)]


def test_a_large_group_that_conflicts_in_part_is_decided_once(db: Database) -> None:
    late = db.transaction()
    assert late.get("count", "x") is None
    db.run(lambda t: t.__setitem__(("count", "x"), 0))
    late["count", "x"] = "late"
    group = [late, *(db.transaction() for _ in range(300))]
    for number, t in enumerate(group[1:]):
        t[number, "large"] = LARGE
    refused, *made = commit_together(db, group)
    assert isinstance(refused, ConflictError)
    assert made == [None] * 300
    first = group[1].committed
    assert first is not None
    assert [t.committed for t in group[1:]] == list(range(first, first + 300))
    assert db.conflicts == 1
    assert db.snapshot()["count", "x"] == 0


def test_what_is_remembered_of_deletes_and_holds_is_collected(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_shared, "REMOVED", 3)
    for number in range(5):
        with db.transaction() as t:
            t[number, "x"] = t["held", "x"] = number
    with db.transaction() as t:
        t.hold("held", "x")
        t.hold("never written", "x")
        t.delete(0, "x")
        t.delete(4, "x")
    db.run(lambda t: t.__setitem__((1, "x"), 1))
    assert db.collect_garbage() == 4
    left = [packed for _, packed in db.engine.store.scan("data", b"\x01", b"\xff")]
    assert len(left) == 4
    assert all(len(packed) > 8 for packed in left)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs a list of open files")
@pytest.mark.parametrize("engine", ["embedded", "percolator"])
def test_a_closed_database_has_no_file_open(engine: Any, tmp_path: Path) -> None:
    with Database.open(f"lmdb:{tmp_path}/cells", engine=engine, sync=False, durable=False) as db:
        db.run(lambda t: add(t, 1))
    opened = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    assert not [path for path in opened if path.startswith(str(tmp_path))]
