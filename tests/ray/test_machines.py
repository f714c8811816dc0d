"""Machines of a cluster that die, are cut off, or cannot run us; drivers that are stopped or die; what Ray says of it all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataflow import DataflowError, DoFn, Pipeline
from tests.ray.conftest import NODE, until, whole
from tests.ray.test_faults import LARGE, Noting, kill, meanwhile, noted, numbers, shown

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.fixture
def extra(machines: Any) -> Iterator[Any]:
    """A fourth machine, which may be killed."""
    node = machines.add_node(**NODE)
    yield node
    if node in machines.list_all_nodes():
        machines.remove_node(node, allow_graceful=False)


@pytest.fixture
def four(extra: Any, options: Options, tmp_path: Path) -> Any:
    """The fourth machine, once all four take part in runs."""
    folder = tmp_path / "together"
    folder.mkdir()

    def together(n: int) -> int:
        import os
        import time

        open(f"{folder}/{os.getpid()}", "w").close()
        limit = time.monotonic() + 30
        while len(os.listdir(folder)) < 4 and time.monotonic() < limit:
            time.sleep(0.02)
        return n

    numbers(Pipeline(), 4, 4).map(together).collect(**options)
    assert len(os.listdir(folder)) >= 4
    return extra


def processes_of(node: Any) -> list[int]:
    """The processes of a machine: its raylet's, with all that came of it."""
    import psutil

    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [raylet.pid, *(child.pid for child in raylet.children(recursive=True))]


