"""The real job on simulated machines that die, straggle and come back: nothing is lost, nothing comes twice, and it does not take long."""

import random
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dataflow.errors import Report, ShardLostError, StepError
from dataflow.execution.task import Attempt
from dataflow.io.source import Source
from dataflow.physical.program import Branch, GroupRoot, KeepLeaf, Program, ShuffleInput, SourceRoot, TaskInput
from dataflow.physical.stages import Phase, PhysicalPlan
from dataflow.scheduling import simulated_job
from dataflow.scheduling.enough import Enough
from dataflow.scheduling.events import AttemptId, Event, Failed, Policy, Task
from dataflow.scheduling.filed import FiledFiles
from dataflow.scheduling.scheduler import Scheduler
from dataflow.scheduling.simulated_job import Outcome, Scenario, simulate
from dataflow.scheduling.simulated_machines import Fleet, SimMachines
from dataflow.scheduling.simulation import SimClock, SimWorkers
from dataflow.scheduling.tasking import TaskMaker
from dataflow.scheduling.work import JobOptions, Work
from dataflow.shard.runfile import Block, RunFile

OPTIONS = JobOptions("r", 8 << 30, ("/s",), "/s", merges=False)
FLEET = Fleet(machines=40, straggling=0.01, slow=0.02)
SMALL = Scenario(maps=1_600, reduces=100, fleet=FLEET)  # ideal: 1,200 s of maps, 300 s of reduces
NEVER = Policy(backup_after_done=float("inf"))


def dying(*deaths: tuple[float, int], **other: Any) -> Scenario:
    return replace(SMALL, fleet=replace(FLEET, deaths=deaths, **other))


def held_to_account(outcome: Outcome, scenario: Scenario = SMALL) -> None:
    """Every task's result was taken once, and once more for each time its files were lost; no other was."""
    everything = {f"map/{i:05d}" for i in range(scenario.maps)} | {f"reduce/{i:05d}" for i in range(scenario.reduces)}
    assert outcome.taken == Counter(everything) + outcome.lost_outputs
    assert outcome.tasks == len(everything)


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_the_machines_dies_and_only_what_was_lost_is_made_again(seed: int) -> None:
    scenario = replace(SMALL, fleet=replace(FLEET, seed=seed))
    calm = simulate(scenario)
    held_to_account(calm)
    assert not calm.lost and not calm.lost_outputs
    for when in (400.0, 1_000.0, 1_450.0):  # in the maps, at their end, in the reduces
        outcome = simulate(replace(scenario, fleet=replace(scenario.fleet, deaths=((when, 4),))))
        held_to_account(outcome)
        assert outcome.lost and len(outcome.lost_outputs) > 20
        assert outcome.seconds <= 1.3 * calm.seconds, when


def test_machines_that_die_again_and_again_and_never_come_back() -> None:
    outcome = simulate(dying(*((100.0 * i, 1) for i in range(1, 16)), back=None))
    held_to_account(outcome)
    assert max(outcome.lost_outputs.values()) > 1  # some files were lost twice
    assert outcome.seconds < 2 * outcome.ideal


def test_a_reader_that_misses_many_files_one_after_another_is_not_given_up() -> None:
    """Each reads from all machines, so in a long run it meets more deaths than a task may fail."""
    scenario = replace(dying(*((1_450.0 + 120 * i, 1) for i in range(12))), reduces=40, reduce_seconds=400.0)
    outcome = simulate(scenario)
    held_to_account(outcome, scenario)
    assert outcome.unreadable > Policy().attempts * scenario.reduces


CHAIN = Scenario(maps=60, reduces=40, then=(30, 20), map_seconds=4, reduce_seconds=6, fleet=Fleet(machines=10, straggling=0.02))
PLANS = {
    "chain": CHAIN,
    "collected chain": replace(CHAIN, then=(20, 20, 20, 10), collected=True),
    "union": replace(CHAIN, then=(), beside=(20, 20, 20, 20, 20), collected=True),
    "union of a line that ends late": replace(CHAIN, then=(40, 40), beside=(20, 20), collected=True),
}


def whole_result(scenario: Scenario) -> Counter[str]:
    phases = scenario.phases()
    if not scenario.collected:
        return Counter()
    last = set(phases) - {before for before, _ in phases.values()}
    return Counter(f"{name}/{number:05d}" for name in last for number in range(phases[name][1]))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("seed", range(3))
