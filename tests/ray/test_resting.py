"""What a run has no use for is given back while it goes on, and taken again when it has."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from runners.ray import cluster, pool
from tests.ray.conftest import NODE, until
from tests.ray.test_faults import meanwhile, numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no use for is given back at once."""
    monkeypatch.setattr(pool, "REST", 0.3)
    monkeypatch.setattr(cluster, "PENDING", 0.5)


def left(name: str) -> float:
    """What nobody holds."""
    import ray

    return float(ray.available_resources().get(name, 0))


def waits_for(path: Path, numbered: int) -> Any:
    """A step that waits at one number until a file is there."""

    def step(n: int) -> int:
        limit = time.monotonic() + 60
        while n == numbered and not os.path.exists(path) and time.monotonic() < limit:
            time.sleep(0.02)
        return n

    return step


def test_cores_are_given_back_while_there_is_no_use_for_them_and_taken_again(tmp_path: Path, options: Options) -> None:
    go, found = tmp_path / "go", list[float]()

    def watch(over: threading.Event) -> None:
        found.append(until(lambda: over.is_set() or left("CPU") >= 2, 60) and left("CPU"))
        go.touch()

    numbers(Pipeline(), 3, 3).collect(**options)  # the machines are there
    processes = tmp_path / "processes"
    processes.mkdir()

    def together(n: int, total: int) -> int:
        """With all cores again, or not before a while."""
        open(f"{processes}/{os.getpid()}", "w").close()
        while len(os.listdir(processes)) < 3 and time.time() < begun + 60:
            time.sleep(0.02)
        return n + total

    begun = time.time()
    with meanwhile(watch):
        p = Pipeline()
        total = numbers(p, 90, 3).map(waits_for(go, 5)).reduce(lambda a, b: a + b)
        sums = numbers(p, 6, 6).map(together, total).collect(**options)
    assert found == [2.0], "two of three cores had nothing to do"
    assert sorted(sums) == [n + sum(range(90)) for n in range(6)]
    assert len(os.listdir(processes)) == 3


def test_of_cores_that_others_took_meanwhile_the_rest_is_taken(tmp_path: Path, machines: Any, options: Options) -> None:
    import ray

    class Holder:
        def there(self) -> bool:
            return True

    numbers(Pipeline(), 3, 3).collect(**options)
    node = machines.add_node(**{**NODE, "num_cpus": 2}, resources={"resting": 2})
    began, go, held = tmp_path / "began", tmp_path / "go", list[Any]()

    def begin(n: int) -> int:
        began.touch()
        return n

    def take(over: threading.Event) -> None:
        if until(lambda: over.is_set() or (began.exists() and left("resting") >= 2), 60) and not over.is_set():
            held.append(ray.remote(Holder).options(num_cpus=1, resources={"resting": 1}).remote())
            ray.get(held[0].there.remote())
        go.touch()

    try:
        with meanwhile(take):
            first = numbers(Pipeline(), 40, 4).map(begin).resources(custom={"resting": 1}).map(waits_for(go, 5))
            sums = first.map(lambda n: (n % 4, n)).as_table().combine_per_key(sum)
            totals = sums.map(lambda pair: pair).resources(custom={"resting": 1}).collect(**options)
        assert held and sorted(totals) == [(k, sum(range(k, 40, 4))) for k in range(4)]
    finally:
        for actor in held:
            ray.kill(actor)
        machines.remove_node(node)


def test_gpus_are_held_no_longer_than_the_steps_that_ask_for_them(tmp_path: Path, machines: Any, options: Options) -> None:
    numbers(Pipeline(), 3, 3).collect(**options)
    node = machines.add_node(**NODE, num_gpus=2)  # Ray counts what it is told
    go, found = tmp_path / "go", list[float]()

    def watch(over: threading.Event) -> None:
        found.append(until(lambda: over.is_set() or left("GPU") >= 2, 60) and left("GPU"))
        go.touch()

    def seen(n: int) -> tuple[int, str]:
        return n, os.environ["CUDA_VISIBLE_DEVICES"]

    try:
        with meanwhile(watch):
            first = numbers(Pipeline(), 20, 2).map(seen).resources(gpus=1)
            slow = first.map(lambda pair: (pair[1], pair[0])).as_table().combine_per_key(sum).map(lambda pair: (pair[0], pair[1]))
            again = slow.map(lambda pair: (waits_for(go, 190)(pair[1]), pair[0])).map(lambda pair: (*pair, seen(0)[1])).resources(gpus=1)
            ((total, before, after),) = again.collect(**options)
        assert total == sum(range(20)) and found == [2.0]
        assert before in {"0", "1"} and after in {"0", "1"}
    finally:
        machines.remove_node(node)
