"""What only the store of several processes promises: one writer over all, a map that grows, readers that die."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.errors import StoreError
from dataflow.kv import Absent, Edit, Mutation, Store, pack, pack_element, single, unpack
from dataflow.kv.embedded import FORMAT_KEY

lmdb = pytest.importorskip("lmdb")
from dataflow.kv import lmdb_map
from dataflow.kv.lmdb import LmdbStore
from dataflow.kv.lmdb_view import LONG, View

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
            one.exclusive(lambda now: now.put("data", key("r", 300), b""))


def test_exclusive_adopts_a_map_that_another_process_has_grown(folder: Path) -> None:
    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        grower = "store = LmdbStore(sys.argv[1], size='256KiB', durable=False)\nfor number in range(300):\n"
        grower += "    store.write([Edit('data', pack(('r', number)), b'v' * 5000)], sync=False)\n"
        assert program(grower, store.path).wait() == 0
        assert store.exclusive(lambda now: now.get("data", key("r", 299))) == b"v" * 5000
        store.exclusive(lambda now: now.put("data", key("r", 300), b""))
        assert len(list(store.scan("data", *ALL))) == 301


def test_what_is_exclusive_and_larger_than_the_map_is_done_again_and_once(folder: Path) -> None:
    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        runs = []

        def add(now: View) -> int:
            runs.append(len(now.scan("data", *ALL)))
            for number in range(600):
                now.put("data", key("r", number), (now.get("data", key("r", number)) or b"") + b"v" * 5000)
            return len(runs)

        assert store.exclusive(add) == len(runs) > 2
        assert runs == [0] * len(runs)  # what was given up has left nothing
        assert [len(value) for _, value in store.scan("data", *ALL)] == [5000] * 600


def test_several_processes_whose_exclusive_changes_do_not_fit_lose_nothing(folder: Path) -> None:
    adder = """
store = LmdbStore(sys.argv[1], size="256KiB", durable=False)
def add(now):
    count = int(now.get("data", b"n") or b"0")
    for number in range(100):
        now.put("data", pack((sys.argv[2], count, number)), b"v" * 3000)
    now.put("data", b"n", b"%d" % (count + 1))
for _ in range(10):
    store.exclusive(add, sync=False)
    assert store.get("data", b"n")
"""
    path = str(folder / "cells")
    LmdbStore(path, size="256KiB", durable=False).close()
    assert [one.wait() for one in [program(adder, path, name) for name in "abc"]] == [0] * 3
    with LmdbStore(path, size="256KiB", durable=False) as store:
        assert store.get("data", b"n") == b"30"
        assert sum(1 for _ in store.scan("data", *ALL)) == 3 * 10 * 100
        assert len({unpack(found)[1] for found, _ in store.scan("data", *ALL)}) == 30


def test_the_map_leaves_room_for_any_store_while_snapshots_stay(store: LmdbStore) -> None:
    size = store._environment.info()["map_size"]
    assert size == 1 << 44 or not lmdb_map.room_for(2 << 44)  # so no snapshot is ever in the way of growing
    assert store.sizes().disk < 1 << 20


LIMITED = """
import resource
from dataflow.errors import StoreError
def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on address space")
def test_a_limit_on_address_space_leaves_room_for_others(folder: Path) -> None:
    opening = LIMITED + "limit(3 << 30)\nstore = LmdbStore(sys.argv[1])\nstore.write([Edit('data', b'k', b'v')])\nbytearray(1 << 30)\n"
    assert program(opening, str(folder / "cells")).wait() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on address space")
def test_a_map_that_cannot_grow_stays_as_it_is(folder: Path) -> None:
    filling = (
        LIMITED
        + """
store = LmdbStore(sys.argv[1], size="32MiB", durable=False)
store.write([Edit("data", b"k", b"v")])
limit(160 << 20)
number = 0
try:
    while number < 1000:
        store.write([Edit("data", pack((number,)), b"v" * (1 << 20))], sync=False)
        number += 1
except StoreError as reason:
    print(number, "no address space" in str(reason) or reason)
assert all(len(store.get("data", pack((one,)))) == 1 << 20 for one in range(number))
store.write([Edit("data", pack((0,)), None)])
store.close()
"""
    )
    said, _ = program(filling, str(folder / "cells")).communicate(timeout=120)
    made, told = said.strip().split(maxsplit=1)
    assert int(made) > 64  # it has grown as far as it could
    assert told == "True"


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


