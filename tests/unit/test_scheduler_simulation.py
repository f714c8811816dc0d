"""The real scheduler in simulated time: whatever the order of events, every result is delivered once, and the run ends."""

import itertools
import math
from collections import Counter
from typing import Any

import pytest

from dataflow.errors import StepError, TaskTimeoutError, WorkerCrashedError
from dataflow.scheduling.events import AttemptId, Event, Failed, Finished, Lost, PlaceLost, PlaceMoved, Policy, Task
from dataflow.scheduling.scheduler import Scheduler
from dataflow.scheduling.simulation import SimClock, SimWorkers, Weather, halves

SEEDS = range(200)
STORM = Weather(death=0.15, failure=0.15, straggler=0.05, hang=0.03, late=0.5, twice=0.2)
PATIENT = {"task_timeout": 200.0, "hang_attempts": 4}


class Run:
    """A scheduler on simulated workers, and what it told its owner."""

    def __init__(self, seed, weather, tasks, slots=6, policy=None, split=halves):
        self.clock = SimClock()
        self.workers = SimWorkers(self.clock, seed, slots, weather)
        self.done, self.discarded, self.progress = [], [], []
        self.scheduler = Scheduler(
            self.workers, self.clock, policy or Policy(**PATIENT), split,
            done=lambda task, result: self.done.append((task, result)),
            discard=lambda task, result: self.discarded.append((task, result)),
            progress=lambda task, rows, size: self.progress.append(task.id),
        )  # fmt: skip
        self.scheduler.add(tasks)

    def go(self):
        begun = self.clock.now()
        self.scheduler.run()
        return self.clock.now() - begun

    def settle(self):
        """Let what is still on its way arrive."""
        for _ in range(5000):
            for event in self.workers.wait(1.0):
                self.scheduler.hear(event)
            if not self.workers._heap:
                return


def plain(count, group="map"):
    return [Task(f"{group}/{i:05d}", group, f"{group} {i}") for i in range(count)]


@pytest.mark.parametrize("block", range(10))
def test_fault_57_every_result_is_delivered_exactly_once_in_any_weather(block):
    seen = Counter()
    for seed in SEEDS[block::10]:
        run = Run(seed, STORM, plain(40))
        run.go()
        assert sorted(task.id for task, _ in run.done) == [task.id for task in plain(40)], seed
        assert all(task.payload == result.payload for task, result in run.done), seed
        assert run.scheduler.idle and run.scheduler.active == 0, seed
        assert not run.workers.running, f"seed {seed}: attempts left running"
        seen.update(deaths=run.workers.deaths, failures=run.workers.failures, backups=run.scheduler.backups, late=run.workers.late)
    assert seen["deaths"] and seen["failures"] and seen["backups"] and seen["late"]  # the weather was bad indeed


@pytest.mark.parametrize("block", range(4))
def test_fault_57_the_files_of_late_attempts_are_discarded(block):
    """Every result that was produced is either the one delivered or discarded."""
    late = 0
    for seed in SEEDS[block::4]:
        run = Run(seed, Weather(death=0.1, straggler=0.1, late=1.0, slower=30), plain(30))
        run.go()
        run.settle()
        winners = {result.attempt for _, result in run.done}
        thrown = [result.attempt for _, result in run.discarded]
        assert len(winners) == 30, seed
        assert len(set(thrown)) == len(thrown), seed
        assert not winners & set(thrown), seed
        late += len(thrown)
    assert late > 0


@pytest.mark.parametrize("block", range(4))
def test_fault_57_the_winner_told_twice_is_not_discarded(block):
    """A message that comes twice must not throw away the files that were taken when it came first."""
    for seed in SEEDS[block::4]:
        run = Run(seed, Weather(twice=0.5), plain(30))
        run.go()
        run.settle()
        winners = {result.attempt for _, result in run.done}
        assert not winners & {result.attempt for _, result in run.discarded}, seed


def test_fault_57_a_run_repeats_exactly_from_its_seed():
    def story(seed):
        run = Run(seed, STORM, plain(40))
        return run.go(), [(task.id, result) for task, result in run.done], run.scheduler.log, run.scheduler.retries

    assert story(7) == story(7)
    assert story(7) != story(8)


