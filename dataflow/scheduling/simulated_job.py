"""A MapReduce job of any size on simulated machines: the real job, scheduler and bookkeeping; only what tasks do is made up.

    Scenario ──> plan (map ─ shuffle ─ reduce ─ …), SimMachines ──> Job.run() ──> Outcome: how long it took, and whom
                                                     └─ every manifest is made of new objects, as if it came from a machine

Every attempt looks whether it is given a file of each task before it, and none that was removed: whoever read less would give less.

It answers what cannot be tried where there are no thousands of machines: how many tasks a second the driver schedules, how much
memory it takes, what deaths and stragglers cost. What is left out: the network, the disks, and the runner between driver and machines.

>>> outcome = simulate(Scenario(maps=60, reduces=8, fleet=Fleet(machines=10, deaths=((70.0, 2),))))
>>> outcome.tasks, outcome.lost_outputs.total() > 0, outcome.seconds < 2 * outcome.ideal
(68, True, True)
>>> outcome.taken == Counter(outcome.taken.keys()) + outcome.lost_outputs  # everything once, and what was lost once more
True
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

from dataflow.execution.context import StepStats
from dataflow.execution.task import Attempt, TaskResult
from dataflow.io.source import Piece, Source, Split
from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import Branch, GroupRoot, KeepLeaf, Program, ShuffleLeaf, SourceRoot
from dataflow.record import record
from dataflow.scheduling.events import Policy, Task
from dataflow.scheduling.job import Job
from dataflow.scheduling.simulated_machines import Fleet, SimMachines
from dataflow.scheduling.simulation import SimClock
from dataflow.scheduling.work import JobOptions
from dataflow.shard.runfile import Block, RunFile

__all__ = ["Outcome", "Scenario", "simulate"]

BUCKETS = 1 << 16
SPLIT = 64 << 20  # bytes; the paper's input pieces are of 16 to 64 MB


@record(eq=True)
class Scenario:
    """What is run where. ``blocks``: of the file that a map task writes; the driver keeps an index of them. Times in seconds.

    ``then``: how many tasks group what the reduce tasks give, and so on. ``beside``: so many tasks each of another line, map tasks first,
    whose result is united with that of the first. ``collected``: the result is a view, and lies on the machines.
    """

    maps: int = 200_000
    reduces: int = 5_000
    then: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()
    collected: bool = False
    blocks: int = 1
    map_seconds: float = 30.0
    reduce_seconds: float = 120.0
    fleet: Fleet = field(default_factory=Fleet)
    policy: Policy = field(default_factory=Policy)

    def phases(self) -> dict[str, tuple[str, int]]:
        """Of each phase the one whose shuffle it reads ("" for a source), and how many tasks it has."""
        found: dict[str, tuple[str, int]] = {}
        for line, counts in (("", (self.maps, self.reduces, *self.then)), ("beside ", self.beside)):
            before = ""
            for at, count in enumerate(counts):
                name = line + (("map", "reduce")[at] if at < 2 else f"then {at - 1}")
                found[name] = (before, count)
                before = name
        return found


@dataclass(slots=True)
class Outcome:
    """What became of it.

    ``seconds``: simulated, from the first start to the last result; ``ideal``: the usual times of all tasks over all cores.
    ``driver_seconds``: processor time of the real driver. ``attempts``: started; ``lost``: with their machines; ``unreadable``: met
    a file that was gone. ``lost_outputs``: how often the files of which task went with a machine; ``taken``: how often a task's result was
    taken. ``ends``: for each phase the simulated times at which results were taken. ``result``: of a view the tasks whose files it is, as
    far as these lie where they can be read.
    """

    seconds: float
    ideal: float
    driver_seconds: float
    tasks: int
    attempts: int
    lost: int
    unreadable: int
    backups: int
    retries: int
    lost_outputs: Counter[str]
    taken: Counter[str]
    ends: dict[str, list[float]]
    result: Counter[str]

    @property
    def rate(self) -> float:
        """Attempts that the driver starts and ends in a second of its time."""
        return self.attempts / self.driver_seconds


def simulate(scenario: Scenario, send: Callable[[Attempt], None] | None = None) -> Outcome:
    """Run a scenario. ``send`` sees each attempt as a runner would send it; its time is the driver's."""
    clock = SimClock()
    behaviour = _Behaviour(scenario)
    machines = SimMachines(clock, scenario.fleet, behaviour, send)
    options = JobOptions("simulated", 8 << 30, ("/simulated",), "/simulated", scenario.policy, merges=False)
    since, worked = perf_counter(), process_time()
    job = Job(_plan(scenario), options, machines, clock)
    watched = _Watched(job, machines, behaviour)
    result = job.run()
    apart = (machines.apart + watched.apart) / (perf_counter() - since)
    driver = (process_time() - worked) * (1 - apart)  # by shares, as other processes may have had the core in between
    cores = scenario.fleet.machines * scenario.fleet.cores
    seconds = [count * (scenario.reduce_seconds if before else scenario.map_seconds) for before, count in scenario.phases().values()]
    out = [file for file in job.files.kept("out") if file.place not in machines.gone] if scenario.collected else []
    return Outcome(
        result.seconds, sum(seconds) / cores, driver, result.tasks, machines.started, machines.lost, machines.unreadable, result.backups,
        result.retries, watched.lost_outputs, watched.taken, watched.ends, Counter(file.producer for file in out),
    )  # fmt: skip


