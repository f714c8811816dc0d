"""The scheduler: runs tasks on workers until all are done or one cannot be.

It decides everything that is the same wherever tasks run: order, retries, backup attempts for stragglers, bisection of
a task that kills its worker, time-outs, cancellation. It knows nothing of data. Clock and workers are arguments, so a
test runs it in simulated time from a seed, and a run on a cluster differs only in its `Workers`.

    waiting ──start──> running ──Finished──> done        (the first attempt to finish wins; others are cancelled)
       ^                  │
       ├──────Failed──────┤  transient, memory, corrupt: again, a few times; gone: when the file is there again; user: the run fails
       ├───────Died───────┘  again; after three deaths the task is split around the rows it died on (`_split`)
       └───────Lost───────┘  again, and not counted against it

A task that is to run `twice` is not done when its first attempt is: the result is held, the task goes to the end of the queue (where
another worker is likely to take it), and the second result is compared and thrown away.

The life of a task: `add` puts it in the queue; `_fill` starts it when a slot is free; its events come to `hear`;
its result is handed to `done`, exactly once, whatever number of attempts there were. Where `ready` says that a group's input is being
made again, its tasks stand aside (`parked`) until it says otherwise.

Nothing here may look at all tasks for one event: a run has hundreds of thousands of both (`docs/scale.md`).
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from dataflow.scheduling.events import (
    AttemptId,
    Begun,
    Clock,
    Died,
    Failed,
    FileLost,
    Finished,
    Lost,
    News,
    PlaceLost,
    PlaceMoved,
    Policy,
    Progress,
    Task,
    Workers,
)  # fmt: skip
from dataflow.scheduling.giving_up import kills_its_workers, makes_no_progress, nothing_gets_done
from dataflow.scheduling.states import Group, State

__all__ = ["Scheduler", "Splitter"]

Splitter = Callable[[Task, tuple[int, int] | None, str], "list[Task] | None"]


class Scheduler:
    """Runs tasks.

    ``split(task, rows, how)`` gives the parts of a task that kills workers, None where there is nothing to split;
    ``give_up(task, how, error)`` then gives what may take its place (a task that looks at the record, nothing if it may be
    skipped); None, and the error is raised.
    ``compare(task, first, second)`` raises if the two results of a task that ran twice are not the same.
    ``corrupt(producer, since)`` says whether a task's file, which a reader that began then could not read, is made again; ``ready(group)``
    whether what the tasks of a group read is there. ``place_lost(place)`` is told of a place that is gone, with the files that tasks
    wrote there; ``place_moved(place, where)`` of one whose files were copied to others.
    """

    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        policy: Policy | None = None,
        split: Splitter | None = None,
        done: Callable[[Task, Any], None] | None = None,
        discard: Callable[[Task, Any], None] | None = None,
        corrupt: Callable[[str, float], bool] | None = None,
        progress: Callable[[Task, int, int], None] | None = None,
        ready: Callable[[str], bool] | None = None,
        give_up: Callable[[Task, str, BaseException], list[Task] | None] | None = None,
        compare: Callable[[Task, Any, Any], None] | None = None,
        place_lost: Callable[[str], None] | None = None,
        place_moved: Callable[[str, dict[str, tuple[str, str]]], None] | None = None,
    ) -> None:
        self.workers, self.clock, self.policy = workers, clock, policy or Policy()
        self.give_up = give_up or (lambda task, how, error: None)
        self.split = split or (lambda task, rows, how: None)
        self.done = done or (lambda task, result: None)
        self.discard = discard or (lambda task, result: None)
        self.corrupt = corrupt or (lambda producer, since: False)
        self.progress = progress or (lambda task, rows, size: None)
        self.ready = ready or (lambda group: True)
        self.compare = compare or (lambda task, first, second: None)
        self.place_lost = place_lost or (lambda place: None)
        self.place_moved = place_moved or (lambda place, where: None)
        self.states: dict[str, State] = {}
        self.winners: dict[str, int] = {}  # the attempt whose result was taken, of every task that is done
        self.live: dict[str, State] = {}  # those with attempts running: the clock's checks look at no others
        self.queue: deque[str] = deque()
        self.delayed: list[tuple[float, str]] = []  # a heap: not before when
        self.parked: dict[str, list[str]] = {}  # by group: what waits for files that are made again
        self.groups: dict[str, Group] = {}
        self.lost: Counter[str] = Counter()  # how often a file of a task was found to be
        self.active = 0
        self.idle_deaths = 0
        self.wide = self.widest = 0  # how many attempts may run, and the most since a task was done: they die with their machines at once
        self.log: list[str] = []
        self.retries = self.backups = self.compared = 0
        self._next_backup_check = 0.0

    def add(self, tasks: Iterable[Task], front: bool = False) -> None:
        """Queue tasks; ids must be new."""
        for task in tasks:
            if task.id in self.states:
                raise ValueError(f"task {task.id} is here already")
            again = task.id in self.winners  # one of its files went bad
            self.states[task.id] = State(task, self.winners.get(task.id, -1) + 1, twice=task.twice and not again)
            self.groups.setdefault(task.group, Group(task.payload)).total += 1
            (self.queue.appendleft if front else self.queue.append)(task.id)

    def drop(self, task_id: str) -> None:
        """Forget a task and cancel its attempts; it is not needed any more."""
        state = self.states.pop(task_id, None)
        if state is not None:
            self.groups[state.task.group].total -= 1
            for number in list(state.running):
                self._cancel(state, number)

    def begin_again(self, task_id: str) -> None:
        """Have the attempts of a task give way to another: what they read is not what it was."""
        state = self.states[task_id]
        if state.running:
            for number in list(state.running):
                self._cancel(state, number)
            if state.held is not None:
                self.discard(state.task, state.held)
                state.held = None
            self._again(state)

    @property
    def idle(self) -> bool:
        """Whether every task added is done."""
        return not self.states

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Run until nothing is left to do, or ``until`` says so. Raises what the first task that cannot be done says."""
        while self.states and not (until and until()):
            self._fill()
            for event in self.workers.wait(self._patience()):
                self.hear(event)
            now = self.clock.now()
            if now >= self._next_backup_check:
                self._next_backup_check = now + 0.2
                self._check_times(now)

    def cancel_all(self) -> None:
        """Stop everything that runs."""
        for state in self.states.values():
            for number in list(state.running):
                self._cancel(state, number)
        self.states.clear()
        self.queue.clear()
        self.delayed.clear()
        self.parked.clear()

    # -- starting

    def _patience(self) -> float:
        return 0.05 if self.delayed else 0.2

    def _fill(self) -> None:
        """Start what may start."""
        now = self.clock.now()
        self.wide = self.workers.slots
        self.widest = max(self.widest, self.wide)
        while self.delayed and self.delayed[0][0] <= now:
            self.queue.append(heapq.heappop(self.delayed)[1])
        for group in [group for group in self.parked if self.ready(group)]:
            self.queue.extendleft(reversed(self.parked.pop(group)))
        while self.active < self.workers.slots and self.queue:
            state = self.states.get(self.queue.popleft())
            if state is None or state.running:
                continue
            group = state.task.group
            if group in self.parked or not self.ready(group):
                self.parked.setdefault(group, []).append(state.task.id)
            else:
                self._start(state)
        self.workers.expect([group.left() for group in self.groups.values() if group.done < group.total])

    def _start(self, state: State) -> None:
        attempt = AttemptId(state.task.id, state.attempts)
        state.attempts += 1
        now = self.clock.now()
        state.running[attempt.number] = now
        state.progress[attempt.number] = (now, (-1, 0))
        self.active += 1
        self.live[state.task.id] = state
        self.workers.start(attempt, state.task.payload)

    def _again(self, state: State, delay: float = 0.0) -> None:
        self.retries += 1
        if delay:
            heapq.heappush(self.delayed, (self.clock.now() + delay, state.task.id))
        else:
            self.queue.appendleft(state.task.id)

    def _ended(self, state: State, number: int) -> float:
        """An attempt runs no more; gives when it began."""
        begun = state.running.pop(number)
        state.progress.pop(number, None)
        self.active -= 1
        if not state.running:
            self.live.pop(state.task.id, None)
        return begun

    def _cancel(self, state: State, number: int) -> None:
        self._ended(state, number)
        self.workers.cancel(AttemptId(state.task.id, number))

    # -- events

    def hear(self, event: News) -> None:
        """Something has happened."""
        if isinstance(event, PlaceLost):
            self.log.append(f"{event.place} is gone, and the files there")
            self.place_lost(event.place)
            return
        if isinstance(event, FileLost):
            self.log.append(f"a file of {event.producer} is lost: {event.how}")
            self.lost[event.producer] += 1
            if self.lost[event.producer] < self.policy.attempts:  # else who reads it says what is wrong
                self.corrupt(event.producer, self.clock.now())
            return
        if isinstance(event, PlaceMoved):
            self.log.append(f"{event.place} is about to go, and {len(event.where)} files there were copied")
            self.place_moved(event.place, event.where)
            return
        state = self.states.get(event.attempt.task)
        if state is None or event.attempt.number not in state.running:
            if (
                isinstance(event, Finished) and self.winners.get(event.attempt.task) != event.attempt.number
            ):  # a late attempt of a task that is done: its files are nobody's
                self.discard(Task(event.attempt.task, "", None), event.result)
            return
        number = event.attempt.number
        if isinstance(event, Begun):
            state.running[number] = self.clock.now()
            state.progress[number] = (self.clock.now(), (-1, 0))
            return
        if isinstance(event, Progress):
            if (event.rows, event.pulse) != state.progress[number][1]:
                state.progress[number] = (self.clock.now(), (event.rows, event.pulse))
            self.progress(state.task, event.rows, event.bytes)
            return
        begun = self._ended(state, number)
        match event:
            case Finished(result=result):
                if state.held is None:
                    self.winners[state.task.id] = number
                self._finished(state, result, self.clock.now() - begun)
            case Failed():
                self._failed(state, event, begun)
            case Died():
                self._died(state, event)
            case Lost():
                self._lost(state, event)

    def _finished(self, state: State, result: Any, seconds: float) -> None:
        self.idle_deaths, self.widest = 0, self.wide
        for number in list(state.running):
            self._cancel(state, number)
        if state.held is not None:
            self.compare(state.task, state.held, result)
            self.compared += 1
            self.discard(state.task, result)
            result = state.held
        elif state.twice:
            state.held = result
            self.queue.append(state.task.id)
            return
        self._deliver(state, result, seconds)

    def _deliver(self, state: State, result: Any, seconds: float) -> None:
        group = self.groups[state.task.group]
        group.done += 1
        group.seconds.append(seconds)
        group.spent += seconds
        del self.states[state.task.id]
        self.done(state.task, result)

    def _failed(self, state: State, event: Failed, begun: float) -> None:
        self.log.append(f"{event.attempt} failed ({event.kind}): {event.error}")
        if state.held is not None and event.kind in ("transient", "memory", "resource", "gone"):
            self._uncompared(state)
            return
        if event.kind == "gone":
            self._missed(state, event, begun)
            return
        state.failures += 1
        limit = {"transient": self.policy.transient_attempts, "corrupt": self.policy.attempts, "resource": self.policy.attempts}
        if event.kind == "memory":
            if state.failures < 2 and not state.split_from:
                self._again(state)
                return
            parts = self.split(state.task, event.rows, "memory")
            if parts is None:
                parts = self.give_up(state.task, "out of memory", event.error)
            if parts is not None:
                self._replace(state, parts)
                return
        if (
            event.kind == "corrupt"
            and state.failures < self.policy.attempts
            and self.corrupt(event.report.cause_type if event.report else "", begun)
        ):
            self._again(state)
            return
        if state.failures < limit.get(event.kind, 1):
            self._again(state, delay=0.05 * 2**state.failures if event.kind == "transient" else 0.0)
            return
        if not state.running:  # a backup attempt may still succeed
            raise event.error
        self.log.append(f"{event.attempt}: waiting for its other attempt")

    def _missed(self, state: State, event: Failed, begun: float) -> None:
        """A file went with its machine while the task read. Of many machines many may go meanwhile, so each file counts for itself."""
        producer = event.report.cause_type if event.report else ""
        state.missed[producer] = state.missed.get(producer, 0) + 1
        if state.missed[producer] < self.policy.attempts and self.corrupt(producer, begun):
            if not state.running:
                self._again(state)
        elif not state.running:
            raise event.error

    def _died(self, state: State, event: Died) -> None:
        state.deaths += 1
        state.rows = event.rows
        self.log.append(f"{event.attempt} died: {event.how}")
        if state.held is not None:
            self._uncompared(state)
            return
        if not state.split_from:
            self._one_more_death(event)
        if state.deaths < (1 if state.split_from else self.policy.deaths_before_split):
            self._again(state)
            return
        parts = self.split(state.task, event.rows, event.how)
        if parts is None and state.deaths < 2:
            self._again(state)  # a last row is given up only when it killed twice: once may be chance
            return
        if parts is None:
            error = kills_its_workers(state, event)
            parts = self.give_up(state.task, event.how, error)
            if parts is None:
                raise error
        self._replace(state, parts)

    def _lost(self, state: State, event: Lost) -> None:
        self.log.append(f"{event.attempt} lost: {event.how}")
        if state.held is not None:
            self._uncompared(state)
            return
        self._one_more_death(event)
        if not state.running:
            self._again(state)

    def _one_more_death(self, event: Died | Lost) -> None:
        """Many deaths with nothing done between them mean that it is not the tasks."""
        self.idle_deaths += 1
        if self.idle_deaths >= self.policy.pool_deaths * max(4, 2 * self.widest):
            raise nothing_gets_done(event, self.idle_deaths)

    def _uncompared(self, state: State) -> None:
        """The second attempt at a task that runs twice met with an accident, which says nothing of the first."""
        if not state.running:
            self.log.append(f"{state.task.id} was not compared")
            self._deliver(state, state.held, 0.0)

    def _replace(self, state: State, parts: list[Task]) -> None:
        """A task's parts take its place: together they give what it would have given."""
        for number in list(state.running):
            self._cancel(state, number)
        del self.states[state.task.id]
        self.groups[state.task.group].total -= 1
        self.add(reversed(parts), front=True)
        for part in parts:
            self.states[part.id].split_from = state.task.id
        self.retries += 1

    # -- time

    def _check_times(self, now: float) -> None:
        if (timeout := self.policy.task_timeout) is not None:
            for state in list(self.live.values()):
                for number, (moved, _) in list(state.progress.items()):
                    if now - moved > timeout:
                        self._hung(state, number, now - moved)
        if self.active < self.workers.slots and not self.queue:
            self._start_backups(now)

    def _hung(self, state: State, number: int, seconds: float) -> None:
        attempt = AttemptId(state.task.id, number)
        trace = self.workers.hang_report(attempt)
        self._cancel(state, number)
        state.hangs += 1
        self.log.append(f"{attempt} made no progress for {seconds:.0f} s")
        if state.held is not None:
            self._uncompared(state)
            return
        if state.hangs < self.policy.hang_attempts:
            self._again(state)
            return
        raise makes_no_progress(state, seconds, trace)

    def _start_backups(self, now: float) -> None:
        """Second attempts for the slowest tasks of groups that are nearly done (MapReduce's backup tasks), as far as there is room."""
        policy = self.policy
        longest = {
            name: max(policy.backup_floor, policy.backup_factor * group.usual())
            for name, group in self.groups.items()
            if group.seconds and policy.backup_after_done * (group.total - 1) <= group.done < group.total and self.ready(name)
        }
        slow: list[tuple[float, State]] = []
        for state in self.live.values() if longest else ():
            if len(state.running) == 1 and state.held is None and state.task.group in longest:
                age = now - next(iter(state.running.values()))
                if age > longest[state.task.group]:
                    slow.append((age, state))
        for age, state in heapq.nlargest(self.workers.slots - self.active, slow, key=lambda pair: pair[0]):
            self.backups += 1
            self.log.append(f"backup for {state.task.id} after {age:.1f} s")
            self._start(state)