class Mapping(DoFn[int, tuple[int, int]]):
    """Notes each bundle and the process that ran it."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        folder.mkdir(exist_ok=True)

    def start_bundle(self) -> None:
        import os
        import time
        import uuid

        open(f"{self.folder}/{os.getpid()}-{uuid.uuid4()}", "w").close()
        time.sleep(0.2)  # so that all machines have some

    def process(self, n: int) -> Iterator[tuple[int, int]]:
        yield n % 40, n


def bundles(folder: Path) -> list[int]:
    """The process of every bundle that was begun."""
    return [int(name.partition("-")[0]) for name in os.listdir(folder)]


def grouped(p: Pipeline, folder: Path, count: int, tasks: int, wait: str, reducers: int) -> Any:
    """A map that notes its bundles, and a grouping that waits for a file before it goes on."""

    def total(key: int, values: Any) -> int:
        import os
        import time

        if not os.path.exists(wait):
            open(f"{wait}.begun", "a").close()
            while not os.path.exists(wait):
                time.sleep(0.02)
        return sum(values)

    table = numbers(p, count, tasks).parallel_do(Mapping(folder)).as_table()
    return table.group_by_key(partitions=reducers).map_groups(total)


# -- 16: machines that die


def killed_in_the_middle(tmp_path: Path, options: Options, machines: Any, node: Any) -> tuple[Any, list[int]]:
    """A grouping of which the first reducers wait until a machine is dead: its result, and the processes that the machine had."""
    gone = tmp_path / "gone"
    theirs: list[int] = []

    def killer(over: threading.Event) -> None:
        until((tmp_path / "gone.begun").exists, 60)
        theirs.extend(processes_of(node))
        machines.remove_node(node, allow_graceful=False)
        for process in theirs:  # what Ray leaves behind for a while could still hand its files out
            kill(process, signal.SIGKILL)
        gone.touch()

    p = Pipeline()
    grouped(p, tmp_path / "maps", 2400, 12, str(gone), 8).write_jsonl(str(tmp_path / "out"))
    with meanwhile(killer):
        result = p.run(**options)
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 2400, 40))] for k in range(40))
    return result, theirs


def test_fault_16_of_a_machine_killed_in_the_middle_of_a_shuffle_only_its_map_outputs_are_made_again(
    tmp_path: Path, options: Options, machines: Any, four: Any
) -> None:
    result, theirs = killed_in_the_middle(tmp_path, options, machines, four)
    ran = bundles(tmp_path / "maps")
    lost = [process for process in ran if process in theirs]
    assert len(lost) >= 1, "the machine that was killed had run no map task"
    assert len(ran) == 12 + len(lost), "other map tasks than those of the killed machine ran again"
    assert sum("is gone, and the files there" in line for line in result.log) == 1


class Sums(DoFn[int, tuple[int, int]]):
    """The sums of a bundle: one that is given too little gives something all the same."""

    def start_bundle(self) -> None:
        self.sums: dict[int, int] = dict.fromkeys(range(10), 0)

    def process(self, n: int) -> Iterator[tuple[int, int]]:
        import time

        if n % 100 == 0:
            time.sleep(0.05)
        self.sums[n % 10] += n
        return iter(())

    def finish_bundle(self) -> Iterator[tuple[int, int]]:
        yield from self.sums.items()


@pytest.mark.parametrize("united", [False, True])
def test_fault_16_a_machine_killed_in_the_last_of_many_phases(
    tmp_path: Path, options: Options, machines: Any, four: Any, united: bool
) -> None:
    """What it had written in every phase before is made again, all the way back to the first. The result lies there too."""
    gone = tmp_path / "gone"

    def slowly(key: int, values: Any) -> int:
        import time

        time.sleep(0.1)  # so that all machines have some
        return sum(values)

    def waiting(key: int, values: Any) -> int:
        import os
        import time

        if not os.path.exists(gone):
            open(f"{gone}.begun", "a").close()
            while not os.path.exists(gone):
                time.sleep(0.02)
        return sum(values)

    def killer(over: threading.Event) -> None:
        until((tmp_path / "gone.begun").exists, 60)
        for process in processes_of(four):
            kill(process, signal.SIGKILL)
        until(lambda: any("is gone, and the files there" in line for line in jobs[-1].scheduler.log), 30)
        gone.touch()

    p = Pipeline()
    sums = numbers(p, 2400, 9).parallel_do(Sums()).as_table()
    table = sums.group_by_key(partitions=9).map_groups(slowly)
    table = table.map(lambda pair: pair).as_table().group_by_key(partitions=8).map_groups(slowly)
    last = table.map(lambda pair: pair).as_table().group_by_key(partitions=6).map_groups(waiting)
    expected = [(k, sum(range(k, 2400, 10))) for k in range(10)]
    if united:  # the other line is at its end long before, and so are its readers
        other = numbers(p, 2400, 6).key_by(lambda n: n % 90).group_by_key(partitions=9).map_groups(slowly)
        last, expected = other.union(last), expected + [(k, sum(range(k, 2400, 90))) for k in range(90)]
    with watched_jobs() as jobs, meanwhile(killer):
        rows = last.collect(**options)
    assert sorted(map(tuple, rows)) == sorted(expected)
    assert any("is gone, and the files there" in line for line in jobs[-1].scheduler.log)


@pytest.mark.parametrize("what", ["machine", "file", "block"])
def test_fault_16_results_that_are_lost_before_they_were_read_are_made_again(
    tmp_path: Path, options: Options, four: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runners.ray import bringing

    def slowly(n: int) -> int:
        import time

        time.sleep(0.004)
        return n

    bring = bringing.bring
    rounds: list[int] = []

    def after_a_loss(pool: Any, files: Sequence[Any]) -> Any:
        rounds.append(len(files))
        far = next((file for file in files if file.place not in pool.cluster.transport.here), None)  # all machines are this one
        if len(rounds) == 1 and what == "machine":
            for process in processes_of(four):
                kill(process, signal.SIGKILL)
        elif len(rounds) == 1 and what == "file":
            os.remove(far.path)
        elif len(rounds) == 1:
            with open(far.path, "r+b") as file:
                file.seek(far.blocks[0].length // 2)
                file.write(b"no longer what it was")
        return bring(pool, files)

    monkeypatch.setattr(bringing, "bring", after_a_loss)
    with watched_jobs() as jobs:
        rows = numbers(Pipeline(), 1200, 12).map(slowly).collect(**options)
    assert sorted(rows) == list(range(1200))
    assert 1 <= rounds[1] < rounds[0], "what was there stays there"
    said = "is gone, and the files there" if what == "machine" else "is lost: "
    assert any(said in line for line in jobs[-1].scheduler.log)


@contextlib.contextmanager
def watched_jobs() -> Iterator[list[Any]]:
    """The jobs that are made meanwhile."""
    from dataflow.scheduling.job import Job

    jobs: list[Any] = []
    made = Job.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        jobs.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Job, "__init__", init)
        yield jobs


def test_fault_16_of_files_that_were_put_together_those_of_a_killed_machine_are_made_again(
    tmp_path: Path, options: Options, machines: Any, four: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the map outputs that they were made of, which are kept as long as a machine may go."""
    from dataflow.scheduling import merges, tasking

    for module, name, value in ((merges, "LEAST_SECONDS", 0.0), (merges, "PAYS", -1.0), (tasking, "FEW", 2)):
        monkeypatch.setattr(module, name, value)
    result, theirs = killed_in_the_middle(tmp_path, options, machines, four)
    assert "group_by_key, merged" in {phase.name for phase in result.phases}
    ran = bundles(tmp_path / "maps")
    assert len(ran) <= 12 + sum(process in theirs for process in ran), "other map tasks than those of the killed machine ran again"


