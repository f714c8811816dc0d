"""What many tasks of tiny data take in the driver and at the head of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: float) -> Input:
    return Input(str(int(size)), "right")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return str(printed["account"])


JOB = Job(
    "ray_wide",
    "so many mappers and as many reducers of 20 records each, and so many tasks of one record, on a cluster of two machines on these cores",
    {"small": 200, "full": 2_000},
    prepare,
    fingerprint,
    (
        Contender("shuffle", "wide.py", arguments=("shuffle",), baseline=True),
        Contender("tasks", "wide.py", arguments=("tasks",)),
    ),
    scripts="on_ray",
)
