"""Which workers have their next attempt already."""

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow.driving.ahead import Ahead
from dataflow.driving.pool import PooledWorker, Queued, WorkerPool
from dataflow.scheduling.events import AttemptId
from dataflow.worker import Channel


def test_only_workers_of_attempts_that_are_known_to_be_short_have_a_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ahead: Ahead[str] = Ahead()
    ahead.begins("w", "map")
    assert not list(ahead.could_take()) and ahead.depth == 1, "of what it is not known how long it takes, none waits"
    now[0] += 0.05
    assert ahead.ends("w") is None and ahead.depth > 1
    ahead.begins("w", "map")
    assert list(ahead.could_take()) == ["w"]
    ahead.takes("w", "the next")
    assert not list(ahead.could_take())
    assert ahead.ends("w") == "the next"
    ahead.begins("w", "map")
    now[0] += 10
    ahead.ends("w")
    ahead.begins("w", "map")
    assert not list(ahead.could_take()) and ahead.depth == 1, "they are not short any more"


def test_what_a_worker_had_not_begun_is_known_when_it_is_gone() -> None:
    ahead: Ahead[str] = Ahead()
    ahead.begins("w", "map")
    ahead.takes("w", "the next")
    assert ahead.forget("w") == "the next" and ahead.forget("w") is None and ahead.ends("w") is None


def test_after_an_attempt_that_failed_none_waits() -> None:
    ahead: Ahead[str] = Ahead()
    for _ in range(2):
        ahead.begins("w", "map")
        ahead.ends("w")
    assert ahead.depth > 1
    ahead.begins("w", "map")
    ahead.ends("w", well=False)
    ahead.begins("w", "map")
    assert ahead.depth == 1 and not list(ahead.could_take())


class Body:
    """No process."""

    place = ""

    def kill(self) -> None: ...

    def end(self, patience: float) -> None: ...


def test_a_worker_that_was_ended_is_not_heard_any_more() -> None:
    """It says at once that it is done with one attempt, has begun the next, which nobody wants any more, and is done with that too."""
    ours, theirs = socket.socketpair()
    pool, worker = WorkerPool(), PooledWorker(Body(), Channel(ours), ready=True)  # type: ignore[arg-type]
    pool._add(worker)
    first, second = AttemptId("a", 0), AttemptId("b", 0)
    worker.busy = first
    pool.ahead.begins(worker, "p")
    pool.ahead.takes(worker, Queued(second, SimpleNamespace(phase="p"), lambda: None))  # type: ignore[arg-type, return-value]
    pool.cancel(second)
    far = Channel(theirs)
    for message in (("finished", *first, None), ("returned", *second, False), ("finished", *second, None)):
        far.send(*message)
    pool.wait(1.0)
    assert not pool.workers and not pool.free and not pool.ahead.double


def test_an_attempt_that_nobody_wants_is_asked_for_also_behind_one_that_was_had_back() -> None:
    ours, theirs = socket.socketpair()
    pool, worker = WorkerPool(), PooledWorker(Body(), Channel(ours), ready=True)  # type: ignore[arg-type]
    pool._add(worker)
    phase: Any = SimpleNamespace(phase="p")
    queued = [Queued(AttemptId(name, 0), phase, lambda: None) for name in "abc"]  # type: ignore[arg-type, return-value]
    worker.busy = queued[0].attempt
    pool.ahead.begins(worker, "p")
    pool.ahead.takes(worker, queued[1])
    pool._ask_back(worker, queued[1])
    far = Channel(theirs)
    far.send("finished", *queued[0].attempt, None)  # it has begun the second
    pool.wait(1.0)
    pool.ahead.takes(worker, queued[2])
    pool.cancel(queued[2].attempt)
    far.send("returned", *queued[1].attempt, False)
    pool.wait(1.0)
    assert [far.receive() for _ in range(2)] == [("return", *queued[1].attempt), ("return", *queued[2].attempt)]
    for one in (ours, theirs):
        one.close()
