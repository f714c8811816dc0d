"""The cores of the machines go to the steps that have work now, whatever these ask for."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.errors import DataflowError
from tests.ray.conftest import NODE, until
from tests.ray.test_faults import meanwhile, numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.mark.parametrize("asked", [{"cpus": 1}, {"memory": "1MiB"}])
def test_a_step_that_may_have_all_cores_leaves_them_to_the_others_when_it_is_done(options: Options, asked: dict[str, Any]) -> None:
    several = numbers(Pipeline(), 100, 6).map(lambda n: n + 1).resources(**asked)
    totals = several.map(lambda n: (n % 3, n)).as_table().combine_per_key(sum).map(lambda pair: pair).resources(**asked).collect(**options)
    assert sorted(map(tuple, totals)) == [(k, sum(n for n in range(1, 101) if n % 3 == k)) for k in range(3)]


def test_steps_that_ask_for_something_and_others_are_done_beside_each_other(options: Options) -> None:
    def slow(n: int) -> str:
        import time

        time.sleep(0.1)
        return "plain"

    p = Pipeline()
    plain, asking = numbers(p, 20, 20).map(slow), numbers(p, 20, 20).map(slow).map(lambda _: "asking").resources(memory="1MiB")
    several = asking.union(plain).union(numbers(p, 6, 6).map(lambda _: "cpus").resources(cpus=1))
    assert sorted(several.collect(**options)) == ["asking"] * 20 + ["cpus"] * 6 + ["plain"] * 20


def test_a_function_that_calls_ray_is_on_the_cluster_of_its_run(machines: Any, options: Options) -> None:
    def through_ray(n: int) -> tuple[int, str]:
        import ray

        ray.init(ignore_reinit_error=True, log_to_driver=False)  # which `ray.put` does itself, but not in these tests
        return ray.get(ray.put(n)), ray.get_runtime_context().gcs_address

    found = numbers(Pipeline(), 3, 1).map(through_ray).collect(**options)
    assert sorted(map(tuple, found)) == [(n, machines.address) for n in range(3)]


def test_a_run_within_a_function_of_one_does_not_wait_for_its_cores(options: Options) -> None:
    def inner(**chosen: Any) -> Any:
        return lambda n: sum(Pipeline().create(range(n)).map(abs).collect(**chosen))

    here = {"runner": "local", "mode": "in_process", "progress": False}
    assert sorted(numbers(Pipeline(), 3, 3).map(inner(**here)).collect(**options)) == [0, 0, 1]
    there = {name: options[name] for name in ("runner", "address", "mode", "progress")}
    with pytest.raises(DataflowError, match="within a run on the Ray cluster at .* another begins"):
        numbers(Pipeline(), 3, 3).map(inner(**there)).collect(**options)


def test_who_uses_the_cluster_besides_has_its_cores_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    from runners.ray import cluster

    made: Any = object.__new__(cluster.Cluster)
    for joined, seconds in ((True, cluster.Cluster.idle), (False, cluster.GUEST)):
        monkeypatch.setattr(cluster, "joined_here", lambda joined=joined: joined)
        assert made.patience == seconds


def test_cores_that_another_job_gives_back_are_used(
    tmp_path: Path, machines: Any, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent has what is free when it comes; for the rest there is another, once it is free."""
    import ray

    from runners.ray import taking

    monkeypatch.setattr(taking, "PENDING", 0.5)
    monkeypatch.setattr(taking, "GROW", 0.5)
    node = machines.add_node(**{**NODE, "num_cpus": 2}, resources={"growing": 2})
    folder = tmp_path / "processes"
    folder.mkdir()

    def together(n: int) -> int:
        import os
        import time

        open(f"{folder}/{os.getpid()}", "w").close()
        limit = time.monotonic() + 40
        while len(os.listdir(folder)) < 2 and time.monotonic() < limit:
            time.sleep(0.02)
        return n

    class Holder:
        def there(self) -> bool:
            return True

    def give_back(over: threading.Event) -> None:
        until(lambda: os.listdir(folder) or over.is_set(), 60)
        ray.kill(holder)

    try:
        if not ray.is_initialized():
            numbers(Pipeline(), 4, 4).collect(**options)
        holder: Any = ray.remote(Holder).options(num_cpus=1, resources={"growing": 1}).remote()
        ray.get(holder.there.remote())
        with meanwhile(give_back):
            found = numbers(Pipeline(), 4, 4).map(together).resources(custom={"growing": 1}).collect(**options)
        assert sorted(found) == [0, 1, 2, 3] and len(os.listdir(folder)) == 2
    finally:
        machines.remove_node(node)