def _plan(scenario: Scenario) -> PhysicalPlan:
    """Map tasks into a shuffle, reduce tasks out of it, into another or into the result. What the last keep stands for files on storage
    that all machines share, or for a view."""
    phases = scenario.phases()
    readers = {before: (name, count) for name, (before, count) in phases.items() if before}
    planned = []
    for name, (before, count) in phases.items():
        root = GroupRoot() if before else SourceRoot(_Numbered(count))
        leaf = ShuffleLeaf(f"of {name}", "group", partitions=readers[name][1]) if name in readers else KeepLeaf("out")
        planned.append(Phase(Program(name, name, root, Branch(leaves=(0,)), (leaf,)), f"of {before}" if before else None))
    views: dict[str, Any] = {"out": None} if scenario.collected else {}
    return PhysicalPlan(tuple(planned), (), views)


class _Numbered(Source):
    """A source of so many files, each one split."""

    def __init__(self, count: int) -> None:
        self.count = count

    def describe(self) -> str:
        return f"{self.count} files"

    def splits(self, target: int) -> list[Split]:
        return [Split(f"s3://corpus/crawl/2026-01/part-{number:07d}.parquet", 0, SPLIT, SPLIT) for number in range(self.count)]

    def read(self, split: Split) -> Iterator[Piece]:
        raise AssertionError("nothing is read in a simulation")


class _Behaviour:
    """The tasks of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.phases = scenario, scenario.phases()
        self.last = set(self.phases) - {before for before, _ in self.phases.values()}
        self.removed: set[str] = set()  # paths
        edges = [BUCKETS * number // scenario.blocks for number in range(scenario.blocks + 1)]
        self.spans = list(itertools.pairwise(edges))

    def seconds(self, given: Attempt) -> float:
        return self.scenario.reduce_seconds if given.input.shuffle is not None else self.scenario.map_seconds

    def result(self, given: Attempt, place: str) -> TaskResult:
        """A manifest. Like one that came from a machine it shares no object with others: the driver's memory is to be that of a run."""
        task, place, phase = _anew(given.task), _anew(place), given.task.rpartition("/")[0]
        if given.input.shuffle is not None:
            self._check(given, phase)
        path = f"/tmp/dataflow-0123456789abcdef/hand-17/{given.task.replace('/', '-')}-{given.attempt}.run"
        if phase not in self.last:
            size = SPLIT // self.scenario.blocks
            blocks = tuple(
                Block(size * number, size, 0x9E3779B9 ^ number, size // 100, 0, first, last - 1, size=size)
                for number, (first, last) in enumerate(self.spans)
            )
            file = RunFile(path, task, blocks, place=place)
        else:
            whole = Block(0, SPLIT, 0x9E3779B9, SPLIT // 100, size=SPLIT)
            file = RunFile(path, task, (whole,), place=place if self.scenario.collected else "")
        stats = {_anew(phase): StepStats(SPLIT // 100, SPLIT // 100)}
        return TaskResult(task, given.attempt, [file], {}, stats, SPLIT // 100, SPLIT, SPLIT, 0, "", 1.0, 1 << 28)

    def _check(self, given: Attempt, phase: str) -> None:
        """A task reads from every task before it; what stands for one has its name, and more."""
        assert given.input.shuffle is not None
        files = given.input.shuffle.files
        before = self.phases[phase][0]
        count = self.phases[before][1]
        if len({file.producer.partition(".")[0] for file in files}) != count:
            raise AssertionError(f"{given.task} is given {len(files)} files of the {count} tasks of {before}")
        if self.removed and not self.removed.isdisjoint(file.path for file in files):
            raise AssertionError(f"{given.task} is given files that were removed")


def _anew(text: str) -> str:
    """An equal text that is another object."""
    return text[:1] + text[1:]


class _Watched:
    """A second account of a job, kept apart from its own: which results were taken when, and which files went with machines."""

    def __init__(self, job: Job, machines: SimMachines, behaviour: _Behaviour) -> None:
        self.job, self.machines, self.behaviour = job, machines, behaviour
        self.taken: Counter[str] = Counter()
        self.ends: dict[str, list[float]] = {}
        self.at: dict[str, set[str]] = {}  # by place: the tasks whose files are there
        self.lost_outputs: Counter[str] = Counter()
        self.apart = 0.0
        self._done = job.scheduler.done
        self._remove = job.files.remove
        job.scheduler.done = self.done
        job.files.remove = self.remove  # type: ignore[method-assign]
        machines.on_death = self.death

    def done(self, task: Task, result: TaskResult) -> None:
        since = perf_counter()
        self.taken[task.id] += 1
        self.ends.setdefault(task.group, []).append(self.machines.clock.now())
        for file in result.outputs:
            if file.place:
                self.at.setdefault(file.place, set()).add(task.id)
        self.apart += perf_counter() - since
        self._done(task, result)

    def remove(self, name: str) -> None:
        self.behaviour.removed.update(file.path for file in self.job.files.kept(name))
        self._remove(name)

    def death(self, place: str) -> None:
        self.lost_outputs.update(self.at.pop(place, set()))