def test_fault_16_an_agent_that_is_killed_costs_what_its_machine_had(tmp_path: Path, options: Options, four: Any) -> None:
    gone = tmp_path / "gone"

    def killer(over: threading.Event) -> None:
        import psutil

        until((tmp_path / "gone.begun").exists, 60)
        for process in processes_of(four):
            if "Agent" in psutil.Process(process).name() and "Dashboard" not in psutil.Process(process).name():
                kill(process)
                (tmp_path / "killed").touch()
        gone.touch()

    p = Pipeline()
    grouped(p, tmp_path / "maps", 2400, 12, str(gone), 8).write_jsonl(str(tmp_path / "out"))
    with meanwhile(killer):
        p.run(**options)
    assert (tmp_path / "killed").exists()
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 2400, 40))] for k in range(40))


def test_fault_16_every_machine_but_the_drivers_is_killed_and_others_come(tmp_path: Path, options: Options, machines: Any) -> None:
    noting = Noting(tmp_path / "processes", 0.3)
    new = [machines.add_node(**NODE) for _ in range(2)]

    def killer(over: threading.Event) -> None:
        until(lambda: len(noted(tmp_path / "processes")) == 5, 30)
        for node in new:
            machines.remove_node(node, allow_graceful=False)

    p = Pipeline()
    table = numbers(p, 2000, 40).parallel_do(noting).key_by(lambda n: n % 7)
    table.group_by_key(partitions=5).map_groups(lambda key, values: sum(values)).write_jsonl(str(tmp_path / "out"))
    with meanwhile(killer):
        p.run(**options)
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 2000, 7))] for k in range(7))


# -- machines that say that they go


