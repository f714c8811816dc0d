"""Clocks of the wall that jump by hours, forwards and back: nothing here asks them, and time never goes back.

(The processes of `test_killed.py` live with such clocks, too.) Leases and lives are measured by monotonic clocks, each process by its own;
what two of them show may differ by any amount.
"""

from __future__ import annotations

import ast
import random
import threading
import time
from pathlib import Path

import pytest

import dataflow.kv
import dataflow.txn
from dataflow.errors import ConflictError
from dataflow.kv import MemoryStore
from dataflow.txn import Database
from dataflow.txn.members import LEASE, Members
from dataflow.txn.oracle import FileOracle, StoreOracle
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.prewrite import plan_locks, prewrite
from dataflow.txn.transaction import Transaction

WALL = {"time": ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime"), "datetime": ("now", "utcnow", "today")}


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock of the wall shows another hour."""
    rng, real = random.Random(1), time.time
    monkeypatch.setattr(time, "time", lambda: real() + rng.uniform(-7200.0, 7200.0))
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + rng.uniform(-7200.0, 7200.0)) * 1e9))


@pytest.mark.parametrize("package", [dataflow.kv, dataflow.txn])
def test_nothing_asks_the_clock_of_the_wall(package: object) -> None:
    asked = []
    for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):  # type: ignore[attr-defined]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in WALL:
                asked += [f"{path.name}:{node.lineno}" for name in node.names if name.name in (*WALL[node.module], "datetime", "date")]
            if isinstance(node, ast.Attribute) and node.attr in (*WALL["time"], *WALL["datetime"]):
                on = ast.unparse(node.value)
                if on in ("time", "datetime", "datetime.datetime", "date", "datetime.date"):
                    asked.append(f"{path.name}:{node.lineno}")
    # keys may hold dates; that is a value of the user's, not a clock
    assert asked == [one for one in asked if one.startswith("keys.py")]


def two_engines(behind: float) -> tuple[Database, Database]:
    """Two processes, as it were, on one store, whose monotonic clocks are far apart."""
    store = MemoryStore()
    oracle = StoreOracle(store)
    made = []
    for shift in (0.0, -behind):
        engine = PercolatorEngine(store, oracle, life=0.2)
        clock = lambda shift=shift: time.monotonic() + shift  # noqa: E731
        engine.ground.clock = clock
        made.append(Database(engine, clock=clock))
    return made[0], made[1]


@pytest.mark.usefixtures("jumping")
@pytest.mark.parametrize("behind", [0.0, 1e7, -1e7])
def test_a_lock_lives_its_life_whatever_the_clocks_say(behind: float) -> None:
    owner, other = two_engines(behind)
    engine = owner.engine
    assert isinstance(engine, PercolatorEngine)
    t = Transaction(owner, engine.begin())
    t["a", "x"], t["b", "x"] = 1, 2
    intent = t.intent()
    assert intent is not None
    assert prewrite(engine.ground, [plan_locks(engine.ground, intent)]) == [None]
    begun = time.monotonic()
    assert other.snapshot().get("a", "x") is None
    assert time.monotonic() - begun >= 0.2, "a living owner's lock was taken before its life was over"
    assert time.monotonic() - begun < 5.0
    assert other.resolve_locks() == 1
    assert other.locks() == []


@pytest.mark.usefixtures("jumping")
def test_timestamps_never_go_back(tmp_path: Path) -> None:
    first = Database.open("memory:", engine="percolator")
    store = first.engine.store
    last, commits = 0, list[int]()
    lock = threading.Lock()

    def increments(database: Database) -> None:
        for _ in range(50):
            before = max(commits, default=0)

            def add(t: Transaction) -> None:
                t["n", "x"] = t.get("n", "x", 0) + 1

            with lock:
                t = database.transaction()
                add(t)
                try:
                    commits.append(t.commit())
                except ConflictError:
                    continue
                assert commits[-1] > t.timestamp >= before

    threads = [threading.Thread(target=increments, args=(first,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert commits == sorted(set(commits)) and len(commits) == 150
    for _ in range(5):  # an oracle that dies and comes again, by a clock that says an earlier hour
        oracle = StoreOracle(store)
        now = oracle.next()
        assert now > max(*commits, last)
        last = now
    path = tmp_path / "oracle"
    shared = MemoryStore()
    assert [FileOracle(path, shared).next() for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("jumping")
def test_a_worker_is_dead_by_the_clock_of_who_looks_and_no_other() -> None:
    store = MemoryStore()
    here, there = [5.0], [1e9]
    first, second = (Members(store, clock, lambda: {"x": ["f"]}) for clock in (lambda: here[0], lambda: there[0]))
    parts = [b"%d" % n for n in range(50)]
    for _ in range(20):  # both live; each hears of the other by what it wrote, not by when it says it did
        here[0] += LEASE / 3
        there[0] += LEASE / 3
        first.look()
        second.look()
    assert all(first.mine("x", part) != second.mine("x", part) for part in parts)
    here[0] += LEASE / 3
    first.look()
    here[0] += LEASE
    first.look()  # the second was silent for a lease, of the first's clock
    assert all(first.mine("x", part) for part in parts)
