"""Which machine has an attempt: where most of its bytes are, if a worker there is idle; another one, if it failed on that."""

from __future__ import annotations

from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from dataflow.driving.pool import MISSTARTS, PooledWorker, Queued
from dataflow.errors import DataflowError
from dataflow.physical.program import ShuffleInput, TaskInput
from dataflow.scheduling.events import AttemptId
from dataflow.shard.runfile import Block, RunFile
from runners.ray.holding import Holding
from runners.ray.machine import Machine, RemoteProcess
from runners.ray.pool import ClusterPool

pytestmark = [pytest.mark.ray]


LINK: Any = None  # nobody is asked


def worker(place: str) -> Any:
    channel: Any = None
    return PooledWorker(
        RemoteProcess(Machine(place, None, LINK, Holding(place, {"CPU": 1}), Holding(place, {}), place=place), "worker-0"), channel
    )


def file(place: str, *lengths: int) -> RunFile:
    """A file with a block for every ten buckets."""
    blocks = tuple(Block(0, length, 0, 1, first=10 * at, last=10 * at + 9) for at, length in enumerate(lengths))
    return RunFile(f"/{place}", "map/0", blocks, place=place)


@pytest.fixture
def pool() -> Any:
    made: Any = object.__new__(ClusterPool)
    made.queue, made.leaving = deque(), set()
    return made


def test_a_reader_of_a_shuffle_goes_to_the_machine_with_most_bytes_of_its_range(pool: Any) -> None:
    a, b = worker("a"), worker("b")
    files = (file("a", 1000, 10), file("b", 20, 100))
    for first, last, best in ((0, 10, a), (10, 20, b)):
        assert pool._best([a, b], SimpleNamespace(input=TaskInput(shuffle=ShuffleInput(files, first, last, 0)))) is best


def test_a_reader_of_files_goes_to_the_machine_with_most_of_their_bytes(pool: Any) -> None:
    a, b = worker("a"), worker("b")
    assert pool._best([a, b], SimpleNamespace(input=TaskInput(files=(file("a", 5), file("b", 3), file("b", 3))))) is b


def test_a_worker_has_of_those_that_wait_the_one_with_most_bytes_on_its_machine(pool: Any) -> None:
    program: Any = SimpleNamespace(phase="p", resources=None)

    def queued(number: int, place: str, size: int, attempt: int = 0) -> Queued:
        return Queued(AttemptId(f"p/{number}", attempt), program, lambda: None, (file(place, size),))  # type: ignore[arg-type, return-value]

    far, near, nearer = queued(0, "b", 10), queued(1, "a", 5), queued(2, "a", 6)
    pool.queue.extend([far, near, nearer])
    assert pool._nearest(worker("a")) is nearer and pool._nearest(worker("b")) is far and pool._nearest(worker("c")) is far
    again = queued(3, "b", 10, 1)
    pool.queue.appendleft(again)
    assert pool._nearest(worker("a")) is again


def test_what_runs_again_goes_to_another_machine_while_there_is_one(pool: Any) -> None:
    program: Any = SimpleNamespace(phase="p", resources=None)
    a, also_a, b = worker("a"), worker("a"), worker("b")
    pool.workers = [a, also_a, b]
    a.ran.add("map/0")
    first, again = (Queued(AttemptId("map/0", number), program, lambda: None, ()) for number in (0, 1))  # type: ignore[arg-type,return-value]
    assert pool._suited(also_a, first) and pool._suited(b, again)
    assert not pool._suited(a, again) and not pool._suited(also_a, again)
    pool.leaving = {b}
    assert pool._suited(also_a, again)
    pool.leaving = set()
    b.ran.add("map/0")
    assert pool._suited(also_a, again) and pool._suited(b, again)


def test_a_machine_where_no_worker_starts_is_left_while_there_are_others(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (worker(place).body.machine for place in ("a", "b"))
    pool.misstarts_on, pool.launched, pool.seats, left = Counter(), {}, {bad: Counter(), good: Counter()}, []
    pool.cluster = SimpleNamespace(machines={"a": bad, "b": good})
    monkeypatch.setattr(pool, "_gone", left.append)
    for number in range(MISSTARTS):
        assert left == []
        pool.starting = {number: (bad, None)}
        pool._not_started(number, "no room")
    assert left == [bad]
    pool.cluster.machines = {"a": bad}
    pool.starting = {9: (bad, None)}
    with pytest.raises(DataflowError, match="no room"):
        pool._not_started(9, "no room")
