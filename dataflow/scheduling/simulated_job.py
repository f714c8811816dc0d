"""A MapReduce job of any size on simulated machines: the real job, scheduler and bookkeeping; only what tasks do is made up.

    Scenario ──> plan (map ─ shuffle ─ reduce), SimMachines ──> Job.run() ──> Outcome: how long it took, and whom
                                                     └─ every manifest is made of new objects, as if it came from a machine

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

from dataflow.execution.context import StepStats
from dataflow.execution.task import Attempt, TaskResult
from dataflow.io.source import Piece, Source, Split
from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import Branch, GroupRoot, KeepLeaf, Program, ShuffleLeaf, SourceRoot
from dataflow.scheduling.events import Policy, Task
from dataflow.scheduling.job import Job
from dataflow.scheduling.simulated_machines import Fleet, SimMachines
from dataflow.scheduling.simulation import SimClock
from dataflow.scheduling.work import JobOptions
from dataflow.shard.runfile import Block, RunFile

__all__ = ["Outcome", "Scenario", "simulate"]

BUCKETS = 1 << 16
SPLIT = 64 << 20  # bytes; the paper's input pieces are of 16 to 64 MB


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is run where. ``blocks``: of the file that a map task writes; the driver keeps an index of them. Times in seconds."""

    maps: int = 200_000
    reduces: int = 5_000
    blocks: int = 1
    map_seconds: float = 30.0
    reduce_seconds: float = 120.0
    fleet: Fleet = field(default_factory=Fleet)
    policy: Policy = field(default_factory=Policy)


@dataclass(slots=True)
class Outcome:
    """What became of it.

    ``seconds``: simulated, from the first start to the last result; ``ideal``: the usual times of all tasks over all cores.
    ``driver_seconds``: processor time of the real driver. ``attempts``: started; ``lost``: with their machines; ``unreadable``: met
    a file that was gone. ``lost_outputs``: how often the files of which task went with a machine; ``taken``: how often a task's result was
    taken. ``ends``: for each phase the simulated times at which results were taken.
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

    @property
    def rate(self) -> float:
        """Attempts that the driver starts and ends in a second of its time."""
        return self.attempts / self.driver_seconds


def simulate(scenario: Scenario, send: Callable[[Attempt], None] | None = None) -> Outcome:
    """Run a scenario. ``send`` sees each attempt as a runner would send it; its time is the driver's."""
    clock = SimClock()
    machines = SimMachines(clock, scenario.fleet, _Behaviour(scenario), send)
    options = JobOptions("simulated", 8 << 30, ("/simulated",), "/simulated", scenario.policy)
    since, worked = perf_counter(), process_time()
    job = Job(_plan(scenario), options, machines, clock)
    watched = _Watched(job, machines)
    result = job.run()
    apart = (machines.apart + watched.apart) / (perf_counter() - since)
    driver = (process_time() - worked) * (1 - apart)  # by shares, as other processes may have had the core in between
    cores = scenario.fleet.machines * scenario.fleet.cores
    ideal = (scenario.maps * scenario.map_seconds + scenario.reduces * scenario.reduce_seconds) / cores
    return Outcome(
        result.seconds, ideal, driver, result.tasks, machines.started, machines.lost, machines.unreadable, result.backups,
        result.retries, watched.lost_outputs, watched.taken, watched.ends,
    )  # fmt: skip


def _plan(scenario: Scenario) -> PhysicalPlan:
    """Map tasks into a shuffle, reduce tasks out of it. What these keep stands for files on storage that all machines share."""
    shuffle = ShuffleLeaf("shuffle", "group", partitions=scenario.reduces)
    maps = Program("map", "map", SourceRoot(_Numbered(scenario.maps)), Branch(leaves=(0,)), (shuffle,))
    reduces = Program("reduce", "reduce", GroupRoot(), Branch(leaves=(0,)), (KeepLeaf("out"),))
    return PhysicalPlan((Phase(maps), Phase(reduces, "shuffle")), (), {})


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
        self.scenario = scenario
        edges = [BUCKETS * number // scenario.blocks for number in range(scenario.blocks + 1)]
        self.spans = list(itertools.pairwise(edges))

    def seconds(self, given: Attempt) -> float:
        return self.scenario.reduce_seconds if given.input.shuffle is not None else self.scenario.map_seconds

    def result(self, given: Attempt, place: str) -> TaskResult:
        """A manifest. Like one that came from a machine it shares no object with others: the driver's memory is to be that of a run."""
        task, place = _anew(given.task), _anew(place)
        path = f"/tmp/dataflow-0123456789abcdef/hand-17/{given.task.replace('/', '-')}-{given.attempt}.run"
        if given.input.shuffle is None:
            size = SPLIT // self.scenario.blocks
            blocks = tuple(
                Block(size * number, size, 0x9E3779B9 ^ number, size // 100, 0, first, last - 1, size=size)
                for number, (first, last) in enumerate(self.spans)
            )
            file, label = RunFile(path, task, blocks, place=place), _anew("map")
        else:
            file, label = RunFile(path, task, (Block(0, SPLIT, 0x9E3779B9, SPLIT // 100, size=SPLIT),)), _anew("reduce")
        stats = {label: StepStats(SPLIT // 100, SPLIT // 100)}
        return TaskResult(task, given.attempt, [file], {}, stats, SPLIT // 100, SPLIT, SPLIT, 0, "", 1.0, 1 << 28)


def _anew(text: str) -> str:
    """An equal text that is another object."""
    return text[:1] + text[1:]


class _Watched:
    """A second account of a job, kept apart from its own: which results were taken when, and which files went with machines."""

    def __init__(self, job: Job, machines: SimMachines) -> None:
        self.job, self.machines = job, machines
        self.taken: Counter[str] = Counter()
        self.ends: dict[str, list[float]] = {}
        self.at: dict[str, set[str]] = {}  # by place: the tasks whose files are there
        self.lost_outputs: Counter[str] = Counter()
        self.apart = 0.0
        self._done = job.scheduler.done
        job.scheduler.done = self.done
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

    def death(self, place: str) -> None:
        self.lost_outputs.update(self.at.pop(place, set()))