def test_the_map_grows_under_an_open_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_map, "_PATIENCE", 0.2)
    with LmdbStore(folder / "cells", size="256KiB", durable=False) as store:
        store.write([Edit("data", key("a", number), b"v") for number in range(100)])
        scan = store.scan("data", *ALL)
        first = next(scan)
        for number in range(200):
            store.write([Edit("data", key("r", number), b"v" * 5000)], sync=False)
        assert [first, *scan] == list(store.scan("data", *ALL))


def test_a_map_that_another_process_grows_is_nothing_to_one_that_is_large(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_map, "_PATIENCE", 0.2)
    grower = "store = LmdbStore(sys.argv[1], size='256KiB', durable=False)\nfor number in range(300):\n"
    grower += "    store.write([Edit('data', pack(('r', number)), b'v' * 5000)], sync=False)\n"
    with store.snapshot("data") as before:
        assert program(grower, store.path).wait() == 0
        store.write([Edit("data", key("r", 300), b"")])
        assert len(list(store.scan("data", *ALL))) == 301
        assert list(before.scan(*ALL)) == []


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
def add(now):
    now.put("data", b"n", b"%d" % (int(now.get("data", b"n") or b"0") + 1))
for _ in range(200):
    store.exclusive(add, sync=False)
"""
    assert [one.wait() for one in [program(adder, store.path) for _ in range(3)]] == [0] * 3
    assert store.get("data", b"n") == b"600"


def test_exclusive_commits_all_or_nothing(store: LmdbStore) -> None:
    def failing(now: View) -> None:
        now.put("data", key("r", 1), b"v")
        assert now.get("data", key("r", 1)) == b"v"
        assert store.get("data", key("r", 1)) is None  # others see nothing before the end
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.exclusive(failing)
    assert store.get("data", key("r", 1)) is None

    def filling(now: View) -> None:
        for number in range(30):
            now.put("data", key("r", number), b"v")
        now.delete("data", key("r", 3))
        now.delete("data", key("none"))
        assert len(now.scan("data", *ALL)) == 29
        assert now.scan("data", *ALL, reverse=True, limit=1) == [(key("r", 29), b"v")]
        assert now.first("data", key("r", 3), b"\x66") == (key("r", 4), b"v")
        with pytest.raises(StoreError):  # a second writer in one thread would wait for itself
            store.write([Edit("data", key("s"), b"v")])

    store.exclusive(filling)
    assert len(list(store.scan("data", *ALL))) == 29


def test_a_writer_that_is_killed_leaves_nothing_and_lets_others_write(store: LmdbStore) -> None:
    holder = program(
        "def hold(now):\n    now.put('data', b'k', b'half')\n    print('in', flush=True)\n    time.sleep(60)\n"
        "LmdbStore(sys.argv[1], durable=False).exclusive(hold)\n",
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


@pytest.mark.parametrize("size", [0, 30, 100, mmap.PAGESIZE])
def test_a_store_whose_maker_was_killed_while_it_wrote_the_first_pages_is_made(folder: Path, size: int) -> None:
    """LMDB itself calls such a file invalid, from then on."""
    with LmdbStore(folder / "whole", durable=False) as store:
        store.write([Edit("data", b"k", b"v")])
    (folder / "cut").mkdir()
    (folder / "cut" / "data.mdb").write_bytes((folder / "whole" / "data.mdb").read_bytes()[:size])
    (folder / "cut" / ".making-1").mkdir()  # of one that was killed later
    (folder / "cut" / "new").mkdir()
    (folder / "cut" / "new" / "mine").write_text("a user's")
    for _ in range(2):
        with LmdbStore(folder / "cut", durable=False) as store:
            store.write([Edit("data", b"k", b"w")])
            assert store.get("data", b"k") == b"w"
    assert sorted(os.listdir(folder / "cut")) == ["data.mdb", "lock.mdb", "new"]
    assert (folder / "cut" / "new" / "mine").read_text() == "a user's"


def test_a_small_store_and_a_foreign_file_are_never_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have the size they were made with, whatever that of the machine is."""
    with LmdbStore(folder / "small", durable=False) as store:
        store.write([Edit("data", b"k", b"v")])
    monkeypatch.setattr(mmap, "PAGESIZE", 1 << 20)
    with LmdbStore(folder / "small", durable=False) as store:
        assert store.get("data", b"k") == b"v"
    (folder / "foreign").mkdir()
    (folder / "foreign" / "data.mdb").write_bytes(b"something of somebody else's, which is longer than a mark")
    with pytest.raises(StoreError):
        LmdbStore(folder / "foreign", durable=False)
    assert (folder / "foreign" / "data.mdb").read_bytes().startswith(b"something")


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
    for use in (lambda: snapshot.get(b"k"), lambda: list(scan), lambda: store.snapshot("data"), lambda: store.exclusive(lambda now: None)):
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