def test_fault_11_a_straggler_gets_a_backup_attempt_and_no_longer_decides_when_the_run_ends():
    backed_up = 0
    for seed in SEEDS:
        weather = Weather(straggler=0.02, slower=200, unlucky=1)
        run = Run(seed, weather, plain(60), slots=8)
        seconds = run.go()
        assert len(run.done) == 60, seed
        if run.scheduler.backups:
            backed_up += 1
            assert any(result.attempt.number == 1 for _, result in run.done), seed
        assert seconds < 60, f"seed {seed}: {seconds:.0f} s, a straggler takes 100 s and more"
    assert backed_up > 100


def test_fault_11_a_group_that_is_even_gets_no_backups():
    for seed in SEEDS[:50]:
        run = Run(seed, Weather(), plain(60))
        run.go()
        assert (run.scheduler.backups, run.scheduler.retries, run.workers.started) == (0, 0, 60), seed


def test_fault_11_a_backup_is_one_of_two_not_one_of_many():
    """A task that is slow everywhere is not copied for ever."""

    class AlwaysSlow(SimWorkers):
        def start(self, attempt, payload):
            self.weather = Weather(seconds=400.0 if payload == "map 3" else 1.0)
            super().start(attempt, payload)

    run = Run(0, Weather(), plain(60))
    run.workers = run.scheduler.workers = AlwaysSlow(run.clock, 0, 6)
    run.go()
    assert len(run.done) == 60 and run.scheduler.backups == 1
    assert run.workers.started == 61


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1024, 8192, 100_000])
@pytest.mark.parametrize("knows_rows", [True, False])
def test_fault_07_a_poison_row_is_found_by_bisection(count, knows_rows):
    for poison in {0, count // 3, count - 1}:
        seen = []

        def split(task, rows, how):
            parts = halves(task, rows, how)
            if parts is None:
                seen.append(task.payload)
                return []  # set aside, as on_error="skip" does
            return parts

        run = Run(poison, Weather(poison=frozenset({poison}), knows_rows=knows_rows), [Task("map/0", "map", range(count))], split=split)
        run.go()
        assert seen == [range(poison, poison + 1)]
        assert sorted(row for task, _ in run.done for row in task.payload) == [row for row in range(count) if row != poison]
        assert run.workers.deaths <= math.ceil(math.log2(count)) + 4  # three before the first split, and a last row must kill twice


def test_fault_07_a_poison_row_that_may_not_be_skipped_ends_the_run():
    run = Run(0, Weather(poison=frozenset({77})), [Task("map/0", "map", range(1000))])
    with pytest.raises(WorkerCrashedError) as caught:
        run.go()
    assert caught.value.report.location == "row 78 of its input"
    assert run.workers.deaths <= math.ceil(math.log2(1000)) + 4


def test_fault_07_several_poison_rows_are_all_found_and_no_other_row_is_lost():
    for seed in SEEDS[:40]:
        poison = frozenset({seed % 300, (seed * 37) % 300, 299})
        seen = []

        def split(task, rows, how, seen=seen):
            parts = halves(task, rows, how)
            return seen.extend(task.payload) or [] if parts is None else parts

        weather = Weather(poison=poison, death=0.02, late=0.3, twice=0.1, unlucky=1)
        run = Run(seed, weather, [Task(f"map/{i}", "map", range(100 * i, 100 * i + 100)) for i in range(3)], split=split)
        run.go()
        got = sorted(row for task, _ in run.done for row in task.payload)
        assert sorted([*got, *seen]) == list(range(300)), seed
        assert set(poison) <= set(seen), seed


def test_fault_07_one_chance_death_of_a_part_costs_no_row():
    """A part of a split task dies once for another reason, as it may when workers are killed from outside: its row is kept."""

    class ChanceDeath(SimWorkers):
        def start(self, attempt, payload):
            poisoned = Weather(poison=frozenset({payload.start})) if payload == range(1) and attempt.number == 0 else self.weather
            kept, self.weather = self.weather, poisoned
            super().start(attempt, payload)
            self.weather = kept

    lost = []
    run = Run(0, Weather(), [Task("map/0", "map", range(2))])
    run.scheduler.give_up = lambda task, how, error: lost.extend(task.payload) or []
    run.workers = run.scheduler.workers = ChanceDeath(run.clock, 0, 6, Weather(poison=frozenset({1})))
    run.go()
    assert lost == [1]


@pytest.mark.timeout(60)
def test_fault_06_workers_that_always_die_end_the_run():
    for seed in SEEDS[:20]:
        run = Run(seed, Weather(death=1.0, unlucky=10**9), plain(20), split=lambda task, rows, how: None)
        with pytest.raises(WorkerCrashedError):
            run.go()
        assert run.workers.deaths <= 3 * 20


def test_transient_failures_are_tried_again_and_user_failures_are_not():
    class Failing(SimWorkers):
        def __init__(self, *args, kind, times):
            super().__init__(*args)
            self.kind, self.times = kind, times

        def start(self, attempt, payload):
            if attempt.number < self.times:
                self.running[attempt] = self.clock.now()
                self.started += 1
                self._put(self.clock.now() + 0.1, Failed(attempt, self.kind, StepError(f"{self.kind} {attempt.number}")))
            else:
                super().start(attempt, payload)

    for kind, times, ends_well in [("transient", 3, True), ("transient", 4, False), ("resource", 2, True), ("resource", 3, False),
                                   ("memory", 1, True), ("memory", 2, False), ("user", 1, False), ("load", 1, False)]:  # fmt: skip
        run = Run(0, Weather(), plain(1), split=lambda task, rows, how: None)
        run.workers = run.scheduler.workers = Failing(run.clock, 0, 6, kind=kind, times=times)
        if ends_well:
            run.go()
            assert [result.attempt.number for _, result in run.done] == [times]
        else:
            with pytest.raises(StepError, match=kind):
                run.go()
            assert run.done == [] and run.workers.started == times


def test_fault_20_a_hang_is_tried_again_once_and_then_is_an_error_with_the_place():
    once = Run(0, Weather(hang=1.0, unlucky=1), plain(3), policy=Policy(task_timeout=30))
    seconds = once.go()
    assert len(once.done) == 3 and 30 <= seconds < 60
    ever = Run(0, Weather(hang=1.0, unlucky=10**9), plain(1), policy=Policy(task_timeout=30))
    with pytest.raises(TaskTimeoutError) as caught:
        ever.go()
    assert "hangs in a simulation" in str(caught.value) and ever.workers.started == 2


def test_fault_20_an_attempt_that_makes_progress_may_take_longer_than_the_time_out():
    run = Run(0, Weather(seconds=100.0), plain(3), policy=Policy(task_timeout=30))
    run.go()
    assert len(run.done) == 3 and run.scheduler.retries == 0 and run.progress


def test_fault_04_the_end_of_a_hung_attempt_that_comes_back_is_not_taken_twice():
    """SIGSTOP, the lease ends, another attempt runs, SIGCONT: the first one's result comes late and is thrown away."""
    clock = SimClock()
    workers = SimWorkers(clock, 0, 2)
    done, thrown = [], []
    scheduler = Scheduler(workers, clock, Policy(), done=lambda t, r: done.append(r), discard=lambda t, r: thrown.append(r))
    (task,) = plain(1)
    scheduler.add([task])
    scheduler._fill()
    scheduler._hung(scheduler.states[task.id], 0, 60.0)
    scheduler._fill()
    scheduler.hear(Finished(AttemptId(task.id, 0), "zombie"))
    assert done == [] and thrown == ["zombie"]
    scheduler.hear(Finished(AttemptId(task.id, 1), "second"))
    scheduler.hear(Finished(AttemptId(task.id, 0), "zombie again"))
    assert done == ["second"] and thrown == ["zombie", "zombie again"]


def test_fault_34_the_producer_of_a_corrupt_file_runs_again_before_its_reader():
    clock = SimClock()
    order = []

    class Reading(SimWorkers):
        def start(self, attempt, payload):
            if attempt == AttemptId("reduce/00000", 0):
                self.running[attempt] = clock.now()
                error = StepError("bad")
                self._put(clock.now() + 0.1, Failed(attempt, "corrupt", error, error.report))
            else:
                super().start(attempt, payload)

    workers = Reading(clock, 0, 2)
    remaking = set()

    def corrupt(producer, since):
        remaking.add("map/00000")
        scheduler.add([Task("map/00000", "map", "map 0")], front=True)
        return True

    def done(task, result):
        remaking.discard(task.id)
        order.append(task.id)

    scheduler = Scheduler(workers, clock, Policy(), done=done, corrupt=corrupt, ready=lambda group: group == "map" or not remaking)
    scheduler.add(plain(2))
    scheduler.run()
    scheduler.add(plain(1, "reduce"))
    scheduler.run()
    assert sorted(order[:2]) == ["map/00000", "map/00001"] and order[2:] == ["map/00000", "reduce/00000"]


@pytest.mark.timeout(60)
def test_fault_34_a_file_that_is_always_corrupt_ends_the_run():
    """A disk that flips bits every time must not keep a run going for ever."""
    clock = SimClock()

    class Corrupting(SimWorkers):
        def start(self, attempt, payload):
            if attempt.task.startswith("reduce"):
                if self.started > 500:
                    raise AssertionError("the run goes on for ever")
                self.started += 1
                self.running[attempt] = clock.now()
                error = StepError("bad")
                self._put(clock.now() + 0.1, Failed(attempt, "corrupt", error, error.report))
            else:
                super().start(attempt, payload)

    workers = Corrupting(clock, 0, 2)

    def corrupt(producer, since):
        if "map/00000" not in scheduler.states:
            scheduler.add([Task("map/00000", "map", "map 0")], front=True)
        return True

    scheduler = Scheduler(workers, clock, Policy(), corrupt=corrupt)
    scheduler.add(plain(1, "reduce"))
    with pytest.raises(StepError):
        scheduler.run()


def test_tasks_that_are_dropped_are_cancelled_and_never_delivered():
    run = Run(3, STORM, plain(40))
    for name in ("map/00000", "map/00039"):
        run.scheduler._fill()
        run.scheduler.drop(name)
    run.go()
    assert len(run.done) == 38 and not run.workers.running


def test_workers_are_told_how_many_tasks_of_each_group_are_left():
    for seed in SEEDS[:20]:
        run = Run(seed, STORM, [*plain(30), *plain(20, "reduce")])
        told = []

        def look(left, run=run, told=told):
            assert sum(one.tasks for one in left) == len(run.scheduler.states)
            assert all((one.seconds > 0) == (one.tasks < {"map": 29, "reduce": 20}[one.payload.split()[0]]) for one in left)
            told.append({one.payload.split()[0]: one.tasks for one in left})

        run.workers.expect = look
        run.scheduler.drop("map/00007")
        run.go()
        assert told[0] == {"map": 29, "reduce": 20} and sum(told[-1].values()) <= 6
        assert all(later.get("map", 0) <= before.get("map", 0) for before, later in itertools.pairwise(told))


def test_no_more_attempts_run_at_once_than_there_are_slots():
    for slots in (1, 2, 7):
        run = Run(slots, STORM, plain(50), slots=slots)
        run.go()
        assert run.workers.most_running <= slots and len(run.done) == 50


@pytest.mark.slow
def test_fault_14_a_hundred_thousand_empty_tasks_end():
    count = 100_000
    run = Run(0, Weather(seconds=0.01), plain(count), slots=64)
    run.go()
    assert len(run.done) == count == run.workers.started
    assert len({task.id for task, _ in run.done}) == count


@pytest.mark.parametrize("block", range(4))
def test_fault_51_a_task_that_runs_twice_is_delivered_once_with_its_first_result_in_any_weather(block):
    compared = left_out = 0
    for seed in SEEDS[block::4]:
        tasks = [Task(task.id, task.group, task.payload, twice=index % 3 == 0) for index, task in enumerate(plain(30))]
        pairs = []
        run = Run(seed, STORM, [])
        run.scheduler.compare = lambda task, first, second, pairs=pairs: pairs.append((task.id, first, second))
        run.scheduler.add(tasks)
        run.go()
        delivered = {task.id: result for task, result in run.done}
        assert len(run.done) == len(delivered) == 30, seed
        assert len({name for name, _, _ in pairs}) == len(pairs) == run.scheduler.compared, seed
        for name, first, second in pairs:
            assert tasks[int(name[-5:])].twice and delivered[name] is first, seed
            assert first.attempt.number < second.attempt.number, seed
            assert any(thrown is second for _, thrown in run.discarded), seed
        assert not any(result is thrown for result in delivered.values() for _, thrown in run.discarded), seed
        run.settle()
        thrown = {result.attempt for _, result in run.discarded}
        assert not thrown & {result.attempt for result in delivered.values()}, seed  # nor by a message that comes late or twice
        compared += len(pairs)
        left_out += 10 - len(pairs)
    assert compared > 2 * left_out > 0  # an accident of the second attempt leaves a task uncompared


def test_an_attempt_that_is_lost_runs_again_and_does_not_count_as_a_death() -> None:
    class Losing(SimWorkers):
        """Of every task the first five attempts vanish."""

        def start(self, attempt: AttemptId, payload: Any) -> None:
            super().start(attempt, payload)
            if attempt.number < 5:
                self.cancel(attempt)
                self.vanished.append(Lost(attempt, "its machine is gone"))

        vanished: list[Lost] = []

        def wait(self, timeout: float) -> list[Event]:
            lost, self.vanished[:] = list(self.vanished), []
            return lost or super().wait(timeout)

    clock = SimClock()
    done: list[str] = []
    workers = Losing(clock, slots=1)
    scheduler = Scheduler(workers, clock, done=lambda task, result: done.append(task.id))
    scheduler.add([Task("map/0", "map")])
    scheduler.run()
    assert done == ["map/0"]
    assert workers.started == 6


def test_a_place_that_is_lost_is_told_on() -> None:
    class Leaving(SimWorkers):
        def wait(self, timeout: float) -> list[Any]:
            return [PlaceLost("grpc://gone"), *super().wait(timeout)]

    clock, told = SimClock(), []
    scheduler = Scheduler(Leaving(clock), clock, place_lost=told.append)
    scheduler.add([Task("map/0", "map")])
    scheduler.run()
    assert "grpc://gone" in told


def test_a_place_whose_files_were_copied_is_told_on() -> None:
    class Leaving(SimWorkers):
        def wait(self, timeout: float) -> list[Any]:
            return [PlaceMoved("grpc://going", {"a": ("grpc://new", "b")}), *super().wait(timeout)]

    clock, told = SimClock(), []
    scheduler = Scheduler(Leaving(clock), clock, place_moved=lambda *moved: told.append(moved))
    scheduler.add([Task("map/0", "map")])
    scheduler.run()
    assert ("grpc://going", {"a": ("grpc://new", "b")}) in told


def test_fault_06_a_machine_that_goes_with_all_it_ran_is_one_misfortune():
    """A cluster of one large machine loses it, and has one core until another comes: that is no sign of tasks that kill."""
    run = Run(0, Weather(), plain(64), slots=32)
    run.scheduler._fill()
    lost = [AttemptId(task.id, 0) for task in plain(64)[:32]]
    assert all(state.running for state in run.scheduler.live.values()) and len(run.scheduler.live) == 32
    run.workers.slots = 1
    for attempt in lost:
        run.workers.cancel(attempt)
        run.scheduler.hear(Lost(attempt, "its machine is gone"))
    run.go()
    assert sorted(task.id for task, _ in run.done) == [task.id for task in plain(64)]


def test_what_waits_for_its_turn_in_this_process_does_not_hang(tmp_path):
    """Small tasks run one after another, and those behind have not begun."""
    from dataflow import Pipeline

    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")

    def slowly(line):
        import time

        time.sleep(0.15)
        return int(line)

    found = Pipeline().read_text(str(tmp_path / "*.txt")).map(slowly).collect(workers=8, task_timeout=0.4)
    assert sorted(found) == list(range(8))
