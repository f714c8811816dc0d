"""What the owner of a store remembers of commits: enough that nobody writes over what he has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import ConflictError, OutcomeUnknownError, SnapshotTooOldError, StoreError
from dataflow.txn import Database
from dataflow.txn import ledger_owned as ledgers
from dataflow.txn.prewrite import Intent
from dataflow.txn.transaction import cell_key

ADDRESSES = ["memory:", "rocksdb"]
KEY, OTHER = cell_key("a", "x"), cell_key("b", "x")


@pytest.fixture(params=ADDRESSES)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict")
    opened = Database.open(request.param if request.param == "memory:" else str(tmp_path / "cells"))
    yield opened
    opened.close()


def commit(db: Database, start: int, *keys: bytes, holds: frozenset[bytes] = frozenset()) -> Any:
    (outcome,) = db.engine.commit_many([Intent(start, dict.fromkeys(keys, b"bv"), holds)])
    return outcome


@pytest.mark.parametrize("keys", [(KEY,), (KEY, OTHER)])
def test_who_began_before_a_commit_conflicts_with_it(db: Database, keys: tuple[bytes, ...]) -> None:
    with db.snapshot() as before:
        start = before.timestamp
        assert isinstance(commit(db, -1, *keys), int)
        assert isinstance(commit(db, start, KEY), ConflictError)
        assert isinstance(commit(db, start, cell_key("c", "x"), holds=frozenset((KEY,))), ConflictError)
        assert isinstance(commit(db, start, cell_key("c", "x")), int)


@pytest.mark.parametrize("keys", [(KEY,), (KEY, OTHER)])
def test_whose_snapshot_nobody_has_is_too_old_once_others_committed(db: Database, keys: tuple[bytes, ...]) -> None:
    start = db.now()
    for _ in range(3):  # with the first the view of `now` is gone, and what is committed then is remembered for nobody
        assert isinstance(commit(db, -1, *keys), int)
    assert isinstance(commit(db, start, KEY), (ConflictError, SnapshotTooOldError))
    assert isinstance(commit(db, start, cell_key("c", "x")), SnapshotTooOldError)
    assert isinstance(commit(db, db.now(), KEY), int)


def test_two_of_a_group_that_began_at_once_exclude_each_other(db: Database) -> None:
    for _ in range(3):
        commit(db, -1, KEY)
    now = db.now()
    outcomes = db.engine.commit_many([Intent(now, {KEY: b"b1"}), Intent(now, {KEY: b"b2"}), Intent(-1, {KEY: b"b3"})])
    assert [type(outcome) for outcome in outcomes] == [int, ConflictError, int]
    assert db.snapshot()["a", "x"] == b"3"


def test_commits_are_forgotten_that_nobody_can_conflict_with(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger: Any = db.engine._ledger  # type: ignore[attr-defined]
    monkeypatch.setattr(ledger, "_most", 10)
    monkeypatch.setattr(ledgers, "_REMEMBERED", 10)
    long = db.transaction()
    assert long.get("a", "x") is None
    for number in range(30):
        commit(db, db.now(), cell_key(number, "x"))
    assert len(ledger._recent) >= 30, "the long one may conflict with all of them"
    long[7, "x"] = b"mine"
    with pytest.raises(ConflictError):
        long.commit()
    for number in range(100):
        commit(db, db.now(), cell_key(number, "x"))
    assert len(ledger._recent) <= 100


@pytest.mark.parametrize("cells", [1, 2])
def test_a_disk_that_fails_leaves_it_open_whether_it_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    pytest.importorskip("rocksdict")
    with Database.open(str(tmp_path / "cells")) as db:
        store: Any = db.engine.store
        commit(db, -1, KEY)
        before = db.transaction()
        assert before["a", "x"] == b"v"
        puts, real = store.puts, store._db

        def put(key: bytes, value: bytes) -> None:
            puts[True](key, value)
            raise Exception("IO error: the disk is gone")

        class Disk:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def write(self, batch: Any, options: Any) -> None:
                real.write(batch, options)
                raise Exception("IO error: the disk is gone")

        monkeypatch.setattr(store, "puts", {True: put})
        monkeypatch.setattr(store, "_db", Disk())
        with pytest.raises(OutcomeUnknownError):
            commit(db, -1, *(KEY, OTHER)[:cells])
        monkeypatch.undo()
        before["a", "x"] = b"lost?"
        with pytest.raises(ConflictError):
            before.commit()


def test_a_closed_database_commits_nothing(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    db = Database.open(str(tmp_path / "cells"))
    commit(db, -1, KEY)
    db.close()
    with pytest.raises(StoreError, match="closed"):
        commit(db, -1, KEY)
    with pytest.raises(StoreError, match="closed"):
        commit(db, -1, KEY, OTHER)
    with Database.open(str(tmp_path / "cells")) as again:
        assert again.snapshot()["a", "x"] == b"v"
