"""What the workers of a cluster find: the modules and files of the run's environment, our own packages, the driver's folders."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import DataflowError, Pipeline
from tests.ray.test_faults import shown

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.fixture
def own(options: Options) -> Iterator[Options]:
    """Options, for agents of the test's own, which are gone after it."""
    yield options
    from runners.ray import cluster

    with cluster._lock:
        cluster._forget([one for one in cluster._known if not one.users])


def test_modules_of_the_environment_are_imported(tmp_path: Path, own: Options) -> None:
    module = tmp_path / "brought" / "of_the_run"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("def after(n): return n + 1\n")

    def after(n: int) -> int:
        import of_the_run  # type: ignore[import-not-found]

        found: int = of_the_run.after(n)
        return found

    assert sorted(Pipeline().create([1, 2]).map(after).collect(**own, runtime_env={"py_modules": [str(module)]})) == [2, 3]


def test_a_working_folder_is_brought_and_is_where_functions_run(tmp_path: Path, own: Options) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data.txt").write_text("seven")
    (folder / "beside_the_data.py").write_text("X = 7\n")

    def found(n: int) -> tuple[str, int]:
        import beside_the_data  # type: ignore[import-not-found]

        return open("data.txt").read(), beside_the_data.X

    assert Pipeline().create([1]).map(found).collect(**own, runtime_env={"working_dir": str(folder)}) == [("seven", 7)]


def test_each_run_has_its_own_environment(own: Options) -> None:
    def hello(n: int) -> str:
        import os

        return os.environ.get("HELLO", "missing")

    one = Pipeline().create([1]).map(hello)
    assert one.collect(**own) == ["missing"]
    assert one.collect(**own, runtime_env={"env_vars": {"HELLO": "x"}}) == ["x"]
    assert one.collect(**own, runtime_env={"env_vars": {"HELLO": "y"}}) == ["y"]
    assert one.collect(**own) == ["missing"]


def test_runs_of_two_threads_with_different_environments(own: Options) -> None:
    found: dict[str, Any] = {}

    def run(name: str) -> None:
        def hello(n: int) -> str:
            import os
            import time

            time.sleep(0.05)
            return os.environ["HELLO"]

        made = Pipeline().create(range(30)).redistribute(10).map(hello)
        try:
            found[name] = set(made.collect(**own, runtime_env={"env_vars": {"HELLO": name}}))
        except Exception as error:
            found[name] = error

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == {"a": {"a"}, "b": {"b"}}


def test_after_a_run_that_could_not_begin_the_next_one_does(own: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from runners.ray import cluster

    def total(p: Pipeline) -> Any:
        pairs = p.create([(n % 7, n) for n in range(3000)]).redistribute(4).as_table()
        return pairs.group_by_key().map_groups(lambda k, vs: sum(vs))

    assert len(total(Pipeline()).collect(**own)) == 7
    with monkeypatch.context() as patched:
        patched.setattr(cluster, "VERSIONS", {**cluster.VERSIONS, "pyarrow": "99"})
        with pytest.raises(DataflowError, match="versions differ"):
            total(Pipeline()).collect(**{**own, "spill_folder": str(tmp_path / "other")})
    assert len(total(Pipeline()).collect(**own)) == 7


def test_an_environment_that_ray_refuses_is_an_error_of_ours(tmp_path: Path, own: Options) -> None:
    with pytest.raises(DataflowError, match="runtime_env cannot be used") as caught:
        Pipeline().create([1]).map(str).collect(**own, runtime_env={"py_modules": [str(tmp_path / "nothing")]})
    assert len(str(caught.value).splitlines()) < 20


def test_what_no_environment_has_is_refused_when_the_runner_is_made() -> None:
    ray = pytest.importorskip("ray")
    from runners.ray.environment import Environment
    from runners.ray.runner import RayRunner

    with pytest.raises(DataflowError, match="runtime_env has no 'nonsense'"):
        RayRunner(mode="cluster", runtime_env={"nonsense": 1})
    with pytest.raises(DataflowError, match="did you mean 'pip'"):
        Environment({"pipp": ["pandas"]})  # as of a runner that has not imported Ray until it had something for it
    not_one: Any = "abc"
    with pytest.raises(DataflowError, match="runtime_env is a dictionary.*, not str"):
        RayRunner(runtime_env=not_one)
    for allowed in ({"env_vars": {"A": "1"}, "excludes": [], "nsight": "default"}, ray.runtime_env.RuntimeEnv(pip=["pandas"])):
        RayRunner(mode="cluster", runtime_env=allowed)


def test_a_spill_folder_that_cannot_be_is_named_with_its_machine(own: Options, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataflowError) as caught:
        Pipeline().create([1]).map(str).collect(**{**own, "spill_folder": str(tmp_path / "file" / "below")})
    text = shown(caught.value)
    assert f"machine {os.uname().nodename} cannot use spill_folder {tmp_path}/file/below: Not a directory" in text
    assert "install" not in text


def test_machines_without_our_packages_or_with_others_get_those_of_the_driver(own: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    from runners.ray import bootstrap, cluster

    monkeypatch.setattr(cluster, "packages", lambda: ("another state", bootstrap.packages()[1]))

    def where(n: int) -> str:
        import dataflow

        return str(dataflow.__file__)

    (found,) = set(Pipeline().create([1, 2]).map(where).collect(**own, runtime_env={"env_vars": {"A": "1"}}))
    assert "dataflow-ray-code-" in found


def test_a_machine_that_lacks_a_package_is_named(own: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    from runners.ray import cluster

    monkeypatch.setattr(cluster, "VERSIONS", {**cluster.VERSIONS, "no-such-package": "1.0"})
    with pytest.raises(DataflowError) as caught:
        Pipeline().create([1]).map(str).collect(**own, runtime_env={"env_vars": {"A": "2"}})
    assert f"machine {os.uname().nodename} lacks packages: pip install no-such-package==1.0" in shown(caught.value)
