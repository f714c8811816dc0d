"""What only the embedded store promises: the log, one process, its folder, its snapshots."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Edit, Mutation, Range, open_store, pack, pack_element, successor
from dataflow.kv.embedded import FORMAT_KEY

rocksdict = pytest.importorskip("rocksdict")
from dataflow.kv.rocksdb import RocksStore

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
ALL = (b"", b"\x66")


@pytest.fixture
def store(folder: Path) -> Iterator[RocksStore]:
    opened = RocksStore(folder / "cells", cache="8MiB")
    yield opened
    opened.close()


def key(*parts: object) -> bytes:
    return pack(parts)


def raw(path: Path, *families: str) -> Any:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    return rocksdict.Rdict(str(path), options, column_families=dict.fromkeys(("default", *families), options))


# The log


def test_a_log_cut_anywhere_holds_a_prefix_with_all_that_was_synced_before_the_cut(store: RocksStore, folder: Path) -> None:
    (log,) = [Path(store.path, name) for name in os.listdir(store.path) if name.endswith(".log")]
    known = random.Random(7)
    writes, lengths = 120, [log.stat().st_size]
    for number in range(writes):
        edits = [Edit(family, key("r", number), known.randbytes(known.choice([3, 50, 3000]))) for family in ("data", "write")]
        if number % 3:
            store.write(edits, sync=True)
        else:
            store.mutate(Mutation(pack_element("r"), (), tuple(edits)), sync=True)
        lengths.append(log.stat().st_size)
    kept = folder / "kept"
    shutil.copytree(store.path, kept, ignore=shutil.ignore_patterns("LOCK"))
    cuts = [lengths[0], lengths[-1]] + [known.randrange(lengths[0], lengths[-1]) for _ in range(498 if LARGE else 18)]
    for cut in cuts:
        broken = folder / "cut"
        shutil.copytree(kept, broken)
        os.truncate(broken / log.name, cut)
        acknowledged = sum(length <= cut for length in lengths) - 1
        with RocksStore(broken, cache="8MiB") as again:
            for family in ("data", "write"):
                assert [found for found, _ in again.scan(family, *ALL)] == [key("r", number) for number in range(acknowledged)]
            again.write([Edit("data", key("r", 999), b"goes on")])
        shutil.rmtree(broken)


def test_a_full_disk_is_said_and_what_was_acknowledged_is_there(folder: Path) -> None:
    """The limit on a file's size stands for the disk: the log cannot grow beyond it."""
    program = """
import resource, sys
from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Edit, open_store, pack
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
done = 0
try:
    while True:
        store.write([Edit("data", pack(("r", done)), b"v" * 10_000)])
        done += 1
except OutcomeUnknownError as reason:
    print(done, str(reason).replace("\\n", " "))
try:
    store.write([Edit("data", pack(("r", done)), b"v")])
    print("written")
except StoreError:
    print("refused")
sys.stdout.flush()
import os; os._exit(0)
"""
    said = subprocess.run([sys.executable, "-c", program, str(folder / "cells")], capture_output=True, text=True)
    first, second = said.stdout.splitlines()
    done = int(first.split()[0])
    assert "the disk is full" in first
    assert done > 50
    assert second == "refused"  # RocksDB writes no more until it is opened again
    with RocksStore(folder / "cells") as again:
        assert len(list(again.scan("data", *ALL))) in (done, done + 1)


# Its folder


def test_a_second_process_is_told_who_has_the_store(store: RocksStore) -> None:
    program = "import sys; from dataflow.kv import open_store; open_store(sys.argv[1])"
    said = subprocess.run([sys.executable, "-c", program, store.path], capture_output=True, text=True)
    assert f"is open in process {os.getpid()}" in said.stderr
    assert "lmdb:folder" in said.stderr
    with pytest.raises(StoreError, match="already in this process"):
        RocksStore(store.path)
    store.write([Edit("data", b"k", b"v")])  # asking who has the lock has not let go of it
    assert "is open in process" in subprocess.run([sys.executable, "-c", program, store.path], capture_output=True, text=True).stderr


def test_a_store_that_another_makes_while_its_folder_is_looked_at_is_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look, looks, made = os.listdir, list[str](), list[RocksStore]()

    def made_meanwhile(path: str) -> list[str]:
        looks.append(path)
        if len(looks) == 1:
            made.append(RocksStore(path))
        return look(path)

    monkeypatch.setattr(os, "listdir", made_meanwhile)
    with pytest.raises(StoreError, match="is open already in this process"):
        RocksStore(folder)
    made[0].close()


