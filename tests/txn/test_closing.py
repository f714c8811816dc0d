"""A database counts as closed whatever its closing raises, and can be opened again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import needs

from dataflow.errors import StoreError
from dataflow.kv import Edit, MemoryStore
from dataflow.kv.sharded import ShardedStore
from dataflow.txn import Database

FULL = """
import resource, signal, sys
from dataflow.errors import StoreError
from dataflow.txn import Database
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
db = Database.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, most))  # for the disk
done, said = 0, ""
try:
    while True:
        with db.transaction() as t:
            t[done, "x"] = b"v" * 10_000
        done += 1
except StoreError as reason:
    print("full" if "the disk is full" in str(reason) and "free some space" in str(reason) else reason)
for _ in range(2):
    try:
        db.close()
    except StoreError as reason:
        assert "the disk is full" in str(reason)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
with Database.open(sys.argv[1]) as db:
    there = [row for (row, _), _ in db.snapshot().scan()]
    print(done > 50 and there in ([*range(done)], [*range(done + 1)]))
    with db.transaction() as t:
        t["behind", "x"] = 1
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on a file's size")
@pytest.mark.parametrize(("kind", "package"), [("rocksdb", "rocksdict"), ("lmdb", "lmdb")])
def test_after_a_full_disk_it_is_opened_again_in_the_same_process(kind: str, package: str, tmp_path: Path) -> None:
    needs(package)
    done = subprocess.run([sys.executable, "-c", FULL, f"{kind}:{tmp_path}/cells"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "full\nTrue\n"), done.stdout + done.stderr


class _Full(MemoryStore):
    full = closed = False

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        if self.full:
            raise StoreError("the disk is full")
        super().write(edits)

    def close(self) -> None:
        self.closed = True
        if self.full:
            raise StoreError("cannot be closed")


@pytest.mark.parametrize("engine", ["embedded", "percolator"])
def test_a_store_is_closed_also_if_what_is_written_last_is_not(engine: Any) -> None:
    store = _Full()
    db = Database.open(store, engine=engine)
    with db.transaction() as t:
        t["a", "x"] = 1
    store.full = True
    with pytest.raises(StoreError):
        db.close()
    assert store.closed


def test_all_shards_are_closed_also_if_one_fails() -> None:
    stores = [_Full(), _Full(), _Full()]
    whole = ShardedStore(stores)
    stores[0].full = stores[1].full = True
    with pytest.raises(StoreError, match="cannot be closed"):
        whole.close()
    assert [store.closed for store in stores] == [True] * 3


def test_what_could_not_be_closed_is_when_who_stays_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("lmdb")
    from dataflow.kv.lmdb import LmdbStore

    monkeypatch.setattr("dataflow.kv.lmdb_map._PATIENCE", 0.1)
    store = LmdbStore(tmp_path / "cells")
    inside, go_on = threading.Event(), threading.Event()

    def stay(now: Any) -> None:
        now.put("data", b"k", b"v")
        inside.set()
        go_on.wait()

    staying = threading.Thread(target=store.exclusive, args=[stay])
    staying.start()
    inside.wait()
    with pytest.raises(StoreError, match="will be closed when that thread is done"):
        store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.get("data", b"k")
    go_on.set()
    staying.join()
    with LmdbStore(tmp_path / "cells") as again:
        assert again.get("data", b"k") == b"v"
