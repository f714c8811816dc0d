"""The unmodified protocol under every schedule: about 50,000 of them, or a million and more by ``DATAFLOW_TEST_SIZE=large``."""

from __future__ import annotations

import os

import pytest

from tests.txn.scenarios import SCENARIOS, Scenario, run_scenario
from tests.txn.schedules import Bounds, Turns, explore

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


@pytest.mark.timeout(3_600 if LARGE else 300)
@pytest.mark.parametrize("one", SCENARIOS.values(), ids=lambda one: one.name)
def test_snapshot_isolation_under_every_schedule(one: Scenario) -> None:
    bounds = one.large if LARGE else one.small
    found = run_scenario(one, bounds, 150_000 if LARGE else 6_000)
    assert not found.failure, f"{found.failure}\nschedule {found.schedules} of {bounds}: choices {found.choices}"
    assert found.schedules > 50, found
    print(f"{one.name}: {found.schedules} schedules, {found.deaths} deaths{'' if found.complete else ', not all'}")


# The scheduler itself


def test_all_orders_of_two_actors_are_tried_once() -> None:
    seen = []

    def play(turns: Turns) -> None:
        order: list[str] = []

        def actor(name: str) -> None:
            for number in range(2):
                turns.point()
                order.append(f"{name}{number}")

        for name in "ab":
            turns.add(name, lambda name=name: actor(name))
        with turns.cleared():
            turns.run()
        seen.append(" ".join(order))

    found = explore(play, Bounds(preemptions=9, deaths=0))
    assert found.complete
    assert sorted(set(seen)) == sorted(["a0 a1 b0 b1", "a0 b0 a1 b1", "a0 b0 b1 a1", "b0 a0 a1 b1", "b0 a0 b1 a1", "b0 b1 a0 a1"])
    assert {one for one in seen if found.schedules} == set(seen)


def test_a_dead_actor_does_nothing_more_not_even_in_its_finally() -> None:
    done: list[str] = []

    def play(turns: Turns) -> None:
        def actor() -> None:
            try:
                turns.point()
                done.append("went on")
            finally:
                turns.point()
                done.append("cleared up")

        turns.add("a", actor)
        with turns.cleared():
            turns.run()

    found = explore(play, Bounds(preemptions=0, deaths=1))
    assert (found.schedules, found.deaths) == (3, 2)
    assert done == ["went on", "cleared up", "went on"]
