"""The scheduler alone: empty tasks on workers that finish at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    return Input(str(size), f"{size} tasks, each done once")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return f"{printed['tasks']} tasks, each done once"


JOB = Job(
    "scheduler",
    "the scheduler alone: empty tasks on simulated workers, in one group",
    {"small": 10_000, "full": 100_000},
    prepare,
    fingerprint,
    (
        Contender("64 slots", "slots_64.py", baseline=True, most_seconds=10, most_mb=500),
        Contender("1,000 slots, stragglers", "slots_1000.py", baseline=True, most_seconds=10, most_mb=500),
    ),
)
