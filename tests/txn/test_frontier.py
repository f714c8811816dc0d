"""A look over shards is not of one moment: what an observer's run does behind it and before it must not be missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from dataflow.kv import Entry, MemoryStore, pack_element
from dataflow.kv.sharded import ShardedStore
from dataflow.txn import Database, Transaction
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine
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
    """A change on the second shard, whose observer changes a cell on the first that is observed, too."""

    def __init__(self) -> None:
        self.second = _Interrupted()
        self.store = ShardedStore([MemoryStore(), self.second])
        self.oracle = StoreOracle(self.store.shards[0])
        self.rows = [next(row for row in count() if self.store.shard_of(pack_element(row)) == shard) for shard in (0, 1)]
        self.watcher, self.other = self.database(), self.database()
        with self.watcher.transaction() as t:
            t[self.rows[1], "x"] = 1
        assert t.committed is not None
        self.changed: int = t.committed

    def database(self) -> Database:
        made = Database(PercolatorEngine(self.store, self.oracle, life=0.0, sync=False))

        @made.observer("x")
        def hop(t: Transaction, row: Any, value: Any) -> None:
            t[self.rows[0], "y"] = value

        @made.observer("y")
        def end(t: Transaction, row: Any, value: Any) -> None:
            """Nothing follows."""

        return made

    def hop_at(self, look: int) -> list[int]:
        """Run the first observer, and not the second, at the so-manieth look of the watcher; gives the looks there were."""
        looks: list[int] = []
        busy: list[None] = []

        def meanwhile() -> None:
            if busy:
                return
            looks.append(len(looks))
            if len(looks) == look:
                busy.append(None)
                asked = iter((False, True))
                assert self.other.run_observers(until=lambda: next(asked)) == 1
                busy.clear()

        self.second.meanwhile = meanwhile
        return looks


@pytest.mark.parametrize("look", range(1, 5))
def test_the_frontier_does_not_pass_a_chain_that_goes_on_behind_its_look(look: int) -> None:
    chain = _Chain()
    looks = chain.hop_at(look)
    for _ in range(3):
        assert chain.watcher.frontier() < chain.changed
    assert len(looks) > look
    chain.watcher.run_observers()
    assert chain.watcher.frontier() > chain.changed


@pytest.mark.parametrize("look", range(1, 4))
def test_workers_are_not_idle_while_a_chain_goes_on_behind_their_look(look: int) -> None:
    chain = _Chain()
    observers = chain.watcher._observers._by_column
    worker = Worker(chain.watcher, observers, "raise")
    worker._members.leave()  # it only looks
    chain.hop_at(look)
    for _ in range(3):
        assert not worker._idle()
    chain.watcher.run_observers()
    assert worker._idle()
