"""A look over shards is not of one moment: what an observer's run does behind it and before it must not be missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

from dataflow.kv import Entry, MemoryStore, pack_element
from dataflow.kv.sharded import ShardedStore
from dataflow.txn import Database, Transaction
from dataflow.txn.ground import Ground
from dataflow.txn.hops import hopped, oldest_hop
from dataflow.txn.notify import Trail
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.records import NEVER
from dataflow.txn.transaction import cell_key
from dataflow.txn.worker import Worker


class _Interrupted(MemoryStore):
    """Something happens when its notifications are about to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        if family == "notify":
            self.meanwhile()
        yield from super().scan(family, start, stop, reverse=reverse, limit=limit)


class _Chain:
    """A change on the second shard, whose observer changes a cell on the first, whose observer changes that on the second, and so on."""

    def __init__(self) -> None:
        self.shards = [_Interrupted(), _Interrupted()]
        self.store = ShardedStore(self.shards)
        self.oracle = StoreOracle(MemoryStore())
        self.rows = [next(row for row in count() if self.store.shard_of(pack_element(row)) == shard) for shard in (0, 1)]
        self.watcher, self.other = self.database(), self.database()
        with self.watcher.transaction() as t:
            t[self.rows[1], "x"] = 40
        assert t.committed is not None
        self.changed: int = t.committed

    def database(self) -> Database:
        made = Database(PercolatorEngine(self.store, self.oracle, life=0.0, sync=False))

        def hop_to(column: str, shard: int) -> Callable[[Transaction, Any, int], None]:
            def hop(t: Transaction, row: Any, left: int) -> None:
                if left:
                    t[self.rows[shard], column] = left - 1

            return hop

        made.observer("x")(hop_to("y", 0))
        made.observer("y")(hop_to("x", 1))
        return made

    def hop(self) -> None:
        """Run one observer."""
        asked = iter((False, True))
        assert self.other.run_observers(until=lambda: next(asked)) == 1

    def hop_at(self, look: int) -> None:
        """Run one observer at the so-manieth look of the watcher."""
        looks: list[int] = []

        def meanwhile() -> None:
            looks.append(len(looks))
            if len(looks) == look:
                self.hop()

        self.shards[1].meanwhile = meanwhile

    def rest(self) -> None:
        """Nothing happens any more while somebody looks."""
        for shard in self.shards:
            shard.meanwhile = lambda: None

    def evade(self) -> None:
        """Run an observer whenever a shard is about to be looked at on which the chain is, each time the watcher looks."""
        busy: list[None] = []

        def meanwhile(shard: _Interrupted) -> None:
            if not busy:
                busy.append(None)
                if next(shard.scan("notify", b"\x01", b"\xff"), None) is not None:
                    self.hop()
                busy.clear()

        for shard in self.shards:
            shard.meanwhile = partial(meanwhile, shard)


@pytest.mark.parametrize("look", range(1, 5))
def test_the_frontier_does_not_pass_a_chain_that_goes_on_behind_its_look(look: int) -> None:
    chain = _Chain()
    chain.hop_at(look)
    for _ in range(4):
        assert chain.watcher.frontier() < chain.changed
    chain.watcher.run_observers()
    assert chain.watcher.frontier() > chain.changed


def test_the_frontier_does_not_pass_a_chain_that_goes_on_behind_every_look() -> None:
    chain = _Chain()
    chain.evade()
    for _ in range(10):
        assert chain.watcher.frontier() < chain.changed
    chain.rest()
    chain.watcher.run_observers()
    assert chain.watcher.frontier() > chain.changed


