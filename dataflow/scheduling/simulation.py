"""A simulated clock and simulated workers: the real scheduler, run through bad days, in no time, from one seed.

    Scheduler ──start──> SimWorkers ──(heap of what will happen, by time)──> wait ──> events
                             │                                                │
                         Weather: what goes wrong, and how often          SimClock moves to the next event

The scheduler decides when a task is tried again, tried twice, cut in two or given up, and such decisions go wrong only in
orders of events that real processes show once a year. Here the orders come from a seed: `SimWorkers` draws, for every
attempt, how long it takes and how it ends, from a generator seeded by the seed and the attempt's own name. So a run can be
repeated exactly, and a change of the scheduler does not change what the weather has in store for an attempt.

What can happen to an attempt: it finishes; its worker dies; it fails in a way that may pass; it is a straggler, many times
slower than its siblings; it hangs; its end is told twice; it is cancelled and its end is told all the same, later. All but
the last two happen only to a task's first ``unlucky`` attempts, so that a scheduler that tries again gets there.

A task's payload may be a ``range`` of rows. An attempt whose range holds a row of `Weather.poison` kills its worker each
time, which is what a record does that crashes native code; `halves` is the matching way of cutting a task in two.

The life of an attempt: `start` draws its fate and puts its events into the heap; `wait` moves the clock to the next of them
and gives out what is due; `cancel` takes the rest out, but for a late end.

>>> from dataflow.scheduling.events import Task
>>> from dataflow.scheduling.scheduler import Scheduler
>>> clock = SimClock()
>>> workers = SimWorkers(clock, seed=1, slots=4, weather=Weather(death=0.3))
>>> done = []
>>> scheduler = Scheduler(workers, clock, done=lambda task, result: done.append(task.id))
>>> scheduler.add(Task(f"map/{i}", "map") for i in range(10))
>>> scheduler.run()
>>> len(done), workers.deaths > 0, clock.now() < 60
(10, True, True)
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any

from dataflow.errors import Report, StepError
from dataflow.record import record
from dataflow.scheduling.events import AttemptId, Died, Event, Failed, Finished, Left, News, Progress, Task

__all__ = ["SimClock", "SimResult", "SimWorkers", "Weather", "halves"]


class SimClock:
    """Time that moves only when it is told to."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds, as of the last `advance`."""
        return self._now

    def advance(self, until: float) -> None:
        """Move on to a time; a time that has passed changes nothing."""
        self._now = max(self._now, until)


@record(eq=True)
class Weather:
    """What goes wrong, as chances of one attempt from 0 to 1; ``seconds`` is how long a usual attempt takes.

    ``slower``: how many times longer a straggler takes. ``late``: a cancelled attempt tells its end all the same.
    ``twice``: an end is told twice. ``unlucky``: to how many attempts of a task anything happens at all. ``poison``: rows
    that kill their worker whatever else happens. ``knows_rows``: whether a death tells which rows the worker was at.
    """

    death: float = 0.0
    failure: float = 0.0
    straggler: float = 0.0
    hang: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    slower: float = 50.0
    seconds: float = 1.0
    unlucky: int = 2
    poison: frozenset[int] = frozenset()
    knows_rows: bool = True


@record(eq=True)
class SimResult:
    """The result of a simulated attempt: which it was, and what it was given."""

    attempt: AttemptId
    payload: Any


