"""The driver of a run on thousands of machines: the real job, scheduler and bookkeeping, on machines that are simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: float) -> Input:
    return Input(str(size), "every result taken once, and once more where it was lost")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return str(printed["account"])


JOB = Job(
    "scale",
    "a MapReduce of 200,000 map and 5,000 reduce tasks on 2,000 simulated machines; sizes are shares of that; seconds are the driver's own",
    {"small": 0.02, "full": 1},
    prepare,
    fingerprint,
    (
        Contender("calm", "simulated.py", arguments=("calm",), baseline=True),
        Contender("stragglers", "simulated.py", arguments=("stragglers",), baseline=True),
        Contender("stragglers, no backups", "simulated.py", arguments=("no_backups",)),
        Contender("a tenth dies in the maps", "simulated.py", arguments=("deaths_in_maps",), baseline=True),
        Contender("a tenth dies after the maps", "simulated.py", arguments=("deaths_after_maps",), baseline=True),
        Contender("a tenth dies in the reduces", "simulated.py", arguments=("deaths_in_reduces",), baseline=True),
        Contender("16 blocks a file", "simulated.py", arguments=("blocks",), baseline=True),
        Contender("ten times as large", "simulated.py", arguments=("ten_times",), divisor=4, note="a quarter of it, times four"),
    ),
)
