"""The local runner: this process for what is small, this machine's processes for what is large."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from dataflow.driving.driver import Driver, RunnerWorkers, source_bytes
from dataflow.driving.memory import machine_memory
from dataflow.physical.phases import PhysicalPlan
from dataflow.scheduling.work import SMALL_BYTES
from dataflow.sizes import parse_size
from runners.local.workers import LocalWorkers, Mode

__all__ = ["LocalRunner"]

DEFAULT_SHARE = 0.6


class LocalRunner(Driver):
    """Runs plans on this machine.

    ``memory``: bytes (or "8GiB") the run's data may take, 60% of the machine's by default. ``workers``: processes,
    one a core by default. ``mode``: "auto" (by bytes), "in_process", "processes". The other options are those of `Driver`.
    """

    def __init__(self, *, memory: str | int | None = None, workers: int | None = None, mode: Mode = "auto", **options: Any) -> None:
        if mode not in ("auto", "in_process", "processes"):
            raise ValueError(f'mode is "auto", "in_process" or "processes", not {mode!r}')
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        super().__init__(memory=parse_size(memory) if memory is not None else int(machine_memory() * DEFAULT_SHARE), **options)
        self.workers = workers or len(os.sched_getaffinity(0))
        self.mode: Mode = mode

    def _workers(self, stack: ExitStack, run: str, plan: PhysicalPlan, folders: list[str]) -> RunnerWorkers:
        workers = LocalWorkers(self.mode, self.workers, run)
        stack.callback(workers.close)
        if self.mode == "processes" or (self.mode == "auto" and source_bytes(plan) > SMALL_BYTES):
            workers.warm()
        return workers
