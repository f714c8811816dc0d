"""Collectors and what others left, or still use: notes of the oldest snapshots, and locks of the dead.

The collectors here live for one collection, as those of a command line do; they have all they know from the store.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataflow.errors import SnapshotTooOldError
from dataflow.kv import Edit, MemoryStore, pack, pack_element
from dataflow.txn import Database, active, ground
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.prewrite import Intent, plan_locks, prewrite
from dataflow.txn.transaction import cell_key


class Shared(MemoryStore):
    """What several processes have open."""

    shared = True


class Processes:
    """Processes on one store, by one clock that goes on when somebody waits."""

    def __init__(self) -> None:
        self.store = Shared()
        self.oracle = StoreOracle(self.store)
        self.now = 100.0
        self.meanwhile: Callable[[], object] = lambda: None

    def engine(self) -> PercolatorEngine:
        made = PercolatorEngine(self.store, self.oracle, life=3.0, sync=False)
        made.ground.clock = lambda: self.now
        made.ground.pause = self.wait
        return made

    def wait(self, seconds: float) -> None:
        self.now += 0.25
        self.meanwhile()

    def change(self, times: int) -> None:
        engine = self.engine()
        for number in range(times):
            with Database(engine).transaction() as t:
                t["a", "x"] = number
        engine.close()

    def collect(self) -> int:
        """The versions that a process removed that did nothing else."""
        engine = self.engine()
        removed = engine.collect()[1]
        engine.close()
        return removed

    def notes(self) -> int:
        return sum(1 for _ in self.store.scan("meta", pack_element("active"), pack_element("active") + b"\xff"))


def test_what_a_dead_process_used_is_collected_by_the_next_that_collects() -> None:
    here = Processes()
    here.store.write([Edit("meta", pack(("active", b"dead")), (1).to_bytes(8, "big") + bytes(8))])
    here.change(3)
    began = here.now
    assert here.collect() == 2
    assert active.SILENT <= here.now - began < active.SILENT + 1
    assert here.notes() == 0
    here.change(3)
    began = here.now
    assert here.collect() == 3
    assert here.now == began, "there is nobody to wait for"


def test_what_a_living_process_uses_is_kept_for_as_long_as_it_says_so() -> None:
    here = Processes()
    here.change(1)
    living = here.engine()
    snapshot = living.begin()
    here.change(2)
    here.meanwhile = living._notes.beat  # type: ignore[union-attr]
    began = here.now
    assert here.collect() == 0
    assert here.now - began < 1, "one note is enough to know that it lives"
    assert snapshot.get(cell_key("a", "x")) is not None
    snapshot.close()
    assert here.collect() == 2  # it has none in use any more, and says so after a while
    assert here.notes() == 0


def test_a_process_that_ends_takes_its_note_away() -> None:
    here = Processes()
    engine = here.engine()
    snapshot = engine.begin()
    assert here.notes() == 1
    engine.close()
    assert here.notes() == 0
    here.change(2)
    assert here.collect() == 1
    with pytest.raises(SnapshotTooOldError):
        engine.as_of(snapshot.timestamp)


def test_a_snapshot_of_the_past_is_noted_at_once() -> None:
    here = Processes()
    here.change(1)
    old = here.oracle.next()
    here.change(2)
    living = here.engine()
    recent = living.begin()
    past = living.as_of(old)
    here.meanwhile = living._notes.beat  # type: ignore[union-attr]
    assert here.collect() == 0
    recent.close()
    past.close()


@pytest.mark.parametrize("cells", [1, 20])
@pytest.mark.parametrize("what", ["collect", "frontier"])
def test_locks_of_the_dead_hold_back_nobody_however_many(what: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "_REMEMBERED", 10)
    here = Processes()
    here.change(1)
    dead = here.engine()
    keys = [cell_key(f"b{number}", "x") for number in range(cells)]
    intent = Intent(here.oracle.next(), dict.fromkeys(keys, b"1"))
    assert prewrite(dead.ground, [plan_locks(dead.ground, intent)]) == [None]
    here.change(2)
    if what == "collect":
        assert here.collect() == 2 + cells  # with their tombstones
    else:
        engine = here.engine()
        assert engine.frontier() < intent.start
        here.now += 3
        assert engine.frontier() > intent.start
    assert not list(here.store.scan("lock", b"\x01", b"\xff"))
