"""What only the store of several processes promises: one writer over all, a map that grows, readers that die."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.errors import StoreError
from dataflow.kv import Absent, Edit, Mutation, Store, pack, pack_element, single
from dataflow.kv.embedded import FORMAT_KEY

lmdb = pytest.importorskip("lmdb")
from dataflow.kv import lmdb_map
from dataflow.kv.lmdb import LmdbStore
from dataflow.kv.lmdb_view import LONG

ALL = (b"", b"\x66")


@pytest.fixture
def store(folder: Path) -> Iterator[LmdbStore]:
    opened = LmdbStore(folder / "cells", durable=False)
    yield opened
    opened.close()


def key(*parts: object) -> bytes:
    return pack(parts)


def program(text: str, *arguments: str) -> subprocess.Popen[str]:
    head = "import os, sys, time\nfrom dataflow.kv import *\nfrom dataflow.kv.lmdb import LmdbStore\n"
    return subprocess.Popen([sys.executable, "-c", head + text, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


# The map


def test_the_map_grows_while_others_read(folder: Path) -> None:
    store = LmdbStore(folder / "cells", size="256KiB", durable=False)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            try:
                there = [found for found, _ in store.scan("data", *ALL)]
                assert there == [key("r", number) for number in range(len(there))]
                assert store.get("data", key("r", 0)) in (None, b"v" * 15000)
                store.firsts([single("data", key("r", 1))])
                time.sleep(0.002)
            except BaseException as reason:
                wrong.append(reason)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(200):
        store.write([Edit("data", key("r", number), b"v" * 15000)], sync=False)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(list(store.scan("data", *ALL))) == 200
    store.close()


def test_one_change_larger_than_the_map_is_made(folder: Path) -> None:
    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        made = store.mutate_many([Mutation(key("r", number), (), (Edit("data", key("r", number), b"v" * 5000),)) for number in range(600)])
        assert made == [True] * 600
        assert len(list(store.scan("data", *ALL))) == 600


def test_a_map_that_another_process_has_grown_is_adopted(folder: Path) -> None:
    small = "256KiB"
    with LmdbStore(folder / "cells", size=small, durable=False) as store, LmdbStore(folder / "other", size=small, durable=False) as other:
        grower = "store = LmdbStore(sys.argv[1], size='256KiB', durable=False)\nfor number in range(300):\n"
        grower += "    store.write([Edit('data', pack(('r', number)), b'v' * 5000)], sync=False)\n"
        for one, use in ((store, lambda: store.get("data", key("r", 7))), (other, lambda: other.mutate(Mutation(b"", (), ())))):
            assert program(grower, one.path).wait() == 0
            assert use()
            assert len(list(one.scan("data", *ALL))) == 300
            with one.snapshot("data") as frozen:
                assert frozen.get(key("r", 299)) is not None
            with one.exclusive() as now:
                now.put("data", key("r", 300), b"")


def test_exclusive_adopts_a_map_that_another_process_grows_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        grower = "store = LmdbStore(sys.argv[1], size='256KiB', durable=False)\nfor number in range(300):\n"
        grower += "    store.write([Edit('data', pack(('r', number)), b'v' * 5000)], sync=False)\n"
        make_room = store._make_room

        def then_it_is_grown() -> None:
            monkeypatch.undo()
            make_room()
            assert program(grower, store.path).wait() == 0

        monkeypatch.setattr(store, "_make_room", then_it_is_grown)
        with store.exclusive() as now:
            assert now.get("data", key("r", 299)) == b"v" * 5000
            now.put("data", key("r", 300), b"")
        assert len(list(store.scan("data", *ALL))) == 301


def test_growing_waits_for_snapshots_and_says_so_if_they_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(store: Store, start: int) -> None:
        for number in range(start, start + 100):
            store.write([Edit("data", key("r", number), b"v" * 5000)], sync=False)

    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        monkeypatch.setattr(lmdb_map, "_PATIENCE", 0.2)
        snapshot = store.snapshot("data")
        with pytest.raises(StoreError, match="map its file anew") as refused:
            fill(store, 0)
        assert "larger size" in str(refused.value)
        before = len(list(store.scan("data", *ALL)))
        monkeypatch.setattr(lmdb_map, "_PATIENCE", 20)
        threading.Timer(0.1, snapshot.close).start()
        fill(store, before)
        assert len(list(store.scan("data", *ALL))) == before + 100
        del snapshot
        store.snapshot("data")  # one that nobody keeps is closed by itself
        fill(store, before + 100)


# Several processes


def test_what_another_process_commits_is_seen_and_a_snapshot_stays(store: LmdbStore) -> None:
    with store.snapshot("data") as before:
        assert program("LmdbStore(sys.argv[1], durable=False).write([Edit('data', pack(('r',)), b'v')])", store.path).wait() == 0
        assert store.get("data", key("r")) == b"v"
        assert before.get(key("r")) is None
        assert list(before.scan(*ALL)) == []


def test_exclusive_is_so_over_processes(store: LmdbStore) -> None:
    adder = """
