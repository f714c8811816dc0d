"""Where the attempts of a run on Ray are: what is small in this process, the rest with the hands of a cluster.

    start ─> queue ─deal─> a hand's calls (one runs, one waits behind it) ─> ready ─> Finished, Failed
                              └─ the hand dies: its keeper says what it was at ─> Died; what waited is dealt again
                              └─ its machine goes ─> Lost, and PlaceLost for the files

Until the cluster is there, this process does the work: starting one takes seconds, in which a small run is done.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.driving.in_process import InProcess
from dataflow.errors import DataflowError, Report
from dataflow.execution.context import TaskContext
from dataflow.execution.task import Attempt
from dataflow.physical.program import ShuffleInput, TaskInput
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import AttemptId, Died, Event, Failed, Finished, Left, Lost, PlaceLost, Progress
from dataflow.scheduling.work import Work
from dataflow.shard.places import is_shared
from dataflow.shard.runfile import RunFile

if TYPE_CHECKING:
    from runners.ray.cluster import Cluster, Hired, Machine
    from runners.ray.settings import RaySettings

__all__ = ["RayWorkers"]

DEPTH = 2  # attempts in the hands of one hand: the second begins when the first ends, without asking the driver
ASK = 0.5  # seconds between looks at the marks
HOMELESS = 60.0  # seconds that a step waits for a machine that may come
SILENT = 2.0  # seconds after which a keeper that does not answer is looked for


class RayWorkers:
    """The `Workers` of the Ray runner. ``mode``: "auto" keeps small phases in this process, "cluster" does not. ``shared``: where hands
    write what other tasks read, if not on their machines."""

    def __init__(self, run: str, settings: RaySettings, folders: list[str], mode: str, shared: str = "") -> None:
        self.run, self.settings, self.folders, self.mode, self.shared = run, settings, folders, mode, shared
        self.here = InProcess()
        self.queue: deque[tuple[AttemptId, Work]] = deque()
        self.works: dict[AttemptId, Work] = {}
        self.hands: list[Hired] = []
        self.cluster: Cluster | None = None
        self.programs: dict[str, Any] = {}
        self._connecting: Future[Cluster] | None = None
        self._events: list[Event | PlaceLost] = []
        self._asked = 0.0
        self._known: dict[str, Machine] = {}
        self._marks: dict[str, tuple[Any, float]] = {}  # by machine: the answer that is awaited, since when
        self._misstarts = 0
        self._homeless = 0.0  # since when a step finds no machine

    # -- what the scheduler asks

    @property
    def watch(self) -> Callable[[TaskContext | None], None]:
        """Told the context of the attempt that runs in this process."""
        return self.here.watch

    @watch.setter
    def watch(self, watch: Callable[[TaskContext | None], None]) -> None:
        self.here.watch = watch

    @property
    def parallel(self) -> int:
        return sum(one.cores for one in self.cluster.machines.values()) or 1 if self.cluster is not None else os.cpu_count() or 1

    @property
    def slots(self) -> int:
        return DEPTH * self.parallel

    def warm(self) -> None:
        """Connect now, in a thread."""
        if self._connecting is None:
            self._connecting = Future()
            threading.Thread(target=self._connect, args=(self._connecting,), name="connecting to Ray", daemon=True).start()

    def _connect(self, found: Future[Cluster]) -> None:
        try:
            from runners.ray.cluster import cluster_for

            cluster = cluster_for(self.settings)
            cluster.share(self.folders)
            found.set_result(cluster)
        except BaseException as error:
            found.set_exception(error)

    def start(self, attempt: AttemptId, payload: Work) -> None:
        """Begin an attempt, here or there."""
        if payload.here or (self.mode == "auto" and payload.small and payload.program.resources is None):
            self.here.start(attempt, payload)
            return
        self.warm()
        self.works[attempt] = payload
        self.queue.append((attempt, payload))
        self._deal()

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt. One that waits is forgotten; one that runs ends with its hand."""
        self.here.cancel(attempt)
        self.queue = deque(item for item in self.queue if item[0] != attempt)
        self.works.pop(attempt, None)
        for hand in list(self.hands):
            if attempt in hand.calls.values():
                first = next(iter(hand.calls.values()))
                if attempt == first:
                    self._end(hand)
                else:
                    hand.calls = {ref: one for ref, one in hand.calls.items() if one != attempt}
        self._deal()

    def expect(self, left: Sequence[Left]) -> None:
        """What is left to do, by which the cluster may grow."""

    def hang_report(self, attempt: AttemptId) -> str:
        """The stack of an attempt's hand."""
        hand = next((hand for hand in self.hands if attempt in hand.calls.values()), None)
        return str(self._ask(hand.machine, "stack", hand.name, hand.process) or "") if hand is not None else ""

    def wait(self, timeout: float) -> Sequence[Event | PlaceLost]:
        """The events since the last call."""
        if self.here:
            self._events.append(self.here.run())
            timeout = 0.0
        if self.cluster is None:
            self._before(timeout)
        else:
            self._ready(timeout if not self._events else 0.0)
            self._look()
        self._deal()
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, (Finished, Failed, Died, Lost)):
                self.works.pop(event.attempt, None)
        return events

    def close(self) -> None:
        """Give the hands back. Where the cluster is still coming, a later run will find it."""
        self.here.close()
        if self.cluster is not None:
            self.cluster.release(self.hands, self.run)
            self.hands = []

    # -- before there is a cluster

    def _before(self, timeout: float) -> None:
        """Do work here until there is a cluster."""
        assert self._connecting is not None or not self.queue
        if self._connecting is None:
            if not self._events:
                time.sleep(timeout)
            return
        if self._connecting.done():
            self.cluster = self._connecting.result()
        elif not self._events and (item := self._for_now()) is not None:
            self.queue.remove(item)
            self.here.start(*item)
            self._events.append(self.here.run())
        elif not self._events:
            time.sleep(min(timeout, 0.05))

    def _for_now(self) -> tuple[AttemptId, Work] | None:
        """An attempt that this process may do while nobody else is there."""
        return next((item for item in self.queue if item[1].program.resources is None), None) if self.mode == "auto" else None

    # -- hands

    def _hire(self) -> None:
        """Hands for what is queued, as many as the machines have room for; those that nothing is queued for make room."""
        assert self.cluster is not None
        self._known.update(self.cluster.machines)
        wanted = dict.fromkeys(work.program.resources for _, work in self.queue)
        lacking = [asked for asked in wanted if not any(hand.resources == asked for hand in self.hands)]
        for hand in [hand for hand in self.hands if lacking and not hand.calls and hand.resources not in wanted]:
            self._end(hand)
        for asked in wanted:
            for one in self.cluster.machines.values():
                there = [hand for hand in self.hands if hand.machine is one]
                for _ in range(one.room(asked, [hand.resources for hand in there])):
                    self.hands.append(self.cluster.hire(one, asked))
        if any(not any(hand.resources == asked for hand in self.hands) for asked in lacking) and not any(hand.calls for hand in self.hands):
            self._unplaced(lacking)

    def _unplaced(self, lacking: list[Resources | None]) -> None:
        """No machine has room for a step, and nothing runs that could give some."""
        assert self.cluster is not None
        self._homeless = self._homeless or time.monotonic()
        if time.monotonic() - self._homeless > HOMELESS:
            has = "; ".join(", ".join(f"{amount:g} {name}" for name, amount in one.has().items()) for one in self._known.values())
            text = f"no machine of the Ray cluster has what a step asks for: {lacking[0]}"
            raise DataflowError(Report(text, hint=f"the machines have: {has}"))

    def _deal(self) -> None:
        """Give what is queued to hands that have room, each to the machine that has most of its input."""
        if self.cluster is None or not self.queue:
            return
        import cloudpickle
        import ray

        self._hire()
        waiting: deque[tuple[AttemptId, Work]] = deque()
        while self.queue:
            attempt, work = self.queue.popleft()
            asked = work.program.resources
            free = [hand for hand in self.hands if hand.process and len(hand.calls) < DEPTH and hand.resources == asked]
            if not free:
                waiting.append((attempt, work))
                continue
            self._homeless = 0.0
            given = work.attempt(attempt.task, attempt.number)
            given = _placed(replace(given, input=_narrowed(given.input), shared=self.shared), self.cluster.here)
            near = _bytes_by_place(given.input)
            hand = min(free, key=lambda h: (attempt.task in h.ran, len(h.calls), -near.get(h.machine.place, 0)))
            name = work.program.phase
            if name not in self.programs:
                self.programs[name] = ray.put(cloudpickle.dumps(work.program, 5))
            sent = (self.run, attempt.task, attempt.number, name, [self.programs[name]], cloudpickle.dumps(given, 5))
            ref = hand.actor.call.remote("attempt", *sent)
            hand.calls[ref] = attempt
            hand.ran.add(attempt.task)
        self.queue = waiting

    def _ready(self, timeout: float) -> None:
        """Take in what has ended."""
        import ray

        hellos = {hand.hello: hand for hand in self.hands if not hand.process}
        calls = {ref: hand for hand in self.hands for ref in hand.calls}
        waited = [*hellos, *calls]
        if not waited:
            if not self._events:
                time.sleep(min(timeout, 0.05))
            return
        ready, rest = ray.wait(waited, num_returns=1, timeout=timeout, fetch_local=False)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        for ref in ready:
            hand = hellos.get(ref) or calls[ref]
            if hand not in self.hands:
                continue  # it ended with another of its calls
            try:
                found = ray.get(ref)
            except ray.exceptions.RayError as error:
                self._died(hand, error)
                continue
            if ref in hellos:
                hand.process = found
                continue
            attempt = hand.calls.pop(ref)
            self._events.append(self._event(attempt, hand, found))

    def _event(self, attempt: AttemptId, hand: Hired, found: tuple[Any, ...]) -> Event:
        if found[0] == "finished":
            result = found[3]
            if result.skipped_path:
                result.skipped_path = self._fetched(hand.machine, result.skipped_path)
            return Finished(attempt, result)
        _, _, _, kind, error, rows = found
        return Failed(attempt, kind, error, error.report if isinstance(error, DataflowError) else None, rows)

    def _fetched(self, machine: Machine, path: str) -> str:
        """A small file of a machine, here."""
        from dataflow.shard.places import read_range, remove_file
        from runners.ray.files import copied

        target = os.path.join(self.folders[0], os.path.basename(path))
        if machine.place != (self.cluster.here if self.cluster else ""):
            copied(lambda offset, length: read_range(machine.place, path, offset, length), target)
            remove_file(machine.place, path)
            return target
        return path

    def _died(self, hand: Hired, error: Exception) -> None:
        """A hand is gone: which of its attempts was it at, and at which rows?"""
        from runners.ray.failures import how_it_died

        calls = list(hand.calls.values())
        self._forget(hand)
        words = self._ask(hand.machine, "last_words", hand.name)
        if words is None:  # its machine does not answer either
            self._gone(hand.machine)
            self._events += [Lost(attempt, "its machine is gone") for attempt in calls]
            return
        mark, stack = words
        for attempt in calls:
            if mark is not None and mark.attempt == str(attempt)[:255]:
                self._events.append(Died(attempt, how_it_died(error), mark.span, stack))
            elif attempt in self.works:
                self.queue.appendleft((attempt, self.works[attempt]))
        if not hand.process and not calls:
            self._failed_starts(error)

    def _failed_starts(self, error: Exception) -> None:
        """A hand that never said hello: after a few, it is not chance."""
        from runners.ray.failures import cannot_start

        self._misstarts += 1
        if self._misstarts >= 3:
            raise cannot_start(error)

    def _end(self, hand: Hired) -> None:
        """End a hand; what waited behind its attempt is dealt again."""
        import ray

        waiting = list(hand.calls.values())
        self._forget(hand)
        ray.kill(hand.actor)
        for attempt in reversed(waiting):
            if attempt in self.works:
                self.queue.appendleft((attempt, self.works[attempt]))

    def _forget(self, hand: Hired) -> None:
        self.hands = [one for one in self.hands if one is not hand]
        hand.calls = {}

    # -- machines

    def _look(self) -> None:
        """Ask how far the hands are, and which machines there are."""
        import ray

        assert self.cluster is not None
        now = time.monotonic()
        if now - self._asked < ASK:
            return
        self._asked = now
        self.cluster.look()
        for one in [one for node, one in self._known.items() if node not in self.cluster.machines]:
            self._gone(one)
        known = {str(attempt)[:255]: attempt for hand in self.hands for attempt in hand.calls.values()}
        for one in list(self._known.values()):
            if one.node not in self._marks:
                self._marks[one.node] = one.keeper.call.remote("marks"), now
                continue
            asked, since = self._marks[one.node]
            if not ray.wait([asked], timeout=0)[0]:
                if now - since > SILENT and self.cluster.transport.refused(one.place):
                    self._gone(one)  # Ray itself takes ten seconds or more to say so
                continue
            del self._marks[one.node]
            try:
                marks = ray.get(asked)
            except ray.exceptions.RayError:
                self._gone(one)
                continue
            for mark in marks:
                if (attempt := known.get(mark.attempt)) is not None:
                    self._events.append(Progress(attempt, mark.rows, mark.bytes, mark.pulse))

    def _gone(self, machine: Machine) -> None:
        """A machine is gone, with its hands and its files."""
        assert self.cluster is not None
        self.cluster.drop(machine)
        for hand in [hand for hand in self.hands if hand.machine is machine]:
            self._events += [Lost(attempt, "its machine is gone") for attempt in hand.calls.values()]
            self._forget(hand)
        if self._known.pop(machine.node, None) is not None:
            self._events.append(PlaceLost(machine.place))

    def _ask(self, machine: Machine, what: str, *arguments: Any) -> Any:
        """What a keeper says; None where it does not answer."""
        import ray

        try:
            return ray.get(machine.keeper.call.remote(what, *arguments), timeout=5.0)
        except ray.exceptions.RayError:
            return None


