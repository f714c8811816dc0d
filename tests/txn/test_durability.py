"""What was acknowledged is on the disk: the log cut at any byte, a disk that is full, an fsync that fails.

The embedded engine on RocksDB, one fsync a group of commits. A cut stands for a machine that lost power while the log was written: the
rest of the log is not there. Then every commit that was acknowledged before the log had that length is there, in order, and whole.

20 cuts; 500 with DATAFLOW_TEST_SIZE=large.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dataflow.errors import ConflictError
from dataflow.txn import Database
from dataflow.txn.transaction import cell_of
from tests.txn.nursery import ROOT

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
CUTS = 500 if LARGE else 20
THREADS, EACH = 4, 60


class Acknowledged(NamedTuple):
    """A commit: when, what it wrote, and how long the log was when it was answered."""

    commit: int
    writes: dict[str, Any]
    length: int


def _observed(database: Database) -> Database:
    @database.observer("x")
    def seen(t: Any, row: str, value: Any) -> None:
        if value is None:
            t.delete(row, "seen")
        else:
            t[row, "seen"] = value

    return database


def _log(folder: Path) -> Path:
    (log,) = folder.glob("*.log")
    return log


def commits_of_threads(database: Database, folder: Path) -> list[Acknowledged]:
    """Threads that commit at once, in groups: several cells each, some of them deletes, some longer than a block of the log."""
    log, done, mutex = _log(folder), list[Acknowledged](), threading.Lock()

    def thread(number: int) -> None:
        rng = random.Random(number)
        for at in range(EACH):
            t = database.transaction()
            writes: dict[str, Any] = {}
            for row in rng.sample(range(40), rng.randint(1, 5)):
                text = f"{number}.{at}" + "v" * rng.choice([0, 10, 300, 40_000])
                writes[f"{number}/{row}"] = None if t.get(f"{number}/{row}", "x") is not None and rng.random() < 0.2 else text
            for row, value in writes.items():
                if value is None:
                    t.delete(row, "x")
                else:
                    t[row, "x"] = value
            commit = t.commit()
            with mutex:
                done.append(Acknowledged(commit, writes, log.stat().st_size))

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sorted(done)


def test_the_log_cut_anywhere_leaves_whole_commits_in_order_up_to_the_cut(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict", reason="needs rocksdict")
    folder = tmp_path / "store"
    database = _observed(Database.open(str(folder), history=True, cache="8MiB"))
    first = _log(folder).stat().st_size
    done = commits_of_threads(database, folder)
    assert len(done) == THREADS * EACH == len({one.commit for one in done})
    shutil.copytree(folder, tmp_path / "kept", ignore=shutil.ignore_patterns("LOCK"))
    database.close()
    log = _log(tmp_path / "kept").name
    last = (tmp_path / "kept" / log).stat().st_size
    rng = random.Random(3)
    for cut in [first, last, *(rng.randrange(first, last) for _ in range(CUTS - 2))]:
        shutil.copytree(tmp_path / "kept", tmp_path / "cut")
        os.truncate(tmp_path / "cut" / log, cut)
        with _observed(Database.open(str(tmp_path / "cut"), cache="8MiB")) as again:
            _is_a_prefix(again, done, cut)
        shutil.rmtree(tmp_path / "cut")


def _is_a_prefix(again: Database, done: list[Acknowledged], cut: int) -> None:
    from dataflow.txn.records import timestamp_in

    store = again.engine.store
    times = {timestamp_in(key) for key, _ in store.scan("write", b"\x01", b"\xff")}
    newest = max(times, default=0)
    assert times == {one.commit for one in done if one.commit <= newest}, "a commit in the middle is missing"
    assert newest >= max((one.commit for one in done if one.length <= cut), default=0), "an acknowledged commit is lost"
    state: dict[str, Any] = {}
    for one in done:
        if one.commit <= newest:
            state |= one.writes
    whole = {row: value for row, value in state.items() if value is not None}
    assert {row: value for (row, _), value in again.snapshot().scan(column="x")} == whole, "a commit is there in part"
    assert {cell_of(pending.key)[0] for pending in again.engine.dirty(b"\x01", b"\xff")} == state.keys(), "a change without notification"
    for at in {newest // 3, newest // 2, newest} - {0}:
        past = {row: value for (row, _), value in again.as_of(at).scan(column="x")}
        then: dict[str, Any] = {}
        for one in done:
            if one.commit <= at:
                then |= one.writes
        assert past == {row: value for row, value in then.items() if value is not None}
    again.run_observers()
    assert {row: value for (row, _), value in again.snapshot().scan(column="seen")} == whole
    with again.transaction() as t:
        t["new", "y"] = "goes on"
    assert t.committed is not None
    assert t.committed > newest
    if newest:
        assert t.committed > done[-1].commit, "a time that was given out before the cut was given out again"


# -- disks that fail

_FAILING = """
import json, os, resource, signal, sys, threading
from dataflow.errors import ConflictError, OutcomeUnknownError, StoreError
from dataflow.txn import Database
address, said, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
database = Database.open(address)
file = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
else:
    os.environ["FSYNC_FAILS"] = "1"
    open(said + ".armed", "w").close()