def test_nor_one_that_was_carried_on_by_a_worker_that_died_before_it_dropped_the_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker after it finds nothing to do, and drops the notification: it does not know what the dead one changed."""
    chain = _Chain()
    with monkeypatch.context() as dying:
        dying.setattr(PercolatorEngine, "drop", lambda self, seen, gone_on=None: None)
        chain.hop()
    scan = chain.store.scan("notify", b"\x01", b"\xff")
    assert {next(scan)[0][:-8], next(scan)[0][:-8]} == {cell_key(chain.rows[0], "y"), cell_key(chain.rows[1], "x")}
    until = chain.watcher.engine.now()
    asked = iter((False, True))
    chain.other.run_observers(until=lambda: next(asked))
    assert oldest_hop(chain.watcher.engine.ground, until) == chain.changed  # type: ignore[attr-defined]


def test_hops_hold_a_frontier_only_while_they_are_young() -> None:
    """As many writes as are remembered one by one, and a thousand times as many: what a look takes into account is twice its own length."""
    ground = Ground(MemoryStore(), StoreOracle(MemoryStore()))
    times = []
    for number in range(5_000):
        times.append(ground.oracle.next())
        hopped(ground, 1_000_000 + number)
    for number in (0, 1, 10, 100, 1_000, 4_000):
        found = oldest_hop(ground, times[-1 - number]) - 1_000_000
        assert 4_999 - 2 * number - 2 <= found <= 4_999 - number
    assert oldest_hop(ground, ground.oracle.next()) == NEVER


@pytest.mark.parametrize("look", range(1, 4))
def test_workers_are_not_idle_while_a_chain_goes_on_behind_their_look(look: int) -> None:
    chain = _Chain()
    observers = chain.watcher.observers._by_column
    worker = Worker(chain.watcher, observers, "raise")
    worker._members.leave()  # it only looks
    chain.hop_at(look)
    for _ in range(3):
        assert not worker._idle()
    chain.watcher.run_observers()
    assert worker._idle()


class _Shards:
    """Two shards, and databases with observers of "x", which is changed on the second; a cell "y" of the first is observed, too."""

    def __init__(self, observe: Callable[[Database, _Shards], None]) -> None:
        self.shards = [_Interrupted(), _Interrupted()]
        self.store, self.oracle, self.observe = ShardedStore(self.shards), StoreOracle(MemoryStore()), observe
        on = [[row for row in range(100) if self.store.shard_of(pack_element(row)) == shard] for shard in (0, 1)]
        self.y, (self.x, self.other) = on[0][-1], on[1][:2]  # so that the changes come before what they lead to
        self.watcher, self.worker = self.database(), self.database()
        self.changed = self.change(self.watcher, self.x, 7)

    def database(self) -> Database:
        made = Database(PercolatorEngine(self.store, self.oracle, life=0.0, sync=False))
        self.observe(made, self)

        @made.observer("y")
        def end(t: Transaction, row: Any, value: Any) -> None:
            """Nothing follows."""

        return made

    def change(self, database: Database, row: Any, value: Any) -> int:
        with database.transaction() as t:
            t[row, "x"] = value
        assert t.committed is not None
        return t.committed

    def round(self, database: Database, *, dies: bool = False) -> None:
        """A worker's round; it may die before it drops what it has done."""
        asked = iter((False, True))
        with pytest.MonkeyPatch.context() as dying:
            if dies:
                dying.setattr(database.engine, "drop", lambda seen, gone_on=None: None)
            database.run_observers(until=lambda: next(asked))

    def frontier_beside(self, act: Callable[[], object]) -> int:
        """What is told if something happens when the first shard was looked at, and the second was not."""
        left = [act]
        self.shards[1].meanwhile = lambda: left.pop()() if left else None
        return self.watcher.frontier()


def _says_it_once(database: Database, at: _Shards) -> None:
    @database.observer("x")
    def hop(t: Transaction, row: Any, value: Any) -> None:
        if t.get(at.y, "y") != value:
            t[at.y, "y"] = value


def _finishes(database: Database, at: _Shards) -> None:
    @database.observer("x")
    def hop(t: Transaction, row: Any, value: Any) -> None:
        if value is not None:
            t[at.y, "y"] = value
        t.finish(row, "x")


@pytest.mark.parametrize("then", ["the cell changes again", "a weak note comes", "it was finished"])
def test_what_a_dead_worker_carried_on_counts_though_the_next_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    monkeypatch.setattr("dataflow.txn.worker._BATCH", 1)
    at = _Shards(_finishes if then == "it was finished" else _says_it_once)

    def meanwhile() -> None:
        at.round(at.worker, dies=True)
        if then == "the cell changes again":
            at.change(at.worker, at.x, 7)
        elif then == "a weak note comes":
            at.worker.engine.note(cell_key(at.x, "x"), Trail(weak=True))
        at.round(at.database())

    assert at.frontier_beside(meanwhile) < at.changed
    assert [pending.key for pending in at.watcher.engine.dirty(b"\x01", b"\xff")] == [cell_key(at.y, "y")]


def _together(row: Any) -> int:
    return 0


def test_what_went_together_with_others_the_time_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two observers one has run for the change, and its cell goes together with another when the second has its turn."""
    monkeypatch.setattr("dataflow.txn.worker._BATCH", 2)
    conflicts = [2]  # the first run, and its repetition

    def observe(database: Database, at: _Shards) -> None:
        @database.observer("x", name="says", together=_together)
        def says(t: Transaction, changed: dict[Any, Any]) -> None:
            if 7 in changed.values():
                t[at.y, "y"] = 7

        @database.observer("x", name="conflicts", together=_together)
        def in_conflict(t: Transaction, changed: dict[Any, Any]) -> None:
            t["z", "seen"] = len(changed)
            if conflicts[0]:
                conflicts[0] -= 1
                with database.transaction() as other:
                    other["z", "seen"] = -1

    at = _Shards(observe)

    def meanwhile() -> None:
        at.round(at.worker)
        at.change(at.worker, at.other, 1)
        at.round(at.worker)

    assert at.frontier_beside(meanwhile) < at.changed


def test_the_frontier_does_not_go_back() -> None:
    """Old hops are remembered together with young ones, which might say less than was said."""
    chain = _Chain()
    chain.watcher.run_observers()
    said = chain.watcher.frontier()
    assert said > chain.changed
    for _ in range(3):
        chain.shards[1].meanwhile = lambda: hopped(chain.watcher.engine.ground, 1)  # type: ignore[attr-defined]
        assert chain.watcher.frontier() >= said
