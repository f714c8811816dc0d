"""Which of several workers has an attempt: the one nearest to its bytes, on a machine where it has not run.

first attempt   ─> where most bytes of its files lie (of a large shuffle every machine has about as much: whoever is first)
one that is run again, or beside another ─> on another machine while there is one: a full disk, or a slow one, may be why
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dataflow.driving.pool import PooledWorker
from dataflow.driving.sending import MANY
from dataflow.execution.task import Attempt

__all__ = ["nearest", "ran_here"]


def nearest(idle: Sequence[PooledWorker], attempt: Attempt) -> PooledWorker:
    """The worker on whose machine most bytes of an attempt's input are."""
    given = attempt.input
    if len(idle) == 1 or len(given.files if given.shuffle is None else given.shuffle.files) > MANY:
        return idle[0]
    near: Counter[str] = Counter()
    for place, _, _, length in given.ranges():
        near[place] += length
    return max(idle, key=lambda worker: near[worker.body.place])


def ran_here(task: str, worker: PooledWorker, workers: Iterable[PooledWorker], usable: Callable[[PooledWorker], bool]) -> bool:
    """Whether a task ran on this worker's machine, and others have workers of use that it did not run on."""
    workers = list(workers)
    places = {one.body.place for one in workers if task in one.ran}
    return worker.body.place in places and any(one.body.place not in places and usable(one) for one in workers)