def say(*what):
    os.write(file, json.dumps(what).encode() + b"\\n")
def thread(number):
    for at in range(5000):
        name = f"{number}.{at}"
        t = database.transaction()
        t.get("any", "x")
        for part in range(3):
            t[f"{name}/{part}", "x"] = name + "v" * 500
        say("begun", name)
        try:
            say("done", name, t.commit())
        except StoreError as reason:
            say("failed", name, type(reason).__name__, str(reason))
            break
threads = [threading.Thread(target=thread, args=(n,)) for n in range(3)]
for one in threads: one.start()
for one in threads: one.join()
try:
    with database.transaction() as t:
        t["afterwards", "x"] = 1
    say("done afterwards", "afterwards", t.committed)
except StoreError as reason:
    say("refused afterwards", "afterwards", type(reason).__name__, str(reason))
os._exit(0)
"""

_SHIM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
static int left = 25;
static int fails(void) {
    const char *armed = getenv("FSYNC_ARMED");
    if (!armed || access(armed, F_OK)) return 0;
    return --left < 0 && left > -4;  /* three of them, and then the disk is well again: worse than one that stays broken */
}
int fsync(int file) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fsync, file); }
int fdatasync(int file) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, file); }
"""


def _run_failing(tmp_path: Path, address: str, limit: int, **environment: str) -> dict[str, list[Any]]:
    said = tmp_path / "said"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-c", _FAILING, address, str(said), str(limit)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    steps: dict[str, list[Any]] = {}
    for line in said.read_text().splitlines():
        what, name, *more = json.loads(line)
        steps.setdefault(what, []).append([name, *more])
    return steps


def _acknowledged_is_there(address: str, steps: dict[str, list[Any]]) -> None:
    acknowledged = {name for name, _ in steps["done"]}
    open_ended = {name for (name,) in steps["begun"]} - acknowledged
    with Database.open(address) as again:
        there: dict[str, int] = {}
        for (row, _), value in again.snapshot().scan(column="x"):
            if row != "afterwards":
                name = row.partition("/")[0]
                assert value.startswith(name + "v")
                there[name] = there.get(name, 0) + 1
        assert set(there.values()) <= {3}, "half a transaction"
        assert acknowledged <= there.keys(), "an acknowledged commit is lost"
        assert there.keys() <= acknowledged | open_ended
        for name, time in steps.get("done afterwards", []):
            assert again.snapshot()[name, "x"] == 1 and time > max(commit for _, commit in steps["done"])
        with again.transaction() as t:
            t["goes", "on"] = True
        assert t.committed is not None and t.committed > max(commit for _, commit in steps["done"])


STORES = {"rocksdb": "rocksdict", "lmdb": "lmdb"}


@pytest.mark.parametrize("kind", STORES)
def test_a_full_disk_loses_nothing_that_was_acknowledged(kind: str, tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk."""
    pytest.importorskip(STORES[kind], reason=f"needs {STORES[kind]}")
    address = f"{kind}:{tmp_path}/store"
    steps = _run_failing(tmp_path, address, 600_000)
    assert steps["done"] and steps["failed"], steps.keys()
    _acknowledged_is_there(address, steps)


@pytest.fixture(scope="module")
def failing_fsync(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that stands between a process and the disk, and lets some fsyncs fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux, to make fsync fail")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(_SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c"], check=True)
    return str(folder / "shim.so")


@pytest.mark.parametrize("kind", STORES)
def test_an_fsync_that_fails_is_no_acknowledgement(kind: str, tmp_path: Path, failing_fsync: str) -> None:
    pytest.importorskip(STORES[kind], reason=f"needs {STORES[kind]}")
    address = f"{kind}:{tmp_path}/store"
    steps = _run_failing(tmp_path, address, 0, LD_PRELOAD=failing_fsync, FSYNC_ARMED=f"{tmp_path}/said.armed")
    assert steps["done"] and steps["failed"], steps.keys()
    assert all(kind == "OutcomeUnknownError" for _, kind, _ in steps["failed"]), steps["failed"]
    _acknowledged_is_there(address, steps)


def test_conflicts_are_no_part_of_what_is_written(tmp_path: Path) -> None:
    """Of a group of which some conflict, the others are committed, and the log holds nothing of the refused."""
    pytest.importorskip("rocksdict", reason="needs rocksdict")
    with Database.open(str(tmp_path / "store")) as database:
        outcomes: list[str] = []
        barrier = threading.Barrier(4)

        def thread(number: int) -> None:
            t = database.transaction()
            t.get("same", "x")
            t["same", "x"] = t[f"own {number}", "x"] = number
            barrier.wait()
            try:
                t.commit()
                outcomes.append(f"own {number}")
            except ConflictError:
                pass

        threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
        run: Callable[[threading.Thread], None] = threading.Thread.start
        for act in (run, threading.Thread.join):
            for one in threads:
                act(one)
    with Database.open(str(tmp_path / "store")) as again:
        rows = {row for (row, _), _ in again.snapshot().scan() if row.startswith("own")}
    assert rows == set(outcomes) and len(rows) == 1