store = LmdbStore(sys.argv[1], durable=False)
for _ in range(200):
    with store.exclusive(sync=False) as now:
        entry = now.get("data", b"n")
        now.put("data", b"n", b"%d" % (int(entry or b"0") + 1))
"""
    assert [one.wait() for one in [program(adder, store.path) for _ in range(3)]] == [0] * 3
    assert store.get("data", b"n") == b"600"


def test_exclusive_commits_all_or_nothing(store: LmdbStore) -> None:
    with pytest.raises(ZeroDivisionError), store.exclusive() as now:
        now.put("data", key("r", 1), b"v")
        assert now.get("data", key("r", 1)) == b"v"
        assert store.get("data", key("r", 1)) is None  # others see nothing before the end
        raise ZeroDivisionError
    assert store.get("data", key("r", 1)) is None
    with store.exclusive() as now:
        for number in range(30):
            now.put("data", key("r", number), b"v")
        now.delete("data", key("r", 3))
        now.delete("data", key("none"))
        assert len(now.scan("data", *ALL)) == 29
        assert now.scan("data", *ALL, reverse=True, limit=1) == [(key("r", 29), b"v")]
        assert now.first("data", key("r", 3), b"\x66") == (key("r", 4), b"v")
        with pytest.raises(StoreError):  # a second writer in one thread would wait for itself
            store.write([Edit("data", key("s"), b"v")])
    assert len(list(store.scan("data", *ALL))) == 29


def test_a_writer_that_is_killed_leaves_nothing_and_lets_others_write(store: LmdbStore) -> None:
    holder = program(
        "store = LmdbStore(sys.argv[1], durable=False)\nwith store.exclusive() as now:\n"
        "    now.put('data', b'k', b'half')\n    print('in', flush=True)\n    time.sleep(60)\n",
        store.path,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    holder.kill()
    holder.wait()
    began = time.monotonic()
    store.write([Edit("data", b"other", b"v")])
    assert time.monotonic() - began < 5
    assert store.get("data", b"k") is None


def test_dead_readers_are_cleared_away(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = program("store = LmdbStore(sys.argv[1])\nkept = store.snapshot('data')\nprint('in', flush=True)\ntime.sleep(60)\n", store.path)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "in\n"
    assert str(reader.pid) in store._environment.readers()
    reader.kill()
    reader.wait()
    monkeypatch.setattr("dataflow.kv.lmdb._CHECK", 5)
    for number in range(6):
        store.write([Edit("data", key(number), b"")], sync=False)
    assert str(reader.pid) not in store._environment.readers()


def test_a_fork_is_told_so_and_harms_nothing(store: LmdbStore) -> None:
    forker = """
from dataflow.errors import StoreError
store = LmdbStore(sys.argv[1], durable=False)
store.write([Edit("data", b"k", b"v")])
snapshot = store.snapshot("data")
child = os.fork()
if child == 0:
    try:
        store.get("data", b"k")
    except StoreError as reason:
        store.close()
        sys.exit(7 if "fork" in str(reason) else 8)
    sys.exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