def _narrowed(given: TaskInput) -> TaskInput:
    """An input without the blocks that lie outside its range: the index of a large shuffle is not sent to every reader."""
    if given.shuffle is None:
        return given
    files = tuple(narrow for file in given.shuffle.files if (narrow := _within(file, given.shuffle)).blocks)
    return replace(given, shuffle=replace(given.shuffle, files=files))


def _within(file: RunFile, given: ShuffleInput) -> RunFile:
    blocks = tuple(
        block
        for block in file.blocks
        if (given.first is None or block.last >= given.first) and (given.last is None or block.first < given.last)
    )
    return file if len(blocks) == len(file.blocks) else replace(file, blocks=blocks)


def _placed(attempt: Attempt, here: str) -> Attempt:
    """An attempt whose files of this process say where that is."""

    def placed(files: tuple[RunFile, ...]) -> tuple[RunFile, ...]:
        return tuple(file if file.place or is_shared(file.path) else replace(file, place=here) for file in files)

    given = attempt.input
    shuffle = replace(given.shuffle, files=placed(given.shuffle.files)) if given.shuffle is not None else None
    sides = {name: replace(side, files=placed(side.files)) for name, side in attempt.sides.items()}
    return replace(attempt, input=replace(given, files=placed(given.files), shuffle=shuffle), sides=sides)


def _bytes_by_place(given: TaskInput) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in given.shuffle.files if given.shuffle is not None else given.files:
        found[file.place] = found.get(file.place, 0) + file.bytes
    return found