def test_closed_it_is_free_at_once_even_in_the_middle_of_a_scan(store: RocksStore) -> None:
    store.write([Edit("data", key("r", number), b"") for number in range(100)])
    scan, snapshot = store.scan("data", *ALL), store.snapshot("data")
    frozen = snapshot.scan(*ALL)
    next(scan), next(frozen)
    store.close()
    with RocksStore(store.path) as again:
        assert again.get("data", key("r", 1)) == b""
    for left in (scan, frozen):
        with pytest.raises(StoreError, match="closed"):
            list(left)
    with pytest.raises(StoreError, match="closed"):
        snapshot.get(key("r", 1))


def test_a_newer_format_is_refused(store: RocksStore) -> None:
    store.write([Edit("meta", FORMAT_KEY, b"2 9.8.7")])
    store.close()
    with pytest.raises(StoreError, match=r"was written by dataflow-engine 9\.8\.7") as refused:
        RocksStore(store.path)
    assert "upgrade" in str(refused.value)
    families = raw(Path(store.path), "data", "lock", "write", "notify", "meta", "invented later")
    families.close()
    with pytest.raises(StoreError, match=r"9\.8\.7"):
        RocksStore(store.path)


def test_what_is_no_store_of_ours_is_left_alone(folder: Path) -> None:
    (folder / "file").write_text("x")
    with pytest.raises(StoreError, match="no such folder"):
        RocksStore(folder / "file")
    with pytest.raises(StoreError, match="holds other files"):
        RocksStore(folder)
    assert sorted(os.listdir(folder)) == ["file"]
    raw(folder / "foreign", "theirs").close()
    with pytest.raises(StoreError, match="something else"):
        RocksStore(folder / "foreign")
    other = raw(folder / "default only")
    other.put(b"k", b"v")
    other.close()
    with pytest.raises(StoreError, match="something else"):
        RocksStore(folder / "default only")
    for missing in (folder / "none", folder / "empty"):
        with pytest.raises(StoreError, match="no such folder|no store"):
            RocksStore(missing, read_only=True)
        assert not os.path.exists(folder / "none")
        (folder / "empty").mkdir(exist_ok=True)


def test_a_lost_file_is_no_empty_store(store: RocksStore) -> None:
    store.write([Edit("data", key("r"), b"v")])
    store.close()
    os.remove(os.path.join(store.path, "CURRENT"))
    with pytest.raises(StoreError, match="damaged"):
        RocksStore(store.path)


