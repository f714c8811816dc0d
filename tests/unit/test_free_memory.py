"""What a worker does about memory between attempts."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from time import monotonic, perf_counter

import pytest

from dataflow.execution import task


class Ring:
    """A cycle of one."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    task._thorough[0] = monotonic()


def test_a_cycle_that_outlived_an_attempt_is_collected_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    task._thorough[0] = monotonic()
    ring = Ring()
    gone = weakref.ref(ring)
    task.free_memory()
    del ring
    task.free_memory()
    assert gone() is not None, "it is put aside, and not looked at for a while"
    monkeypatch.setattr(task, "SELDOM", 0.0)
    task.free_memory()
    assert gone() is None


def test_what_is_alive_costs_the_next_attempts_nothing() -> None:
    alive = [[n] for n in range(1_000_000)]
    begun = perf_counter()
    gc.collect()
    whole = perf_counter() - begun
    task.free_memory()
    begun = perf_counter()
    for _ in range(10):
        task.free_memory()
    assert (perf_counter() - begun) / 10 < whole / 5 and alive
