"""What a run has no use for is given back while it goes on, and taken again when it has."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from runners.ray import cluster, taking
from tests.ray.conftest import NODE, until
from tests.ray.test_faults import meanwhile, numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]
ELSEWHERE: Options = {"resources": {"elsewhere": 1}}
THERE: Options = {"custom": {"elsewhere": 1}}  # only a machine of that kind has it: the others have nothing to do meanwhile


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no use for is given back at once."""
    monkeypatch.setattr(cluster.Cluster, "rest", 0.3)
    monkeypatch.setattr(taking, "PENDING", 0.5)
    for module in (cluster, taking):
        monkeypatch.setattr(module, "LOOK", 0.2)


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
    meet = meeting(tmp_path / "processes")
    with meanwhile(watch):
        p = Pipeline()
        total = numbers(p, 90, 3).map(waits_for(go, 5)).reduce(lambda a, b: a + b)
        sums = numbers(p, 6, 6).map(lambda n, total: meet(n + total), total).collect(**options)
    assert found == [2.0], "two of three cores had nothing to do"
    assert sorted(sums) == [n + sum(range(90)) for n in range(6)]
    assert len(os.listdir(tmp_path / "processes")) == 3


def meeting(folder: Path) -> Any:
    """A function that gives what it is given once three processes have called it, or not before a while."""
    folder.mkdir()
    limit = time.time() + 60

    def meet(value: Any) -> Any:
        open(f"{folder}/{os.getpid()}", "w").close()
        while len(os.listdir(folder)) < 3 and time.time() < limit:
            time.sleep(0.02)
        return value

    return meet


@contextlib.contextmanager
def another_job() -> Iterator[Callable[..., None]]:
    """Takes what it is told to, waits until it has it, and gives it back at the end."""
    import ray

    class Holder:
        def there(self) -> bool:
            return True

    held: list[Any] = []

    def take(cpus: float, **resources: float) -> None:
        held.append(ray.remote(Holder).options(num_cpus=cpus, resources=resources).remote())
        ray.get(held[-1].there.remote(), timeout=30)

    try:
        yield take
    finally:
        for actor in held:
            ray.kill(actor)


@contextlib.contextmanager
def node_with(machines: Any, **has: Any) -> Iterator[Any]:
    """A machine for one test."""
    node = machines.add_node(**{**NODE, **has})
    try:
        yield node
    finally:
        machines.remove_node(node)


def test_what_others_took_of_a_machine_meanwhile_is_no_reason_to_wait_for_it(tmp_path: Path, machines: Any, options: Options) -> None:
    """Not even for the GPUs of the machine, where others have a core of it: what is left is taken."""
    numbers(Pipeline(), 3, 3).collect(**options)
    began, go, took = tmp_path / "began", tmp_path / "go", list[float]()

    def begin(n: int) -> int:
        began.touch()
        return n

    def act(over: threading.Event) -> None:
        if until(lambda: over.is_set() or (began.exists() and left("resting") >= 2 and left("CPU") >= 4), 60) and not over.is_set():
            take(1, resting=1)
            took.append(time.monotonic())
        go.touch()

    with node_with(machines, num_cpus=2, resources={"resting": 2}), node_with(machines, **ELSEWHERE), another_job() as take:
        with meanwhile(act):
            first = numbers(Pipeline(), 40, 4).map(begin).resources(custom={"resting": 1})
            again = first.map(waits_for(go, 5)).resources(**THERE).map(lambda n: n + 1).resources(custom={"resting": 1})
            found = again.collect(**options)
        assert took and time.monotonic() - took[0] < 30
    assert sorted(found) == list(range(1, 41))


def test_of_two_machines_the_one_that_others_hold_is_not_waited_for(tmp_path: Path, machines: Any, options: Options) -> None:
    numbers(Pipeline(), 3, 3).collect(**options)
    go, took = tmp_path / "go", list[float]()

    def act(over: threading.Event) -> None:
        if until(lambda: over.is_set() or left("both") >= 2, 60) and not over.is_set():
            take(1, first=1)
            took.append(time.monotonic())
        go.touch()

    with contextlib.ExitStack() as stack:
        for has in ({"resources": {"both": 1, "first": 1}}, {"resources": {"both": 1}}, ELSEWHERE):
            stack.enter_context(node_with(machines, **has))
        take = stack.enter_context(another_job())
        with meanwhile(act):
            before = numbers(Pipeline(), 4, 4).map(lambda n: n).resources(custom={"both": 1}).map(waits_for(go, 3)).resources(**THERE)
            found = before.map(lambda n: n + 1).resources(custom={"both": 1}).collect(**options)
        assert took and time.monotonic() - took[0] < 30 and sorted(found) == [1, 2, 3, 4]


def test_what_others_give_back_is_held_again(machines: Any, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run that had gone on with the rest."""
    monkeypatch.setattr(taking, "GROW", 0.5)
    numbers(Pipeline(), 3, 3).collect(**options)

    def act(over: threading.Event) -> None:
        with another_job() as take:
            take(1, growing=1)
            taken.set()
            until(lambda: over.is_set() or held() == {"growing": 1.0}, 30)
            found.append(held())
        until(lambda: over.is_set() or held() == {"growing": 2.0}, 30)
        found.append(held())

    def held() -> dict[str, float]:
        known = [one for each in list(cluster._known) for one in list(each.machines.values())]
        return next((dict(one.other.has) for one in known if one.other.has), {})

    taken, found = threading.Event(), list[dict[str, float]]()
    with node_with(machines, num_cpus=3, resources={"growing": 2}), meanwhile(act):
        assert taken.wait(30)
        slow = numbers(Pipeline(), 40, 40).map(lambda n: time.sleep(0.25) or n)
        assert sorted(slow.resources(custom={"growing": 1}).collect(**options)) == list(range(40))
    assert found == [{"growing": 1.0}, {"growing": 2.0}]


def test_a_machine_without_work_and_files_is_left_and_comes_again(tmp_path: Path, machines: Any, options: Options) -> None:
    """So that Ray's autoscaler may take it away, where it does not count as idle while an agent is there."""
    numbers(Pipeline(), 3, 3).collect(**options)
    go, found = tmp_path / "go", list[int]()

    def act(over: threading.Event) -> None:
        found.append(until(lambda: over.is_set() or away() >= 2, 30) and away())
        go.touch()

    def away() -> int:
        return sum(len(one.away) for one in list(cluster._known))

    meet = meeting(tmp_path / "processes")
    with node_with(machines, **ELSEWHERE), meanwhile(act):
        table = numbers(Pipeline(), 60, 1).map(waits_for(go, 5)).resources(**THERE).key_by(lambda n: n)
        sums = table.group_by_key(partitions=8).map_groups(lambda key, values: meet(sum(values))).collect(**options)
    assert found[0] >= 2 and sorted(sums) == [(n, n) for n in range(60)] and len(os.listdir(tmp_path / "processes")) >= 3


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