def test_a_damaged_block_is_an_error_wherever_it_is_met(store: RocksStore) -> None:
    known = random.Random(1)
    store.write([Edit("data", key("r", number), known.randbytes(400)) for number in range(2000)])
    store._families["data"].flush()
    store.close()
    (table,) = [
        Path(store.path, name)
        for name in os.listdir(store.path)
        if name.endswith(".sst") and os.path.getsize(os.path.join(store.path, name)) > 100_000
    ]
    damaged = bytearray(table.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    table.write_bytes(damaged)
    everything = Range("data", *ALL)
    with RocksStore(store.path) as again, again.snapshot("data") as snapshot:
        met = [number for number in range(2000) if _fails(lambda: again.get("data", key("r", number)))]
        assert met
        start, behind = key("r", met[0]), successor(key("r", met[-1]))
        for read in (
            lambda: list(again.scan(*everything)),
            lambda: list(again.scan(*everything, reverse=True)),
            lambda: list(again.scan("data", start, behind)),
            lambda: again.firsts([Range("data", start, behind)]),
            lambda: again.firsts([Range("data", start, behind), Range("data", start, behind)]),
            lambda: again.get_many("data", [key("r", number) for number in range(2000)]),
            lambda: snapshot.get(start),
            lambda: list(snapshot.scan(*ALL)),
            lambda: list(snapshot.scan(*ALL, reverse=True)),
        ):
            assert _fails(read)


def _fails(read: Any) -> bool:
    try:
        read()
    except StoreError as reason:
        assert "damaged" in str(reason) and "checkpoint" in str(reason)
        return True
    return False


def test_for_reading_only(store: RocksStore) -> None:
    store.write([Edit("data", key("r"), b"v")])
    with RocksStore(store.path, read_only=True) as reader:  # while another has it open
        assert reader.get("data", key("r")) == b"v"
        assert list(reader.scan("data", *ALL)) == [(key("r"), b"v")]
        with pytest.raises(StoreError, match="reading only") as refused:
            reader.write([Edit("data", key("r"), b"w")])
        assert not isinstance(refused.value, OutcomeUnknownError)
        with pytest.raises(StoreError, match="reading only"):
            reader.mutate(Mutation(pack_element("r"), (), (Edit("data", key("r"), b"w"), Edit("data", key("s"), b"w"))))


def test_a_fork_is_told_so_and_harms_nothing(store: RocksStore) -> None:
    store.write([Edit("data", key("r"), b"v")])
    program = """
import os, sys
from dataflow.errors import StoreError
from dataflow.kv import Edit, open_store
store = open_store(sys.argv[1])
store.write([Edit("data", b"k", b"v")])
snapshot = store.snapshot("data")
child = os.fork()
if child == 0:
    try:
        store.get("data", b"k")
    except StoreError as reason:
        store.close()
        sys.exit(7 if "fork" in str(reason) else 8)  # an ordinary end, which clears away all objects
    sys.exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
store.write([Edit("data", b"k2", b"v")])
print(store.get("data", b"k2"), snapshot.get(b"k"))
store.close()
print(open_store(sys.argv[1]).get("data", b"k2"))
"""
    said = subprocess.run([sys.executable, "-c", program, store.path + "2"], capture_output=True, text=True, timeout=60)
    assert said.stdout.split() == ["7", "b'v'", "b'v'", "b'v'"], said.stderr


# Copies


def test_a_checkpoint_is_a_whole_store_of_one_moment(store: RocksStore, folder: Path) -> None:
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            store.write([Edit("data", key("r", number), b"v"), Edit("write", key("r", number), b"v")], sync=False)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            store.checkpoint(folder / f"copy{number}")
    finally:
        done.set()
        writer.join()
    counts = []
    for number in range(3):
        with RocksStore(folder / f"copy{number}") as copy:
            there = [found for found, _ in copy.scan("data", *ALL)]
            assert there == [found for found, _ in copy.scan("write", *ALL)] == [key("r", one) for one in range(len(there))]
            counts.append(len(there))
    assert counts == sorted(counts)
    with pytest.raises(StoreError, match="cannot be copied"):
        store.checkpoint(folder / "copy0")


def test_a_snapshot_stays_as_it_was_over_flushes_and_compactions(store: RocksStore) -> None:
    store.write([Edit("data", key("r", number), b"old") for number in range(300)])
    with store.snapshot("data") as before:
        store.write([Edit("data", key("r", number), b"new" if number % 2 else None) for number in range(500)])
        store._families["data"].flush()
        store._families["data"].compact_range(None, None)
        old = [(key("r", number), b"old") for number in range(300)]
        assert list(before.scan(*ALL)) == old
        assert list(before.scan(*ALL, reverse=True)) == old[::-1]
        assert list(before.scan(key("r", 10), key("r", 13))) == old[10:13]
        assert before.get_many([key("r", 0), key("r", 1), key("r", 400)]) == [b"old", b"old", None]


def test_keys_and_ranges_of_a_snapshot_are_of_one_moment_while_others_write(store: RocksStore) -> None:
    store.write([Edit("data", b"0", b"0")])
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            store.write([Edit("data", b"0", b"%d" % number)], sync=False)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3000 if LARGE else 300):
            with store.snapshot("data") as frozen:
                assert next(frozen.scan(*ALL))[1] == frozen.get(b"0")
    finally:
        done.set()
        for writer in writers:
            writer.join()


def test_sizes(store: RocksStore) -> None:
    store.write([Edit("data", key("r", number), b"v" * 1000) for number in range(100)])
    sizes = store.sizes()
    assert sizes.keys["data"] == 100
    assert sizes.keys["lock"] == 0
    assert sizes.disk > 100_000


def test_plain_paths_open_it(folder: Path) -> None:
    with RocksStore(folder / "a") as store:
        store.write([Edit("data", b"k", b"v")])
    for address in (folder / "a", str(folder / "a"), f"rocksdb:{folder}/a", f"rocksdb://{folder}/a"):
        opened = open_store(address)
        assert opened.get("data", b"k") == b"v"
        opened.close()
