"""Workers with different observers: nobody's rows are forgotten, and no notification is taken away from an observer that has not run."""

from __future__ import annotations

import pytest

from dataflow.errors import TransactionError
from dataflow.kv import MemoryStore
from dataflow.txn import Database, Transaction
from dataflow.txn.embedded import EmbeddedEngine
from dataflow.txn.ledger_owned import OwnedLedger
from dataflow.txn.members import LEASE, Members
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine

PARTS = [b"%d" % number for number in range(100)]


class _Some:
    """Workers on one store, with one clock."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = 0.0

    def member(self, **observers: list[str]) -> Members:
        return Members(self.store, lambda: self.now, lambda: observers)

    def look(self, *members: Members) -> None:
        for _ in range(2):
            self.now += LEASE / 4
            for member in members:
                member.look()


def test_a_column_is_divided_among_those_who_observe_it() -> None:
    some = _Some()
    first, second, third = some.member(x=["f"]), some.member(x=["f"], y=["g"]), some.member(y=["g"])
    some.look(first, second, third)
    assert all(first.mine("x", part) != second.mine("x", part) for part in PARTS)
    assert all(second.mine("y", part) != third.mine("y", part) for part in PARTS)
    third.leave()
    some.look(first, second)
    assert all(second.mine("y", part) for part in PARTS)


def test_who_comes_with_other_observers_of_a_column_takes_nothing_of_it_and_gives_up() -> None:
    some = _Some()
    first = some.member(x=["f"], y=["g"])
    second = some.member(x=["f", "h"], y=["g"])
    assert not any(second.mine("x", part) for part in PARTS)
    some.now += LEASE / 4
    second.look()  # it may be dead
    assert not any(second.mine("x", part) for part in PARTS)
    first.look()
    assert all(first.mine("x", part) for part in PARTS)
    assert any(first.mine("y", part) != second.mine("y", part) for part in PARTS)
    some.now += LEASE / 4
    with pytest.raises(TransactionError, match="'x' is observed here by 'f' and 'h', and in process [0-9]+ by 'f'\n"):
        second.look()
    some.look(first)
    assert all(first.mine("x", part) for part in PARTS)


def test_what_a_dead_process_observed_is_no_hindrance() -> None:
    some = _Some()
    some.member(x=["f"])
    second = some.member(x=["g"])
    for _ in range(5):
        some.look(second)
    assert all(second.mine("x", part) for part in PARTS)


@pytest.mark.parametrize("engine", ["embedded", "percolator"])
def test_an_observer_that_only_another_process_has_is_not_forgotten(engine: str) -> None:
    """The first has a run under way when the second begins, with another observer of the column."""
    store = MemoryStore()
    made = EmbeddedEngine(OwnedLedger(store)) if engine == "embedded" else PercolatorEngine(store, StoreOracle(store))
    here, there, now = Database(made), Database(made), [0.0]
    here.clock = there.clock = lambda: now[0]
    ran: list[str] = []
    here.observer("x", name="f")(lambda t, row, value: ran.append("f"))
    there.observer("x", name="g")(lambda t, row, value: ran.append("g"))
    with here.transaction() as t:
        t["a", "x"] = 1
    beginning = Members(store, here.clock, lambda: {"x": ["f"]})

    def enough() -> bool:
        now[0] += LEASE / 4
        beginning.look()
        return False

    with pytest.raises(TransactionError, match="'x' is observed here by 'g', and in process [0-9]+ by 'f'"):
        there.run_observers(until=enough)
    assert ran == []
    beginning.leave()
    assert here.run_observers() == 1
    assert ran == ["f"]


def test_a_process_that_observes_one_column_does_not_wait_for_who_observes_another() -> None:
    engine = EmbeddedEngine(OwnedLedger(MemoryStore()))
    here = Database(engine)
    seen: list[int] = []

    @here.observer("x")
    def note(t: Transaction, row: int, value: int) -> None:
        seen.append(row)

    with here.transaction() as t:
        for row in range(50):
            t[row, "x"] = row
    now = [0.0]
    other = Members(engine.store, lambda: now[0], lambda: {"y": ["g"]})
    assert here.run_observers() == 50  # and does not wait until the other is taken for dead
    assert sorted(seen) == list(range(50))
    other.leave()