class SimWorkers:
    """The `Workers` of a simulation. The counts say what happened, for whoever asks afterwards."""

    def __init__(self, clock: SimClock, seed: int = 0, slots: int = 8, weather: Weather | None = None) -> None:
        self.clock, self.seed, self.slots, self.weather = clock, seed, slots, weather or Weather()
        self.deaths = self.failures = self.late = self.started = self.most_running = 0
        self.running: dict[AttemptId, float] = {}
        self._heap: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._cancelled: set[AttemptId] = set()

    @property
    def parallel(self) -> int:
        return self.slots

    def start(self, attempt: AttemptId, payload: Any) -> None:
        """Draw what will become of the attempt. More than ``slots`` at once, or one twice, is the scheduler's mistake."""
        if attempt in self.running:
            raise AssertionError(f"{attempt} runs already")
        if len(self.running) >= self.slots:
            raise AssertionError(f"{attempt} is one more than the {self.slots} slots")
        self.started += 1
        now = self.clock.now()
        self.running[attempt] = now
        self.most_running = max(self.most_running, len(self.running))
        self._cancelled.discard(attempt)
        draw = random.Random(f"{self.seed}/{attempt}")
        weather = self.weather
        seconds = weather.seconds * draw.uniform(0.5, 1.5)
        rows = (payload.start, payload.stop) if isinstance(payload, range) else None
        if rows is not None and any(row in payload for row in weather.poison):
            self._put(now + seconds * draw.random(), Died(attempt, "worker crashed (simulated)", rows if weather.knows_rows else None))
            return
        chances = (weather.death, weather.failure, weather.straggler, weather.hang)
        fate = draw.choices(("death", "failure", "straggler", "hang", "good"), (*chances, max(0.0, 1 - sum(chances))))[0]
        if attempt.number >= weather.unlucky:
            fate = "good"
        match fate:
            case "death":
                self._put(now + seconds * draw.random(), Died(attempt, "worker crashed (simulated)", rows if weather.knows_rows else None))
                return
            case "failure":
                report = Report("a simulated failure")
                self._put(now + seconds * draw.random(), Failed(attempt, "transient", StepError(report), report))
                return
            case "hang":
                return
            case "straggler":
                seconds *= weather.slower
            case _:
                pass
        for step in range(1, min(8, int(seconds))):
            self._put(now + seconds * step / 8, Progress(attempt, step, 100 * step))
        end = Finished(attempt, SimResult(attempt, payload))
        self._put(now + seconds, end)
        if draw.random() < weather.twice:
            self._put(now + seconds * draw.uniform(1, 3), end)

    def cancel(self, attempt: AttemptId) -> None:
        """Stop an attempt; now and then its end is on its way already, and comes."""
        self.running.pop(attempt, None)
        if random.Random(f"{self.seed}/{attempt}/cancel").random() >= self.weather.late:
            self._cancelled.add(attempt)

    def expect(self, left: Sequence[Left]) -> None:
        """Nothing: there are as many slots as there are."""

    def bring(self, files: Sequence[Any]) -> list[News]:
        """Nothing: there is one place."""
        return []

    def hang_report(self, attempt: AttemptId) -> str:
        """What stands for a stack."""
        return f"{attempt} hangs in a simulation"

    def wait(self, timeout: float) -> list[Event]:
        """What is due at the next moment at which anything is, if that is within ``timeout``; the clock moves there."""
        limit = self.clock.now() + timeout
        events: list[Event] = []
        while self._heap and self._heap[0][0] <= limit and not (events and self._heap[0][0] > self.clock.now()):
            time, _, event = heapq.heappop(self._heap)
            self.clock.advance(time)
            if event.attempt in self._cancelled:
                continue
            if not isinstance(event, Progress):
                self.deaths += isinstance(event, Died)
                self.failures += isinstance(event, Failed)
                self.late += self.running.pop(event.attempt, None) is None
            events.append(event)
        if not events:
            self.clock.advance(limit)
        return events

    def _put(self, time: float, event: Event) -> None:
        heapq.heappush(self._heap, (time, next(self._order), event))


def halves(task: Task, rows: tuple[int, int] | None, how: str) -> list[Task] | None:
    """A splitter for tasks whose payload is a ``range``: two halves of it, None for a single row.

    >>> [part.payload for part in halves(Task("map/0", "map", range(0, 5)), None, "died") or ()]
    [range(0, 2), range(2, 5)]
    """
    given: range = task.payload
    if len(given) <= 1:
        return None
    middle = (given.start + given.stop) // 2
    pieces: Iterable[range] = (range(given.start, middle), range(middle, given.stop))
    return [Task(f"{task.id}.{number}", task.group, piece) for number, piece in enumerate(pieces)]
