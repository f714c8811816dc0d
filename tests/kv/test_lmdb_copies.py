"""Copies of the store of several processes: one that is not whole is never taken for one, by its name or by what is in it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataflow.errors import StoreError
from dataflow.kv import Edit, Store, pack

lmdb = pytest.importorskip("lmdb")
from dataflow.kv.lmdb import LmdbStore
from dataflow.kv.lmdb_length import is_whole

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
OPENING = """
import sys
from dataflow.errors import StoreError
from dataflow.kv import FAMILIES
from dataflow.kv.lmdb import LmdbStore
try:
    with LmdbStore(sys.argv[1], durable=False) as store:
        print(sum(len(list(store.scan(family, b"", b"\\x66"))) for family in FAMILIES))
except StoreError as reason:
    print(reason)
"""


def opened(folder: Path) -> str:
    """What a process of its own says, which may be killed by it."""
    done = subprocess.run([sys.executable, "-c", OPENING, str(folder)], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else f"ended with {done.returncode}"


def filled(store: Store, megabytes: int) -> None:
    for number in range(megabytes):
        store.write([Edit("data", pack((number, part)), os.urandom(100_000)) for part in range(10)], sync=False)


def test_a_copy_whose_maker_was_killed_is_not_there_and_can_be_made_again(folder: Path) -> None:
    with LmdbStore(folder / "cells", durable=False) as store:
        filled(store, 100)
    copying = "import sys; from dataflow.kv.lmdb import LmdbStore; LmdbStore(sys.argv[1], durable=False).checkpoint(sys.argv[2])"
    maker = subprocess.Popen([sys.executable, "-c", copying, str(folder / "cells"), str(folder / "copy")])
    while not any(file.stat().st_size for file in folder.glob("copy*/data.mdb")):
        assert maker.poll() is None
        time.sleep(0.001)
    maker.kill()
    maker.wait()
    assert not (folder / "copy").exists()
    with LmdbStore(folder / "cells", durable=False) as store:
        store.checkpoint(folder / "copy")
    assert opened(folder / "copy") == "1000\n"
    assert {name.partition("-")[0] for name in os.listdir(folder)} == {"cells", "copy", "copy.partial"}  # what was left is nobody's copy


def test_a_copy_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LmdbStore(folder / "cells", durable=False) as store:
        filled(store, 1)

        def full(*given: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="the disk is full"):
            store.checkpoint(folder / "copy")
    assert os.listdir(folder) == ["cells"]


def test_a_store_that_ends_before_pages_in_use_is_refused(folder: Path) -> None:
    """LMDB would read behind the end of the file, and the process be killed."""
    with LmdbStore(folder / "cells", durable=False) as store:
        filled(store, 2)
        for number in range(2000):
            store.write([Edit("write", pack((number,)), b"")], sync=False)
        store.checkpoint(folder / "copy")
    size = (folder / "copy" / "data.mdb").stat().st_size
    choose = random.Random(0)
    for cut in [size - 1, size // 4096 // 2 * 4096, 3 * 4096, *(choose.randrange(2 * 4096, size) for _ in range(20 if LARGE else 2))]:
        shutil.rmtree(folder / "cut", ignore_errors=True)
        shutil.copytree(folder / "copy", folder / "cut")
        os.truncate(folder / "cut" / "data.mdb", cut)
        assert "ends before pages that are in use" in opened(folder / "cut")
    assert opened(folder / "copy") == "2020\n"


def test_a_whole_store_may_be_shorter_than_its_pages_are_numbered(folder: Path) -> None:
    """LMDB does not write pages that a commit took and gave back; and a store is whole after each commit."""
    shorter = 0
    for seed in range(300 if LARGE else 30):
        choose = random.Random(seed)
        path = folder / f"cells{seed}"
        store = lmdb.open(str(path), map_size=1 << 28, max_dbs=2, sync=False)
        families = [store.open_db(name) for name in (b"data", b"write")]
        for _ in range(choose.randrange(1, 9)):
            held = store.begin() if choose.random() < 0.3 else None
            with store.begin(write=True, db=choose.choice(families)) as transaction:
                keys = [b"%d" % choose.randrange(10_000) for _ in range(choose.choice((1, 30, 1000)))]
                for one in keys:
                    transaction.put(one, b"v" * choose.choice((10, 500, 1900, 9000)))
                for one in keys[:: choose.choice((1, 2, 5))]:
                    transaction.delete(one)
            if held is not None:
                held.abort()
            assert is_whole(path / "data.mdb"), f"seed {seed}"
            shorter += os.stat(path / "data.mdb").st_size < (store.info()["last_pgno"] + 1) * store.stat()["psize"]
        store.close()
        shutil.rmtree(path)
    assert shorter


def test_a_store_is_looked_at_while_others_write(folder: Path) -> None:
    writing = """
import random, sys
from dataflow.kv import Edit, pack
from dataflow.kv.lmdb import LmdbStore
with LmdbStore(sys.argv[1], durable=False) as store:
    print("in", flush=True)
    while True:
        keys = [pack((random.randrange(100),)) for _ in range(20)]
        store.exclusive(lambda now: ([now.put("data", key, b"v" * 20_000) for key in keys], [now.delete("data", key) for key in keys[1:]]))
"""
    writer = subprocess.Popen([sys.executable, "-c", writing, str(folder / "cells")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "in\n"
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert is_whole(folder / "cells" / "data.mdb")
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("kind", ["rocksdb", "lmdb"])
def test_a_copy_is_not_made_where_something_is_already(kind: str, folder: Path) -> None:
    from dataflow.kv import open_store

    pytest.importorskip("rocksdict")
    store = open_store(f"{kind}:{folder}/cells")
    store.checkpoint(folder / "copy")  # type: ignore[attr-defined]
    (folder / "file").touch()
    (folder / "empty").mkdir()
    for place in ("copy", "file", "empty"):
        with pytest.raises(StoreError, match="it is there already") as refused:
            store.checkpoint(folder / place)  # type: ignore[attr-defined]
        assert "damaged" not in str(refused.value)
        assert "a copy is made in a new folder" in str(refused.value)
    store.close()
