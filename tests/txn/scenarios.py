"""The scenarios: small worlds in which a few actors do what is dangerous to do at the same time.

Each is a function that builds its actors in a `World`, and is played by `play` under every schedule. They are small on purpose: a row
or two, two or three actors, one transaction each, because all orders of their calls are tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from dataflow.errors import OutcomeUnknownError
from dataflow.txn import Database, Transaction
from dataflow.txn import worker as workers
from dataflow.txn.transaction import cell_key
from tests.txn.judge import acknowledged, changes, check
from tests.txn.schedules import Bounds, Explored, Turns, explore
from tests.txn.worlds import Noted, World

__all__ = ["SCENARIOS", "Scenario", "run_scenario"]


@dataclass
class Scenario:
    """``build``: makes the actors; what it gives, if anything, is called at the end. ``small``: bounds of the quick run."""

    name: str
    build: Callable[[World], Callable[[], None] | None]
    small: Bounds
    large: Bounds
    world: dict[str, Any] = field(default_factory=dict)
    observed: tuple[str, ...] = ()


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    small: float = 1.0, large: float = 1.0, *, preemptions: int = 2, deaths: int = 1, faults: int = 0,
    observed: tuple[str, ...] = (), **world: Any,
) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:  # fmt: skip
    """Register a scenario. ``small``, ``large``: the share of ways that are tried below the first that differs."""

    def registered(build: Callable[[World], Any]) -> Callable[[World], Any]:
        bounds = [Bounds(preemptions, 0 if world.get("together") else deaths, faults, share) for share in (small, large)]
        SCENARIOS[build.__name__] = Scenario(build.__name__, build, bounds[0], bounds[1], world, observed)
        return build

    return registered


def run_scenario(one: Scenario, bounds: Bounds, most: int | None = None, **world: Any) -> Explored:
    """Play a scenario under every schedule within the bounds."""

    def play(turns: Turns) -> None:
        made = World(turns, faulty=bounds.faults > 0, **(one.world | world))
        at_the_end = one.build(made)
        with turns.cleared():
            turns.run()
            check(made, one.observed)
            if at_the_end is not None:
                at_the_end()

    return explore(play, bounds, most)


def move(world: World, giver: str, taker: str, amount: int) -> Callable[[Database], None]:
    def transfer(database: Database) -> None:
        t = world.begin(database)
        left, there = t.get(giver), t.get(taker)
        t.put(giver, left - amount)
        t.put(taker, there + amount)
        t.commit()

    return transfer


def read_all(world: World, *rows: str) -> Callable[[Database], None]:
    def reader(database: Database) -> None:
        t = world.begin(database)
        for row in rows:
            t.get(row)
        t.commit()

    return reader


def write(world: World, **cells: Any) -> Callable[[Database], None]:
    def writer(database: Database) -> None:
        t = world.begin(database)
        for row, value in cells.items():
            t.put(row, value)
        t.commit()

    return writer


@scenario(small=0.2, large=0.5)
def two_transfers_and_a_reader(world: World) -> None:
    world.given(a=10, b=20)
    world.actor("first", move(world, "a", "b", 1))
    world.actor("second", move(world, "b", "a", 2))
    world.actor("reader", read_all(world, "a", "b"))


@scenario()
def a_transfer_and_a_reader_of_the_secondary(world: World) -> None:
    world.given(a=10, b=20)
    world.actor("moving", move(world, "a", "b", 1))
    world.actor("reader", read_all(world, "b", "a"))


@scenario(small=0.2, large=0.5)
def three_writers_of_overlapping_rows(world: World) -> None:
    """The primary of each is another's secondary."""
    world.actor("first", write(world, a=1, b=1))
    world.actor("second", write(world, b=2, c=2))
    world.actor("third", write(world, a=3, c=3))


@scenario()
def read_modify_write_of_one_cell(world: World) -> None:
    world.given(a=0)

    def add(database: Database) -> None:
        for _ in range(2):
            t = world.begin(database)
            t.put("a", (t.get("a") or 0) + 1)
            if t.commit():
                return

    world.actor("first", add)
    world.actor("second", add)


