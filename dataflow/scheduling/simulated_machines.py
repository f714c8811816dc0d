"""Machines that come and go, simulated: hands for attempts, a place for the files they wrote, and deaths that take both.

    start ──> the machine with the fewest attempts ─┬─ a core is free: it runs ──(heap of what will happen, by time)──> wait ──> events
                                                    └─ none is: it waits behind those that run
    a death ──> its attempts stop ──(`notice` seconds)──> Lost for each, PlaceLost for its files ──(`back`)──> it is there again, empty
            └─> attempts elsewhere that still have to read one of its files fail when they come to it

`simulation` asks what the scheduler does with one attempt at a time; here the question is what a whole run does on thousands of
machines, of which some are slow and some die. Attempts are real (`Attempt`, with the files as the job gives them); only what they
would do is made up by a `Behaviour`: how long it takes, and what it writes. Time is simulated, so an hour takes seconds, and all that
is random comes from the fleet's seed and the attempt's own name.

The time that the simulation itself takes is kept apart (`apart`): the rest of the process's time is the real driver's.
"""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from dataflow.errors import Report, ShardLostError
from dataflow.execution.task import Attempt
from dataflow.record import record
from dataflow.scheduling.events import AttemptId, Failed, Finished, Left, Lost, News, PlaceLost
from dataflow.scheduling.simulation import SimClock
from dataflow.shard.runfile import RunFile

__all__ = ["Behaviour", "Fleet", "SimMachines"]


class Behaviour(Protocol):
    """What attempts do, as far as it matters."""

    def seconds(self, given: Attempt) -> float:
        """How long an attempt takes on a usual machine on a usual day."""
        ...

    def result(self, given: Attempt, place: str) -> Any:
        """Its manifest, when it ran at a place."""
        ...


@record(eq=True)
class Fleet:
    """The machines and their fate; times in seconds.

    ``depth``: attempts in the hands of a core; one runs, the others wait behind it. ``uneven``: attempts take up to that share more or
    less than usual. ``straggling``: the chance of an attempt to take longer, as a Pareto distribution with the shape ``tail`` says, up to
    ``slowest`` times. ``slow``: the share of machines on which everything takes ``slower`` times as long. ``deaths``: when how many
    machines die. ``notice``: until a death is known; ``back``: after which a machine that died is there again; None: never.
    ``reading``: the first part of an attempt's time, in which it reads its files, one after another.
    """

    machines: int = 2_000
    cores: int = 1
    depth: int = 2
    uneven: float = 0.25
    straggling: float = 0.0
    tail: float = 1.0
    slowest: float = 20.0
    slow: float = 0.0
    slower: float = 4.0
    deaths: tuple[tuple[float, int], ...] = ()
    notice: float = 2.0
    back: float | None = 30.0
    reading: float = 0.5
    seed: int = 0


@dataclass(eq=False, slots=True)
class _Machine:
    """``known``: the driver counts on it, which it does for a while after it died."""

    number: int
    place: str
    slower: float
    lives: int = 1
    alive: bool = True
    known: bool = True
    running: dict[AttemptId, _InHand] = field(default_factory=dict)
    waiting: deque[_InHand] = field(default_factory=deque)

    @property
    def load(self) -> int:
        return len(self.running) + len(self.waiting)


@dataclass(eq=False, slots=True)
class _InHand:
    """An attempt in the hands of a machine."""

    attempt: AttemptId
    given: Attempt
    machine: _Machine
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def files(self) -> tuple[RunFile, ...]:
        return self.given.input.shuffle.files if self.given.input.shuffle is not None else self.given.input.files


