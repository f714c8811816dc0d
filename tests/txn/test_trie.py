"""Unique integers percolate up a trie, while the workers that carry them die: the root's sum is the number of uniques.

100,000 integers, of which a twentieth is put twice; 10,000,000 with DATAFLOW_TEST_SIZE=large.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow.txn import Database, Transaction, members
from tests.txn.histories import read_histories
from tests.txn.nursery import Nursery
from tests.txn.trie import LEVELS, idle, leaf, plant

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
UNIQUES = 10_000_000 if LARGE else 100_000
WORKERS = 2
KILLS = 2_000 if LARGE else 24  # half of them while numbers are put, half while they percolate


@pytest.mark.timeout(36_000 if LARGE else 900)
def test_the_roots_sum_is_the_number_of_uniques_whoever_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, Any], None]
) -> None:
    pytest.importorskip("lmdb", reason="needs lmdb")
    monkeypatch.setattr(members, "LEASE", 0.5)
    rng = random.Random(1)
    numbers = rng.sample(range(16**6), UNIQUES)
    puts = numbers + rng.sample(numbers, UNIQUES // 20)
    rng.shuffle(puts)
    options = {"sync": False, "durable": False}
    place = {"address": f"lmdb:{tmp_path}/store", "open": options, "folder": str(tmp_path)}
    nursery = Nursery("tests.txn.trie:work")
    kills = 0
    begun = time.monotonic()
    try:
        with Database.open(place["address"], **options) as database:
            plant(database)
            workers = [nursery.start({**place, "name": f"w{n}"}) for n in range(WORKERS)]

            def kill() -> None:
                """One dies, and another comes."""
                nonlocal kills
                kills += 1
                which = rng.randrange(WORKERS)
                assert nursery.kill(workers[which]) == -signal.SIGKILL, read_histories(tmp_path)[1]
                workers[which] = nursery.start({**place, "name": f"w{WORKERS + kills}"})

            def put(t: Transaction, number: int) -> None:
                t[leaf(number), "in"] = 1

            for at in range(0, len(puts), 500):
                database.each(put, puts[at : at + 500], group=500)
                if at * KILLS // 2 // len(puts) > kills:
                    kill()
            loaded = time.monotonic() - begun
            first = _pending(database)
            before = 0
            while not idle(database):
                at_root = database.snapshot().get("0/", "seen") or 0
                assert before <= at_root <= UNIQUES
                before = at_root
                if (first - _pending(database)) * KILLS // 2 > (kills - KILLS // 2) * first:
                    kill()
                time.sleep(0.1)
            took = time.monotonic() - begun
            for worker in workers:
                assert nursery.kill(worker) == -signal.SIGKILL
            assert database.run_observers() == 0
            snapshot = database.snapshot()
            assert snapshot["0/", "seen"] == UNIQUES
            for level in LEVELS:
                assert sum(seen for _, seen in snapshot.scan(f"{level}/", f"{level}0", column="seen")) == UNIQUES
            assert not any(list(snapshot.scan(column=f"wait{level}")) for level in LEVELS)
            assert sum(1 for _ in snapshot.scan("leaf/", "leaf0", column="seen")) == UNIQUES
    finally:
        nursery.close()
    assert read_histories(tmp_path)[1] == []
    report = {"uniques": UNIQUES, "kills": kills, "seconds": round(took, 1), "of them loading": round(loaded, 1)}
    record_property("report", str(report))
    print(report)


def _pending(database: Database) -> int:
    return int(database.engine.store.sizes().keys["notify"])  # type: ignore[attr-defined]