store.write([Edit("data", b"k", b"w")])
print(store.get("data", b"k"), snapshot.get(b"k"))
store.close()
"""
    said, _ = program(forker, store.path).communicate(timeout=60)
    assert said.split() == ["7", "b'w'", "b'v'"]


# Keys, formats, copies


def test_long_keys_lie_in_buckets_and_their_rows_stay_apart(store: LmdbStore) -> None:
    stem = b"s" * LONG
    tails = [b"", b"a", b"ab", b"b", b"\xff", b"\x00"]
    store.write([Edit("data", stem + tail, tail) for tail in tails] + [Edit("data", stem[:-1], b"short"), Edit("data", b"t", b"behind")])
    assert [value for _, value in store.scan("data", b"", b"u")] == [b"short", *sorted(tails), b"behind"]
    assert [value for _, value in store.scan("data", stem + b"a", stem + b"b")] == [b"a", b"ab"]
    assert [value for _, value in store.scan("data", stem + b"a", stem + b"b", reverse=True)] == [b"ab", b"a"]
    assert [value for _, value in store.scan("data", b"", stem, reverse=True)] == [b"short"]
    assert store.firsts([single("data", stem + b"ab"), single("data", stem + b"aa")]) == [(stem + b"ab", b"ab"), None]
    assert store.mutate(
        Mutation(b"", (Absent("data", stem + b"c", stem + b"d"),), tuple(Edit("data", stem + tail, None) for tail in tails))
    )
    assert [value for _, value in store.scan("data", b"", b"u")] == [b"short", b"behind"]
    assert store.sizes().keys["data"] == 2


def test_a_newer_format_and_foreign_stores_are_refused(folder: Path) -> None:
    with LmdbStore(folder / "cells") as store:
        store.write([Edit("meta", FORMAT_KEY, b"2 9.8.7")])
    with pytest.raises(StoreError, match=r"written by dataflow-engine 9\.8\.7"):
        LmdbStore(folder / "cells")
    foreign = lmdb.open(str(folder / "foreign"))
    with foreign.begin(write=True) as transaction:
        transaction.put(b"theirs", b"")
    foreign.close()
    with pytest.raises(StoreError, match="something else"):
        LmdbStore(folder / "foreign")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "data.mdb").write_bytes(b"not a tree" * 5000)
    with pytest.raises(StoreError, match="cannot be opened"):
        LmdbStore(folder / "damaged")
    (folder / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        LmdbStore(folder / "file")


def test_one_process_opens_it_once(store: LmdbStore) -> None:
    with pytest.raises(StoreError, match="already in this process"):
        LmdbStore(store.path)


def test_closing_ends_snapshots_and_waits_for_who_is_inside(store: LmdbStore) -> None:
    store.write([Edit("data", key(number), b"") for number in range(100)])
    snapshot, scan = store.snapshot("data"), store.scan("data", *ALL)
    next(scan)
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while True:
                store.get_many("data", [key(number) for number in range(50)])
        except StoreError as reason:
            errors.append(reason)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    time.sleep(0.05)
    store.close()
    for reader in readers:
        reader.join(10)
    assert len(errors) == 3
    for use in (lambda: snapshot.get(b"k"), lambda: list(scan), lambda: store.snapshot("data"), lambda: store.exclusive().__enter__()):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_a_durable_store_waits_for_the_disk_and_a_copy_is_whole(folder: Path) -> None:
    with LmdbStore(folder / "cells", durable=True) as store:
        assert store._environment.flags()["sync"]
        store.write([Edit("data", key("r", number), b"v") for number in range(100)], sync=True)
        store.write([Edit("data", key("r", 100), b"v")], sync=False)
        store.checkpoint(folder / "copy")
        with pytest.raises(StoreError, match="cannot be copied"):
            store.checkpoint(folder / "copy")
        assert store.sizes().keys["data"] == 101
        assert store.sizes().disk > 4096
    with LmdbStore(folder / "copy") as copy:
        assert len(list(copy.scan("data", pack_element("r"), b"\x66"))) == 101