@scenario()
def write_skew_closed_by_hold(world: World) -> Callable[[], None]:
    world.given(a=1, b=1)

    def leave(me: str, other: str) -> Callable[[Database], None]:
        def leaving(database: Database) -> None:
            t = world.begin(database)
            if t.get(other):
                t.hold(other)
                t.put(me, 0)
                t.commit()

        return leaving

    world.actor("first", leave("a", "b"))
    world.actor("second", leave("b", "a"))

    def somebody_is_there() -> None:
        t = Noted(world, world.database())
        world.turns.point()
        assert t.get("a") or t.get("b"), "both have left"

    return somebody_is_there


@scenario()
def delete_and_recreate(world: World) -> None:
    world.given(a="old")

    def delete(database: Database) -> None:
        t = world.begin(database)
        t.put("a", None)
        t.put("b", 1)
        t.commit()
        again = world.begin(database)
        if again.get("a") is None:
            again.put("a", "new")
            again.commit()

    world.actor("deleting", delete)
    world.actor("other", write(world, a="other"))


@scenario()
def a_scan_beside_inserts(world: World) -> None:
    world.given(a=1, c=3)

    def scan(reverse: bool) -> Callable[[Database], None]:
        def scanning(database: Database) -> None:
            t = world.begin(database)
            first = t.scan("a", "z", reverse=reverse)
            assert first == t.scan("a", "z"), "a phantom"
            t.commit()

        return scanning

    world.actor("forwards", scan(False))
    world.actor("inserting", write(world, b=2, d=4))


@scenario()
def a_reverse_scan_beside_a_delete(world: World) -> None:
    world.given(a=1, b=2)

    def scanning(database: Database) -> None:
        t = world.begin(database)
        t.scan("a", "z", reverse=True)
        t.commit()

    world.actor("backwards", scanning)
    world.actor("changing", write(world, a=None, c=3))


@scenario(small=0.2, large=0.5)
def garbage_beside_a_reader_and_a_writer(world: World) -> None:
    world.given(a=1, b=1)
    world.given(a=2, b=None)

    def collect(database: Database) -> None:
        database.engine.collect(None)

    world.actor("reader", read_all(world, "a", "b"))
    world.actor("writer", move_or_make(world, "a", "b"))
    world.actor("collector", collect)


def move_or_make(world: World, giver: str, taker: str) -> Callable[[Database], None]:
    def moving(database: Database) -> None:
        t = world.begin(database)
        t.put(giver, t.get(giver) - 1)
        t.put(taker, (t.get(taker) or 0) + 1)
        t.commit()

    return moving


@scenario(small=0.2)
def garbage_of_what_an_old_reader_sees(world: World) -> None:
    world.given(a=1)

    def change_and_collect(database: Database) -> None:
        write(world, a=2)(database)
        database.engine.collect(None)

    world.actor("changing", change_and_collect)
    world.actor("reader", read_all(world, "a"))


def observing(world: World) -> None:
    """An observer that keeps in column "y" what stands in column "x"."""

    def register(database: Database) -> None:
        @database.observer("x")
        def copy(t: Transaction, row: Any, value: Any) -> None:
            world.looks.append((t.timestamp, cell_key(row, "x"), value))
            if value is None:
                t.delete(row, "y")
            else:
                t[row, "y"] = value

    world.observers.append(register)


class Everything:
    """All of the work is this worker's: two of them meet at every row."""

    def look(self) -> None:
        """Nobody to look for."""

    leave = look

    def mine(self, column: str, part: bytes) -> bool:
        """Yes."""
        return True


def work(world: World) -> Callable[[Database], None]:
    def working(database: Database) -> None:
        with mock.patch.object(workers, "Members", return_value=Everything()):
            worker = workers.Worker(database, database.observers._by_column, "raise")
        for _ in range(3):
            if not worker._round():
                break

    return working


def all_is_copied(world: World) -> Callable[[], None]:
    def copied() -> None:
        database = world.database()
        working = work(world)
        working(database)
        assert not [*database.engine.dirty(b"\x01", b"\xff")], "the observers are never done"
        cells = dict(database.snapshot().scan())
        assert {row: v for (row, c), v in cells.items() if c == "x"} == {row: v for (row, c), v in cells.items() if c == "y"}

    return copied