def drain(machines: Any, node: Any, seconds: float) -> None:
    """What a cluster does when a cloud gives notice."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=machines.address).drain_node(node.node_id, reason, "notice", int((time.time() + seconds) * 1000))
    assert accepted, why


def test_a_machine_that_gives_notice_hands_over_what_it_runs_and_its_files_and_gets_nothing_more(
    tmp_path: Path, options: Options, machines: Any, four: Any
) -> None:
    gone = tmp_path / "gone"
    theirs: list[int] = []
    gave: list[Any] = []

    def notice(over: threading.Event) -> None:
        until((tmp_path / "gone.begun").exists, 60)
        theirs.extend(processes_of(four))
        drain(machines, four, 6)
        gave.append(until(lambda: any("is about to go, and" in line for line in jobs[-1].scheduler.log), 20))
        gave.append(until(lambda: any("is gone, and the files there" in line for line in jobs[-1].scheduler.log), 20))
        machines.remove_node(four, allow_graceful=False)
        gone.touch()

    p = Pipeline()
    grouped(p, tmp_path / "maps", 2400, 12, str(gone), 8).write_jsonl(str(tmp_path / "out"))
    with watched_jobs() as jobs, meanwhile(notice):
        p.run(**options)
    assert gave == [True, True], jobs[-1].scheduler.log
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 2400, 40))] for k in range(40))
    ran = bundles(tmp_path / "maps")
    assert set(ran) & set(theirs) and len(ran) == 12, "map tasks ran again, whose files had been copied"
    assert any("its machine is about to go" in line for line in jobs[-1].scheduler.log)


# -- 56: machines that are cut off


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.skipif(not LARGE, reason="takes two minutes"))])
def test_fault_56_a_machine_that_is_cut_off_for_seconds(tmp_path: Path, options: Options, four: Any, seconds: int) -> None:
    """Stopped processes are as silent as a network that is down; they go on where they were."""
    noting = Noting(tmp_path / "processes", 0.1)

    def cut(over: threading.Event) -> None:
        until(lambda: set(noted(tmp_path / "processes")) & set(processes_of(four)), 60)
        stopped = processes_of(four)
        (tmp_path / "cut").touch()
        for process in stopped:
            kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        for process in stopped:
            kill(process, signal.SIGCONT)

    p = Pipeline()
    table = numbers(p, 4000, 40).parallel_do(noting).key_by(lambda n: n % 7)
    table.group_by_key(partitions=4).map_groups(lambda key, values: sum(values)).write_jsonl(str(tmp_path / "out"))
    with meanwhile(cut):
        result = p.run(**options)
    assert (tmp_path / "cut").exists()
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 4000, 7))] for k in range(7))
    if seconds == 5:
        waited = sum("it waited at a worker that is gone" in line for line in result.log)  # behind one that a backup overtook
        assert result.retries == waited and not [line for line in result.log if "is gone, and the files" in line], result.log


def test_fault_17_an_agent_that_cannot_be_reached_for_a_moment_is_no_machine_that_is_gone(
    tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import ActorUnavailableError

    from runners.ray.machine import Machine

    class Unreached:
        def future(self) -> Future[Any]:
            found: Future[Any] = Future()
            found.set_exception(ActorUnavailableError("the network is busy", None))
            return found

    failing = ["launch", "death"]
    call = Machine.call

    def failing_call(self: Any, method: str, *arguments: Any) -> Any:
        if method in failing:
            failing.remove(method)
            return Unreached()
        return call(self, method, *arguments)

    def deadly(n: int) -> int:
        import os

        if n == 700:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(tmp_path / "died", os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), 9)
        return n

    monkeypatch.setattr(Machine, "call", failing_call)
    with watched_jobs() as jobs:
        rows = numbers(Pipeline(), 1200, 6).map(deadly).collect(**options)
    assert sorted(rows) == list(range(1200))
    assert failing == []
    assert not any("is gone" in line for line in jobs[-1].scheduler.log), jobs[-1].scheduler.log


# -- 18: machines that cannot run us


def test_fault_18_a_machine_that_comes_late_and_cannot_run_us_is_left(
    tmp_path: Path, options: Options, machines: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from runners.ray import cluster

    made = cluster.Cluster._agent

    def agent(self: Any, node: str, address: str, full: Any) -> Any:
        given = self.given
        if (tmp_path / "begun").exists():  # those that come from now on
            self.given = {**given, "versions": {**given["versions"], "pyarrow": "99.0"}}
        try:
            return made(self, node, address, full)
        finally:
            self.given = given

    monkeypatch.setattr(cluster.Cluster, "_agent", agent)

    def waiting(n: int) -> int:
        import time

        (tmp_path / "begun").touch()
        while not (tmp_path / "over").exists():
            time.sleep(0.05)
        return n

    node = None
    with ThreadPoolExecutor(1) as other:  # machines are added by the main thread alone
        rows = other.submit(lambda: numbers(Pipeline(), 60, 6).map(waiting).collect(**options))
        try:
            until((tmp_path / "begun").exists, 60)
            node = machines.add_node(**NODE)
            until(lambda: "is left, as it cannot run this" in caplog.text, 60)
        finally:
            (tmp_path / "over").touch()
        assert sorted(rows.result()) == list(range(60))
    machines.remove_node(node, allow_graceful=False)
    assert "versions differ: pyarrow 99.0 here" in caplog.text


def test_fault_18_other_versions_on_the_machines_are_an_error_before_any_work(
    options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from runners.ray import cluster

    monkeypatch.setattr(cluster, "VERSIONS", {**cluster.VERSIONS, "pyarrow": "99.0"})
    with pytest.raises(DataflowError) as caught:
        Pipeline().create([1]).map(str).collect(**{**options, "spill_folder": str(tmp_path / "other")})
    text = shown(caught.value)
    assert "versions differ: pyarrow 99.0 here and " in text and "install the same versions" in text


def test_an_address_without_a_cluster_is_an_error_that_says_so(tmp_path: Path) -> None:
    options = {"runner": "ray", "address": "127.0.0.1:1", "mode": "cluster", "progress": False}
    script = f"from dataflow import Pipeline; Pipeline().create([1]).map(str).collect(**{options})"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert "no connection to the Ray cluster" in done.stderr and time.monotonic() - begun < 60


# -- 8, 9: the driver is stopped, or dies

SCRIPT = """
from dataflow import Pipeline