def test_deaths_in_every_phase_of_a_deep_plan(plan: str, seed: int) -> None:
    """What a task was given is looked at in the simulation itself."""
    scenario = replace(PLANS[plan], fleet=replace(PLANS[plan].fleet, seed=seed))
    calm = simulate(scenario)
    everything = Counter(f"{name}/{n:05d}" for name, (_, count) in scenario.phases().items() for n in range(count))
    assert calm.taken == everything and calm.result == whole_result(scenario)
    for part in range(1 + seed, 20, 3):
        when = calm.seconds * part / 20
        outcome = simulate(replace(scenario, fleet=replace(scenario.fleet, deaths=((when, 1 + part % 3),))))
        assert outcome.result == whole_result(scenario), when
        again = outcome.taken - everything
        assert again <= outcome.lost_outputs, "something was made again that was not lost"
        assert outcome.taken.keys() == everything.keys()


@pytest.mark.parametrize("plan", PLANS)
def test_deaths_again_and_again_in_a_deep_plan(plan: str) -> None:
    scenario = PLANS[plan]
    calm = simulate(scenario)
    for seed in range(5):
        draw = random.Random(seed)
        deaths = tuple((calm.seconds * draw.uniform(0.02, 1.2), 1) for _ in range(8))
        outcome = simulate(replace(scenario, fleet=replace(scenario.fleet, deaths=deaths, seed=seed)))
        assert outcome.result == whole_result(scenario), seed