class SimMachines:
    """The `Workers` of a simulated cluster. ``send`` sees each attempt as a runner would send it. The counts say what happened."""

    def __init__(self, clock: SimClock, fleet: Fleet, behaviour: Behaviour, send: Callable[[Attempt], None] | None = None) -> None:
        self.clock, self.fleet, self.behaviour, self.send = clock, fleet, behaviour, send
        draw = random.Random(f"{fleet.seed}/machines")
        self.machines = [
            _Machine(number, _place(number, 0), fleet.slower if draw.random() < fleet.slow else 1.0) for number in range(fleet.machines)
        ]
        self.in_hand: dict[AttemptId, _InHand] = {}
        self.gone: set[str] = set()
        self.started = self.lost = self.unreadable = self.cancelled = 0
        self.busy = 0.0  # core-seconds of attempts that finished
        self.apart = 0.0
        self.died: list[tuple[float, str]] = []
        self.on_death: Callable[[str], None] = lambda place: None
        self._cores = fleet.machines * fleet.cores
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._events: list[News] = []
        self._by_load = [(0, next(self._order), machine) for machine in self.machines]
        self._where: tuple[tuple[RunFile, ...], dict[str, list[int]]] = ((), {})
        self._draw = draw
        for when, count in fleet.deaths:
            self._at(when, self._kill, count)

    # -- what the scheduler asks

    @property
    def parallel(self) -> int:
        return self._cores

    @property
    def slots(self) -> int:
        return self.fleet.depth * self.parallel

    def start(self, attempt: AttemptId, payload: Any) -> None:
        """Give the attempt to the machine that has the fewest, and not to one where another attempt at its task is."""
        given = payload.attempt(attempt.task, attempt.number)
        if self.send is not None:
            self.send(given)
        since = perf_counter()
        if attempt in self.in_hand:
            raise AssertionError(f"{attempt} runs already")
        self.started += 1
        hand = self.in_hand[attempt] = _InHand(attempt, given, self._idlest(attempt))
        if hand.machine.alive and len(hand.machine.running) < self.fleet.cores:
            self._begin(hand)
        else:
            hand.machine.waiting.append(hand)
        self._loaded(hand.machine)
        self.apart += perf_counter() - since

    def expect(self, left: Sequence[Left]) -> None:
        """Nothing: there are as many machines as there are."""

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt."""
        since = perf_counter()
        if (hand := self.in_hand.get(attempt)) is not None:
            self.cancelled += 1
            self._leave(hand)
        self.apart += perf_counter() - since

    def bring(self, files: Sequence[Any]) -> list[News]:
        """Nothing: nobody reads what was simulated."""
        return []

    def hang_report(self, attempt: AttemptId) -> str:
        """What stands for a stack."""
        return f"{attempt} hangs in a simulation"

    def wait(self, timeout: float) -> list[News]:
        """What happens at the next moment at which anything does, if that is within ``timeout``; the clock moves there."""
        since = perf_counter()
        limit = self.clock.now() + timeout
        while self._heap and self._heap[0][0] <= limit and not (self._events and self._heap[0][0] > self.clock.now()):
            time, _, happen, what = heapq.heappop(self._heap)
            self.clock.advance(time)
            happen(what)
        if not self._events:
            self.clock.advance(limit)
        events, self._events = self._events, []
        self.apart += perf_counter() - since
        return events

    # -- attempts

    def _idlest(self, attempt: AttemptId) -> _Machine:
        other = self.in_hand.get(AttemptId(attempt.task, attempt.number - 1))
        passed_over = None
        while self._by_load:
            load, order, machine = heapq.heappop(self._by_load)
            if not machine.known or machine.load != load:
                continue  # what is true of it now stands elsewhere in the heap
            if other is not None and machine is other.machine and passed_over is None:
                passed_over = (load, order, machine)
                continue
            if passed_over is not None:
                heapq.heappush(self._by_load, passed_over)
            return machine
        if passed_over is not None:
            return passed_over[2]
        raise AssertionError(f"{attempt} is one more than the {self.slots} slots")

    def _loaded(self, machine: _Machine) -> None:
        if machine.known and machine.load < self.fleet.cores * self.fleet.depth:
            heapq.heappush(self._by_load, (machine.load, next(self._order), machine))

    def _begin(self, hand: _InHand) -> None:
        fleet, machine = self.fleet, hand.machine
        machine.running[hand.attempt] = hand
        draw = random.Random(f"{fleet.seed}/{hand.attempt}")
        seconds = self.behaviour.seconds(hand.given) * draw.uniform(1 - fleet.uneven, 1 + fleet.uneven) * machine.slower
        if draw.random() < fleet.straggling:
            seconds *= min(fleet.slowest, 1 + draw.paretovariate(fleet.tail))
        hand.begun, hand.seconds = self.clock.now(), seconds
        self._at(hand.begun + seconds, self._end, hand)
        if self.gone and hand.files:
            self._will_miss(hand, self.gone)

    def _end(self, hand: _InHand) -> None:
        if self.in_hand.get(hand.attempt) is hand and hand.machine.alive:
            self._leave(hand)
            self.busy += hand.seconds
            self._events.append(Finished(hand.attempt, self.behaviour.result(hand.given, hand.machine.place)))

    def _leave(self, hand: _InHand) -> None:
        """An attempt is over, and the next one behind it begins."""
        machine = hand.machine
        del self.in_hand[hand.attempt]
        if machine.running.pop(hand.attempt, None) is None:
            machine.waiting.remove(hand)
        if machine.alive and machine.waiting and len(machine.running) < self.fleet.cores:
            self._begin(machine.waiting.popleft())
        self._loaded(machine)

    # -- deaths

    def _kill(self, count: int) -> None:
        dying = self._draw.sample([machine for machine in self.machines if machine.alive], count)
        for machine in dying:
            machine.alive = False
            self.gone.add(machine.place)
            self.on_death(machine.place)
            self.died.append((self.clock.now(), machine.place))
            self._at(self.clock.now() + self.fleet.notice, self._noticed, machine)
        places = {machine.place for machine in dying}
        for hand in list(self.in_hand.values()):
            if hand.machine.alive and hand.attempt in hand.machine.running and hand.files:
                self._will_miss(hand, places)

    def _noticed(self, machine: _Machine) -> None:
        machine.known = False
        self._cores -= self.fleet.cores
        for hand in [*machine.running.values(), *machine.waiting]:
            del self.in_hand[hand.attempt]
            self.lost += 1
            self._events.append(Lost(hand.attempt, "its machine is gone"))
        machine.running.clear()
        machine.waiting.clear()
        self._events.append(PlaceLost(machine.place))
        if self.fleet.back is not None:
            self._at(self.clock.now() + self.fleet.back, self._comes_back, machine)

    def _comes_back(self, machine: _Machine) -> None:
        machine.place, machine.lives = _place(machine.number, machine.lives), machine.lives + 1
        machine.alive = machine.known = True
        self._cores += self.fleet.cores
        self._loaded(machine)

    def _will_miss(self, hand: _InHand, places: set[str]) -> None:
        """If the attempt has not read all files of these places yet, it fails when it comes to the next."""
        if self._where[0] is not hand.files:
            by_place: dict[str, list[int]] = {}
            for index, file in enumerate(hand.files):
                by_place.setdefault(file.place, []).append(index)
            self._where = (hand.files, by_place)
        by_place = self._where[1]
        reading = hand.seconds * self.fleet.reading
        done = int((self.clock.now() - hand.begun) / reading * len(hand.files)) if reading else len(hand.files)
        later = [at[i] for place in places & by_place.keys() if (i := bisect_left(at := by_place[place], done)) < len(at)]
        if later:
            when = hand.begun + reading * (min(later) + 1) / len(hand.files)
            self._at(max(when, self.clock.now()), self._misses, (hand, hand.files[min(later)]))

    def _misses(self, what: tuple[_InHand, RunFile]) -> None:
        hand, file = what
        if self.in_hand.get(hand.attempt) is hand and hand.machine.alive:
            self.unreadable += 1
            self._leave(hand)
            report = Report(f"a file of this run is gone with {file.place}", cause_type=file.producer)
            self._events.append(Failed(hand.attempt, "gone", ShardLostError(report), report))

    def _at(self, time: float, happen: Callable[[Any], None], what: Any) -> None:
        heapq.heappush(self._heap, (time, next(self._order), happen, what))


def _place(number: int, life: int) -> str:
    return f"grpc://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:{8815 + life}"