def slow(n):
    import os, time
    open({pids!r} + "/" + str(os.getpid()), "w").close()
    time.sleep(0.2)
    return n

p = Pipeline()
p.create(range(500)).redistribute(10).map(slow).write_jsonl({target!r}, mode="overwrite")
p.run(**{options!r})
"""


def driver(tmp_path: Path, options: Options) -> tuple[subprocess.Popen[str], list[int]]:
    """A driver in the middle of a run, and its workers."""
    (tmp_path / "pids").mkdir()
    p = Pipeline()
    p.create(["old"]).write_jsonl(str(tmp_path / "out"))
    p.run(progress=False)
    script = SCRIPT.format(pids=str(tmp_path / "pids"), target=str(tmp_path / "out"), options=options)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    found = until(lambda: found if len(found := noted(tmp_path / "pids")) >= 2 or process.poll() is not None else [], 60)
    assert process.poll() is None, process.communicate()[1]
    return process, found


@pytest.mark.parametrize("times", [1, 2])
def test_fault_09_ctrl_c_stops_the_run_and_leaves_the_old_data(tmp_path: Path, options: Options, times: int) -> None:
    process, workers = driver(tmp_path, options if times == 1 else {**options, "spill_folders": [str(tmp_path / "left")]})
    begun = time.monotonic()
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.01)
    _, errors = process.communicate(timeout=30)
    seconds = time.monotonic() - begun
    assert process.returncode != 0
    assert seconds < 4, "the promise is two; the machine may be busy"
    assert [json.loads(line) for path in (tmp_path / "out").glob("*.jsonl") for line in path.read_text().splitlines()] == ["old"]
    if times == 1:
        assert "no output became visible" in errors
        assert [path.name for path in tmp_path.iterdir() if ".dataflow-" in path.name] == []
        assert not (tmp_path / "spill").exists() or list((tmp_path / "spill").iterdir()) == []
    assert until(lambda: not [one for one in workers if os.path.exists(f"/proc/{one}")]), "workers are left"


def test_fault_08_a_driver_that_is_killed_takes_its_workers_along(tmp_path: Path, options: Options, folder_of_machines: Path) -> None:
    process, workers = driver(tmp_path, {**options, "spill_folders": [str(tmp_path / "dead")]})
    process.kill()
    process.communicate()
    assert until(lambda: not [one for one in workers if os.path.exists(f"/proc/{one}")], 5), "workers are left"
    p = Pipeline()
    numbers(p, 100, 3).write_jsonl(str(tmp_path / "out"), mode="overwrite")
    p.run(**options)  # nothing stands in the way of the next run
    assert whole(tmp_path / "out") == list(range(100))


# -- 17: Ray's own calls fail

CHAOS = """
import json, os
os.environ["RAY_testing_rpc_failure"] = json.dumps({failures!r})
from dataflow import Pipeline

p = Pipeline()
elevens = p.create(range(3000)).redistribute(6).map(lambda n: n % 11)
counted = elevens.count().collect(runner="ray", address="local", mode="cluster", progress=False)
assert sorted(counted) == [(k, len(range(k, 3000, 11))) for k in range(11)], counted
print("right")
"""
FAILURES = {
    "tasks": {"CoreWorkerService.grpc_client.PushTask": {"num_failures": 2, "req_failure_prob": 25, "resp_failure_prob": 25}},
    "leases": {"NodeManagerService.grpc_client.RequestWorkerLease": {"num_failures": 3, "req_failure_prob": 50, "resp_failure_prob": 50}},
    "actors": {"ActorInfoGcsService.grpc_client.CreateActor": {"num_failures": 2, "req_failure_prob": 50, "resp_failure_prob": 50}},
}


@pytest.mark.parametrize("kind", FAILURES if LARGE else ["tasks"])
def test_fault_17_calls_of_ray_that_fail(kind: str, machines: Any) -> None:
    done = subprocess.run([sys.executable, "-c", CHAOS.format(failures=FAILURES[kind])], capture_output=True, text=True, timeout=150)
    assert done.stdout.strip().endswith("right"), done.stderr[-3000:]
