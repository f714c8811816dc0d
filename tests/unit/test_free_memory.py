"""What a worker does about memory between attempts, and how much is free."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, perf_counter

import pytest

from dataflow.driving import memory
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


@pytest.mark.parametrize(
    ("folder", "limit", "used", "names"),
    [
        ("", "memory.max", "memory.current", ("active_file", "inactive_file")),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
    ],
)
def test_pages_of_files_in_a_container_are_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, limit: str, used: str, names: tuple[str, str]
) -> None:
    group = tmp_path / folder
    group.mkdir(exist_ok=True)
    (group / limit).write_text("1000000\n")
    (group / used).write_text("990000\n")
    (group / "memory.stat").write_text(f"anon 90000\n{names[0]} 400000\n{names[1]} 500000\nfile_mapped 7\n")
    monkeypatch.setattr(memory, "_GROUP", str(tmp_path))
    assert memory.machine_memory() == 1_000_000
    assert 0.05 < memory.available_share() < 0.911
    (group / "memory.stat").write_text(f"{names[0]} 0\n")
    assert memory.available_share() == pytest.approx(0.01)