@pytest.mark.parametrize("plan", PLANS)
def test_shuffles_that_were_removed_are_made_again_as_a_whole(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all machines were safe: a shuffle then goes early, and everything back to the sources may be needed again."""
    monkeypatch.setattr(FiledFiles, "can_be_lost", lambda self, name: False)
    scenario = PLANS[plan]
    calm = simulate(scenario)
    for part in (8, 14, 17, 19):
        deaths = ((calm.seconds * part / 20, 2), (calm.seconds * (part / 20 + 0.1), 1))
        outcome = simulate(replace(scenario, fleet=replace(scenario.fleet, deaths=deaths)))
        assert outcome.result == whole_result(scenario), part


def test_shuffles_stay_until_nothing_that_can_be_lost_comes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    job: Any = None
    removed: list[str] = []
    remove = FiledFiles.remove

    def noting(self: FiledFiles, name: str) -> None:
        removed.append(f"{name} in {'/'.join(job.open) or 'the end'}")
        remove(self, name)

    monkeypatch.setattr(FiledFiles, "remove", noting)

    def run(fleet: Fleet, safe: bool) -> list[str]:
        nonlocal job
        removed.clear()
        monkeypatch.setattr(FiledFiles, "can_be_lost", lambda self, name: not safe)
        clock = SimClock()
        machines = SimMachines(clock, fleet, simulated_job._Behaviour(CHAIN))
        job = simulated_job.Job(simulated_job._plan(CHAIN), OPTIONS, machines, clock)
        job.run()
        return removed

    assert run(Fleet(machines=10), safe=False) == [f"of {name} in the end" for name in ("map", "reduce", "then 1")] + ["out in the end"]
    early = run(Fleet(machines=10), safe=True)
    assert early.index("of map in the end") == 0, "a shuffle goes when what was made of it has been read"


def test_fault_11_backups_shorten_the_tail() -> None:
    with_backups, without = simulate(SMALL), simulate(replace(SMALL, policy=NEVER))
    held_to_account(without)
    assert without.backups == 0 < with_backups.backups < 0.1 * with_backups.tasks
    assert with_backups.seconds < 0.9 * without.seconds


def test_a_backup_runs_on_another_machine() -> None:
    clock, seen = SimClock(), []

    class Looking(SimMachines):
        def start(self, attempt: AttemptId, payload: Any) -> None:
            super().start(attempt, payload)
            if (first := self.in_hand.get(AttemptId(attempt.task, attempt.number - 1))) is not None:
                seen.append(first.machine is not self.in_hand[attempt].machine)

    machines = Looking(clock, FLEET, simulated_job._Behaviour(SMALL))
    simulated_job.Job(simulated_job._plan(SMALL), OPTIONS, machines, clock).run()
    assert seen and all(seen)


def test_the_driver_does_as_much_for_a_task_of_many_as_for_one_of_few() -> None:
    """Lines that are run in `scheduling`, simulation apart: six times the tasks, five times the lines, as some are of the clock."""

    def lines(maps: int) -> int:
        count = 0

        def trace(frame: Any, event: str, arg: Any) -> Any:
            nonlocal count
            name = frame.f_code.co_filename
            if event == "call" and ("/scheduling/" not in name or "/simulat" in name):
                return None
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            simulate(Scenario(maps, maps // 10, fleet=Fleet(machines=20, straggling=0.01, deaths=((maps, 2), (1.95 * maps, 2)))))
        finally:
            sys.settrace(before)
        return count

    assert lines(3_000) < 5 * lines(500)


def test_a_task_that_is_made_again_in_parts_stands_no_more_for_itself() -> None:
    """The second time it does not fit the memory, so it is cut; what its parts write replaces what it wrote whole."""
    clock = SimClock()

    class Cramped(SimMachines):
        def _end(self, hand: Any) -> None:
            if hand.attempt.task == lost[0] and hand.attempt.number > 0:
                self._leave(hand)
                self._events.append(Failed(hand.attempt, "memory", StepError("full"), None, (0, 100)))
            else:
                super()._end(hand)

    scenario = Scenario(40, 8, fleet=Fleet(machines=4, deaths=((250.0, 1),)))
    lost: list[str] = [""]
    machines = Cramped(clock, scenario.fleet, simulated_job._Behaviour(scenario))
    job = simulated_job.Job(simulated_job._plan(scenario), OPTIONS, machines, clock)
    machines.on_death = lambda place: lost.__setitem__(0, job.files.at(place)[0][1].producer)
    read: list[Attempt] = []
    machines.send = lambda given: read.append(given) if given.input.shuffle is not None else None
    result = job.run()
    assert result.tasks == 48 and len(read) >= 8
    for given in read:
        producers = [file.producer for file in given.input.shuffle.files]  # type: ignore[union-attr]
        assert lost[0] and lost[0] not in producers and len(set(producers)) == len(producers)
        assert sum(name.startswith(f"{lost[0]}.") for name in producers) >= 2


@pytest.mark.timeout(60)
def test_a_file_that_is_always_gone_ends_the_run() -> None:
    clock = SimClock()
    report = Report("a file of this run is gone", cause_type="map/00000")

    class Missing(SimWorkers):
        def start(self, attempt: AttemptId, payload: Any) -> None:
            super().start(attempt, payload)
            self.cancel(attempt)
            self.events.append(Failed(attempt, "gone", ShardLostError(report), report))

        events: list[Event] = []

        def wait(self, timeout: float) -> list[Event]:
            told, self.events[:] = list(self.events), []
            return told or super().wait(timeout)

    workers = Missing(clock, slots=1)
    scheduler = Scheduler(workers, clock, corrupt=lambda producer, since: True)
    scheduler.add([Task("reduce/00000", "reduce")])
    with pytest.raises(ShardLostError):
        scheduler.run()
    assert workers.started == Policy().attempts


# -- the bookkeeping


def a_file(path: str, producer: str, place: str = "", rows: int = 1) -> RunFile:
    return RunFile(path, producer, (Block(0, 10, 1, rows),), place=place)


def test_two_leaves_of_a_task_that_feed_one_name_keep_their_files_apart() -> None:
    files = FiledFiles()
    program = Program("p", "p", SourceRoot(Source()), Branch(), ())
    first, second = a_file("a-0-0", "map/0"), a_file("a-0-1", "map/0")
    files.file("kept", ((0, 0), 0), first)
    files.file("kept", ((0, 0), 1), second)
    given = [TaskInput(files=(file,)) for file in files.kept("kept")]
    phase = Phase(program, kept="kept")
    assert [files.current(one, phase).files for one in given] == [(first,), (second,)]
    again = a_file("a-1-1", "map/0")
    files.file("kept", ((0, 0), 1), again)
    assert [files.current(one, phase).files for one in given] == [(first,), (again,)]
    assert files.kept("kept") == (first, again)


def test_the_files_of_a_place_are_those_that_count_now() -> None:
    files = FiledFiles()
    files.file("s", ((0, 0), 0), a_file("a", "map/0", "here"))
    files.file("s", ((0, 1), 0), a_file("b", "map/1", "here"))
    files.file("s", ((0, 0), 0), a_file("c", "map/0", "there"))
    assert [file.path for _, file in files.at("here")] == ["b"]
    files.forget("s", ((0, 1), 0))
    assert files.at("here") == [] and [file.path for file in files.kept("s")] == ["c"]
    files.remove("s")
    assert files.at("there") == []


def test_what_was_removed_is_never_read_as_nothing() -> None:
    files = FiledFiles()
    files.file("s", ((0, 0), 0), a_file("a", "map/0", "here"))
    files.file("s", ((0, 1), 0), a_file("b", "map/1", "here"))
    files.remove("s")
    given, phase = TaskInput(shuffle=ShuffleInput((), 0, 1, 10)), Phase(Program("p", "p", GroupRoot(), Branch(), ()), "s")
    with pytest.raises(ShardLostError, match="were removed"):
        files.current(given, phase)
    files.file("s", ((0, 0), 0), a_file("c", "map/0", "here"))  # its task ran again for the sake of another of its leaves
    assert files.at("here") == []
    assert files.missing("s") == ["map/0", "map/1"]
    files.file("s", ((0, 0), 0), a_file("d", "map/0", "here"))
    assert files.missing("s") == ["map/1"]


def test_a_task_that_writes_nothing_when_it_runs_again_has_no_file_any_more() -> None:
    files = FiledFiles()
    lost = a_file("a", "map/0", "here")
    files.file("kept", ((0, 0), 0), lost)
    files.lose("here")
    assert files.missing("kept") == ["map/0"]
    files.file("kept", ((0, 0), 0), None)
    assert files.missing("kept") == [] and [file.rows for file in files.kept("kept")] == [0]
    phase = Phase(Program("p", "p", SourceRoot(Source()), Branch(), ()), kept="kept")
    assert files.current(TaskInput(files=(lost,)), phase).files == files.kept("kept")


def test_files_that_were_copied_before_their_place_goes_are_not_missing() -> None:
    files = FiledFiles()
    for number, path in enumerate("abc"):
        files.file("s", ((0, number), 0), a_file(path, f"map/{number}", "here"))
    kept = files.kept("s")
    assert files.move("here", {"a": ("there", "x"), "b": ("gone", "y"), "unknown": ("there", "z")})
    files.lose("gone")
    files.lose("here")
    assert [(file.place, file.path) for file in files.kept("s")] == [("there", "x"), ("gone", "y"), ("here", "c")]
    assert files.missing("s") == ["map/1", "map/2"]
    phase = Phase(Program("p", "p", SourceRoot(Source()), Branch(), ()), kept="s")
    assert files.current(TaskInput(files=kept[:1]), phase).files == files.kept("s")[:1]
    assert not files.move("there", {"x": ("gone", "w")}) and files.missing("s") == ["map/1", "map/2", "map/0"]


def test_a_file_that_comes_from_a_place_that_is_gone_is_missing_at_once() -> None:
    files = FiledFiles()
    files.lose("here")
    assert not files.file("s", ((0, 0), 0), a_file("a", "map/0", "here"))
    assert files.missing("s") == ["map/0"]


def test_enough_is_what_the_first_tasks_gave_in_their_order() -> None:
    files = FiledFiles()
    enough = Enough(files)
    program = Program("p", "p", SourceRoot(Source()), Branch(), (KeepLeaf("kept", 5),))

    def task(*order: int) -> Task:
        return Task("/".join(map(str, order)), "p", Work(order, "p", TaskInput(), program, True, True, lambda t, n: None))  # type: ignore[arg-type,return-value]

    undone = {"0/0", "0/1", "0/2", "0/3"}
    enough.opened(Phase(program), [task(0, i) for i in range(4)])
    for order, rows in [((0, 1), 3), ((0, 2), 2)]:
        undone.discard("/".join(map(str, order)))
        files.file("kept", (order, 0), a_file("f", "t", rows=rows))
        assert not enough.reached("p", undone)
    undone = undone - {"0/0"} | {"0/0/0", "0/0/1"}
    enough.replaced("p", [task(0, 0, 0), task(0, 0, 1)])
    assert not enough.reached("p", undone)
    undone.discard("0/0/0")
    assert not enough.reached("p", undone)
    undone.discard("0/0/1")  # these gave nothing
    assert enough.reached("p", undone)
    assert not enough.reached("another", set())


def test_the_paths_of_a_source_are_looked_at_once_a_phase() -> None:
    class Counting(Source):
        looked = 0

        @property
        def paths(self) -> list[str]:
            Counting.looked += 1
            return ["a"] * 100

        def splits(self, target: int) -> list[Any]:
            return simulated_job._Numbered(50).splits(target)

    program = Program("p", "p", SourceRoot(Counting()), Branch(leaves=(0,)), (KeepLeaf("kept"),))
    plan = PhysicalPlan((Phase(program),), (), {})
    maker = TaskMaker(plan, OPTIONS, FiledFiles(), [], lambda: 1)
    assert len(maker.patiently(plan.phases[0])) == 50 and Counting.looked == 1
