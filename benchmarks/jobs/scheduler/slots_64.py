"""The scheduler with 64 slots whose tasks all end within a round."""

import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from dataflow.scheduling.events import AttemptId, Event, Finished, Left, Task
from dataflow.scheduling.scheduler import Scheduler


class SimWorkers:
    """Workers on which every attempt ends after a drawn number of rounds; a round takes a millisecond of simulated time."""

    def __init__(self, slots: int, slow: float = 0.0) -> None:
        self.slots, self.slow, self.time = slots, slow, 0.0
        self.draw = random.Random(1).random
        self.running: dict[AttemptId, float] = {}

    def now(self) -> float:
        return self.time

    def start(self, attempt: AttemptId, payload: Any) -> None:
        self.running[attempt] = self.time + (0.05 if self.draw() < self.slow else 0.001)

    def cancel(self, attempt: AttemptId) -> None:
        self.running.pop(attempt, None)

    def expect(self, left: Sequence[Left]) -> None:
        """Nothing: the slots are as many as they are."""

    def bring(self, files: Any) -> list[Event]:
        return []

    def hang_report(self, attempt: AttemptId) -> str:
        return ""

    def wait(self, timeout: float) -> list[Event]:
        self.time += 0.001
        over = [attempt for attempt, end in self.running.items() if end <= self.time]
        for attempt in over:
            del self.running[attempt]
        return [Finished(attempt, None) for attempt in over]


def main(size: str, slots: int = 64, slow: float = 0.0) -> None:
    workers = SimWorkers(slots, slow)
    done: dict[str, int] = {}
    begun = time.perf_counter()
    scheduler = Scheduler(workers, workers, done=lambda task, result: done.__setitem__(task.id, done.get(task.id, 0) + 1))
    scheduler.add(Task(f"map-{i}", "map") for i in range(int(size)))
    scheduler.run()
    seconds = time.perf_counter() - begun
    assert set(done.values()) == {1}, "a task was done twice"
    print(json.dumps({"seconds": seconds, "tasks": len(done), "tasks_per_second": round(len(done) / seconds)}))


if __name__ == "__main__":
    main(sys.argv[1])
