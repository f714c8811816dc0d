"""One cluster of three machines with a core each for all tests of this folder, all on this machine; machines that are to die come extra."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STORE = 80 << 20  # the least that Ray accepts is 75 MiB
NODE = {"num_cpus": 1, "object_store_memory": STORE, "include_log_monitor": False}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the cluster come when the others are done: how long machines take is what many of them are about."""
    for item in items:
        if "machines" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.machines)


@pytest.fixture(scope="session")
def machines() -> Iterator[Any]:
    """The cluster, as Ray's own tests have it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 — it is called so; Ray's 15 lets anything else here starve them
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that still meets the machines when all is over must not connect anew
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    try:
        cluster.add_node(**NODE)
        cluster.add_node(**NODE)
        yield cluster
    finally:
        import ray

        from runners.ray.workers import _in_rays_thread

        _in_rays_thread(lambda: None).result(60)  # a run may be over while its machines are still coming
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def folder_of_machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the machines keep the files of runs."""
    return tmp_path_factory.mktemp("machines")


@pytest.fixture
def options(machines: Any, folder_of_machines: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options of a run on the cluster, after which no file of the run is left anywhere."""
    spill = tmp_path / "spill"
    yield {
        "runner": "ray",
        "address": machines.address,
        "mode": "cluster",
        "progress": False,
        "memory": "64MiB",
        "spill_folder": str(folder_of_machines),
        "spill_folders": [str(spill)],
        "skipped_to": str(tmp_path / "skipped"),
    }
    assert not spill.exists() or list(spill.iterdir()) == [], "files are left in the spill folder"

    def left() -> list[str]:
        from dataflow.driving.folders import remove_dead

        remove_dead(str(folder_of_machines))  # as the next agent of a machine does for one that was killed
        try:
            return [str(run) for run in folder_of_machines.glob("dataflow-ray-*/*") if run.is_dir()]
        except FileNotFoundError as gone:  # an agent that ends takes its folder away just now
            return [str(gone)]

    assert until(lambda: not left()), f"files of runs are left on machines: {left()}"


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What a condition gives as soon as it gives something, at last whatever it gives."""
    limit = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def whole(target: Path) -> list[Any]:
    """The records of a target of JSON lines, after a look at its manifest and for leftovers beside it."""
    listed = {entry["path"]: entry["rows"] for entry in json.loads((target.parent / f".{target.name}.manifest.json").read_text())["files"]}
    there = {path.name: len(path.read_text().splitlines()) for path in target.iterdir() if not path.name.startswith("_")}
    assert there == listed
    assert [path.name for path in target.parent.iterdir() if ".dataflow-" in path.name] == []
    return sorted(json.loads(line) for name in there for line in (target / name).read_text().splitlines())
