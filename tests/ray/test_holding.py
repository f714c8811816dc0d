"""What is held of machines, asked for and given back: our own code, on a table of nodes instead of Ray and a clock that stands still."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed")
from dataflow.plan.steps import Resources
from runners.ray import cluster, holding, machine, taking
from runners.ray.agent import Agent
from runners.ray.holding import Holding, usable

pytestmark = [pytest.mark.ray]


class Nodes:
    """What is free, by node, and who waits for it, in turn."""

    def __init__(self, free: dict[str, dict[str, float]]) -> None:
        self.free, self.waiting, self.now = free, list[Any](), 1000.0

    def place(self) -> None:
        for one in list(self.waiting):
            free = self.free[one.node]
            if all(free.get(name, 0) >= amount for name, amount in one.has.items()):
                self.take(one.node, **one.has)
                self.waiting.remove(one)
                one.placed = True

    def take(self, node: str, **has: float) -> None:
        """By another job, or by one of ours."""
        for name, amount in has.items():
            self.free[node][name] -= amount

    def give(self, node: str, **has: float) -> None:
        self.take(node, **{name: -amount for name, amount in has.items()})
        self.place()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Three nodes of three cores and a GPU each, in the place of Ray."""
    made = Nodes({name: {"CPU": 3, "GPU": 1} for name in "ABC"})

    class Hold:
        def __init__(self, node: str, has: dict[str, float]) -> None:
            self.node, self.has, self.placed, self.over = node, has, False, False
            self.gpus, self.end = ("gpus", self), ("end", self)
            made.waiting.append(self)
            made.place()

        def kill(self) -> None:
            if self.placed and not self.over:
                made.give(self.node, **self.has)
            self.over = True
            made.waiting = [one for one in made.waiting if one is not self]

    def wait(references: list[Any], num_returns: int = 1, timeout: float = 0) -> tuple[list[Any], list[Any]]:
        ready = [
            (kind, one) for kind, one in references if kind == "value" or (kind == "gpus" and one.placed) or (kind == "end" and one.over)
        ]
        return ready, []

    ray = SimpleNamespace(
        wait=wait, get=lambda reference: "0" if reference[0] == "gpus" else reference[1], exceptions=holding.ray.exceptions, kill=print
    )
    time = SimpleNamespace(monotonic=lambda: made.now)
    for module in (cluster, holding, machine, taking):
        monkeypatch.setattr(module, "time", time)
        monkeypatch.setattr(module, "ray", ray)
    monkeypatch.setattr(holding, "_Hold", Hold)
    monkeypatch.setattr(taking, "not_held", lambda: {name: dict(free) for name, free in made.free.items()})
    return made


class Files:
    """An agent with so many files."""

    def __init__(self) -> None:
        self.files = 0
        self.call = SimpleNamespace(remote=lambda method, *arguments: ("value", self.files))


class Job(cluster.Cluster):
    """A cluster as one job knows it."""

    def __init__(self, nodes: Nodes, *asked: Resources, names: str = "ABC") -> None:
        self.nodes, self.asked = nodes, asked
        self.machines, self.coming, self.away, self.refusals = {}, {}, {}, {}
        self.users, self.looked, self._packages = 1, 0.0, None
        self.link: Any = SimpleNamespace(head_answers=lambda: True, check=lambda: None, connected=lambda: True)
        self.lock = threading.RLock()
        self.taking = taking.Taking(self)
        for name in names:
            self.come(name)

    def come(self, name: str) -> None:
        full = usable({"CPU": 3, "GPU": 1}, self.asked)
        other = {kind: amount for kind, amount in full.items() if kind != "CPU"}
        one = machine.Machine(name, Files(), self.link, Holding(name, {"CPU": full["CPU"]}), Holding(name, other), place=name)
        one.cores.ask(one.cores.full)
        one.cores.needed = self.nodes.now
        self.machines[name] = one

    def go_on(self, seconds: float, asked: Resources | None = None, workers: int = 0) -> None:
        """Looks as the pool of a run makes them, which wants workers."""
        until = self.nodes.now + seconds
        while self.nodes.now < until:
            self.nodes.now += 0.5
            self.once(asked, workers)

    def once(self, asked: Resources | None = None, workers: int = 0) -> None:
        lacking = workers - sum(one.room(asked, {}) for one in self.machines.values())
        if lacking > 0:
            self.taking.need(asked, lacking)
        if self.nodes.now - self.looked >= taking.LOOK:
            self.looked = self.nodes.now
            for name in "ABC":
                if name not in self.machines and name not in self.away:
                    self.come(name)  # the agent is there at once
            for one in self.machines.values():
                one.cores.meet()
                one.other.meet()
            self.taking.look(self.nodes.now)

    def held(self, name: str) -> dict[str, float]:
        one = self.machines.get(name)
        return {**one.cores.has, **one.other.has} if one is not None else {}

    def room(self, asked: Resources | None) -> bool:
        return any(one.room(asked, {}) for one in self.machines.values())


def test_what_is_not_used_is_given_back_and_machines_without_files_are_left(nodes: Nodes) -> None:
    job = Job(nodes)
    job.go_on(2)
    assert [job.held(name) for name in "ABC"] == [{"CPU": 3}] * 3
    assert job.taking.enter(job.machines["A"], None, "run")
    job.machines["B"].agent.files = 7
    job.go_on(10)
    assert [job.held(name) for name in "ABC"] == [{"CPU": 3}, {}, {}]
    assert set(job.machines) == {"A", "B"} and set(job.away) == {"C"}
    assert job.taking.workers == 9, "they can be taken again"
    job.go_on(3, None, 9)
    assert [job.held(name) for name in "ABC"] == [{"CPU": 3}] * 3