@scenario(small=0.7, observed=("copy",))
def an_observer_beside_a_writer(world: World) -> Callable[[], None]:
    observing(world)
    world.given(a=1)
    world.actor("worker", work(world))
    world.actor("writer", write(world, a=2, b=2))
    return all_is_copied(world)


@scenario(small=0.15, large=0.5, observed=("copy",))
def two_workers_at_one_row(world: World) -> Callable[[], None]:
    observing(world)
    world.given(a=1)
    world.actor("first", work(world))
    world.actor("second", work(world))
    world.actor("writer", write(world, a=None))
    return all_is_copied(world)


@scenario(together=True)
def one_phase_commits_beside_readers(world: World) -> None:
    world.given(a=10, b=20)
    world.actor("first", move(world, "a", "b", 1))
    world.actor("second", move(world, "b", "a", 2))
    world.actor("reader", read_all(world, "a", "b"))


@scenario(preemptions=1, deaths=0, faults=2)
def a_request_twice_beside_a_reader_of_the_secondary(world: World) -> None:
    """The reader rolls the writer back, and then the request that locks the primary comes once more."""
    world.given(a=10, b=20)
    world.actor("moving", write(world, a=1, b=1))
    world.actor("reader", read_all(world, "b"))


@scenario(deaths=0, faults=2, repeats="one")
def a_request_twice_after_its_garbage_was_collected(world: World) -> None:
    """The record that would refuse the second lock is gone, and that the transaction is committed stands at its primary still."""

    def change_and_collect(database: Database) -> None:
        write(world, a=2, b=2)(database)
        write(world, b=None)(database)
        for _ in range(2):
            with contextlib.suppress(OutcomeUnknownError):
                database.engine.collect(None)
            read_all(world, "b")(database)

    world.actor("changing", change_and_collect)


@scenario(small=0.3, large=0.7, preemptions=1, faults=3)
def requests_late_twice_or_unanswered(world: World) -> None:
    world.given(a=10, b=20)
    world.actor("moving", move(world, "a", "b", 1))
    world.actor("reader", read_all(world, "b", "a"))


@scenario(small=0.3, large=0.7, preemptions=1, faults=3)
def writers_with_requests_late_or_twice(world: World) -> None:
    world.actor("first", write(world, a=1, b=1))
    world.actor("second", write(world, b=2, a=2))


@scenario(small=0.5)
def groups_of_commits(world: World) -> None:
    """Two transactions in one call of the engine, which write a cell of each other, beside a third."""

    def group(database: Database) -> None:
        made = [world.begin(database) for _ in range(3)]
        for t, (row, other) in zip(made, (("a", "b"), ("b", "c"), ("d", "e")), strict=True):
            t.put(row, t.start)
            t.put(other, t.start)
        world.commit_group(database, made)

    world.actor("group", group)
    world.actor("single", write(world, d=1, b=1))


@scenario(small=0.15, large=0.5, observed=("copy",))
def a_frontier_beside_a_worker_and_a_writer(world: World) -> Callable[[], None]:
    """What the frontier is said to be is compared with what was acknowledged at that moment, also of commits that come after."""
    observing(world)
    world.given(a=1)
    said: list[tuple[int, dict[bytes, int]]] = []

    def watch(database: Database) -> None:
        for _ in range(2):
            frontier = database.engine.frontier()
            said.append((frontier, acknowledged(world)))

    world.actor("worker", work(world))
    world.actor("writer", write(world, a=2, b=2))
    world.actor("watcher", watch)

    def never_past_a_change() -> None:
        for frontier, acks in said:
            for key, commit in changes(world):
                assert commit > frontier or acks.get(key, 0) >= commit, f"the frontier was {frontier}, and {key!r} of {commit} not seen"

    return never_past_a_change


@scenario(together=True)
def a_frontier_beside_one_phase(world: World) -> Callable[[], None]:
    observing(world)
    said: list[int] = []
    world.actor("writer", write(world, a=2, b=2))
    world.actor("watcher", lambda database: said.append(database.engine.frontier()))

    def nothing_is_acknowledged() -> None:
        assert all(commit > frontier for frontier in said for _, commit in changes(world)), f"the frontier was {said}"

    return nothing_is_acknowledged