def test_a_machine_that_others_hold_in_part_is_not_counted_on(nodes: Nodes) -> None:
    nodes.take("A", CPU=2)
    nodes.take("C", CPU=3)
    two = Resources(cpus=2)
    job = Job(nodes, two)
    job.go_on(5)
    assert job.held("A") == {"CPU": 1} and job.taking.enter(job.machines["A"], None, "run")
    job.go_on(20)
    assert not job.room(two)
    job.go_on(4, two, 1)
    assert job.room(two) and job.held("B") == {"CPU": 3}


def test_gpus_are_asked_for_only_with_cores_that_can_use_them(nodes: Nodes) -> None:
    """Or two jobs would wait for each other: one with the GPU and a core, one with two cores, where both need two cores and the GPU."""
    both = Resources(cpus=2, gpus=1)
    nodes.take("A", CPU=1)
    one = Job(nodes, both, names="A")
    one.go_on(5)
    assert one.taking.enter(one.machines["A"], None, "run") and one.held("A") == {"CPU": 2}
    other = Job(nodes, both, names="A")
    one.nodes.give("A", CPU=1)  # a third job is over, and the one that comes next asks first
    for _ in range(40):
        other.go_on(0.5, both, 1)
        one.once()
    assert "GPU" not in other.held("A")
    one.taking.leave(one.machines["A"].cores, "run")
    for _ in range(40):
        other.once(both, 1)
        one.go_on(0.5, both, 1)
    assert one.room(both) or other.room(both)


def test_no_more_machines_are_asked_for_than_are_needed(nodes: Nodes) -> None:
    job = Job(nodes)
    job.go_on(20)
    assert set(job.away) == set("ABC")
    job.go_on(5, None, 3)
    assert len(job.machines) == 1 and len(job.away) == 2
    assert sum(job.held(name).get("CPU", 0) for name in "ABC") == 3


def test_a_machine_that_is_about_to_have_files_is_not_left(nodes: Nodes) -> None:
    """As it has said that it has none before it was asked to take them."""
    job = Job(nodes)
    job.go_on(2)
    one = job.machines["B"]
    while one.cores.files is None:
        job.go_on(0.5)
    job.taking.keep(one)
    one.agent.files = 2
    job.go_on(20)
    assert job.machines["B"] is one and not one.cores.has


def test_what_others_give_back_is_held_again_and_so_is_what_an_end_took(nodes: Nodes) -> None:
    nodes.take("A", CPU=2, GPU=1)
    gpu = Resources(gpus=1)
    job = Job(nodes, gpu)
    job.go_on(5)
    assert job.held("A") == {"CPU": 1} and job.taking.enter(job.machines["A"], None, "run")
    nodes.give("A", CPU=2, GPU=1)
    job.go_on(15, gpu, 9)
    assert job.held("A") == {"CPU": 3, "GPU": 1}
    next(iter(job.machines["A"].cores._held)).kill()
    job.go_on(5, gpu, 9)
    assert job.held("A") == {"CPU": 3, "GPU": 1}


@pytest.mark.parametrize(
    ("has", "asked", "found"),
    [
        ({"CPU": 3, "GPU": 2}, Resources(cpus=1, gpus=0.5), {"CPU": 3, "GPU": 1}),  # Ray gives 1.5 to nobody
        ({"CPU": 1, "GPU": 2}, Resources(cpus=1, gpus=0.5), {"CPU": 1, "GPU": 0.5}),
        ({"CPU": 1, "GPU": 2}, Resources(cpus=2, gpus=1), {"CPU": 1}),
    ],
)
def test_gpus_beyond_the_first_are_whole(has: dict[str, float], asked: Resources, found: dict[str, float]) -> None:
    assert usable(has, (asked,)) == found


def test_a_worker_has_gpus_of_which_enough_is_held() -> None:
    agent = object.__new__(Agent)
    agent.gpus, agent.workers = {}, {}
    halves = (("0", 0.5), ("1", 0.5))
    found = []
    for name in ("first", "second", "third"):
        found.append(agent._own_gpus(name, 0.5, halves)["CUDA_VISIBLE_DEVICES"])
        agent.workers[name] = None  # type: ignore[assignment]
    assert found == ["0", "1", ""], "the other half of each is another job's"


def test_jobs_that_each_hold_too_little_do_not_wait_for_each_other(nodes: Nodes) -> None:
    """One has one core and one has two, of the three that the steps of both ask for."""
    asked = Resources(cpus=3)
    for name, others in {"A": 2, "B": 3, "C": 3}.items():
        nodes.take(name, CPU=others)
    first = Job(nodes, asked, names="A")
    first.go_on(10, asked, 1)
    assert first.held("A") == {"CPU": 1}
    second = Job(nodes, asked, names="A")
    second.go_on(10, asked, 1)
    nodes.give("A", CPU=2)
    second.go_on(10, asked, 1)
    assert second.held("A") == {"CPU": 2}
    waiting = [first, second]
    for _ in range(400):
        nodes.now += 0.5
        for job in list(waiting):
            job.once(asked, 1)
            if job.room(asked):
                job.machines["A"].cores.give()  # its run has had three cores, and is over
                waiting.remove(job)
    assert not waiting
