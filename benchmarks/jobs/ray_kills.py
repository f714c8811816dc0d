"""What the death of machines and workers costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: float) -> Input:
    return Input(str(int(size)), "")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    lines = sorted(line for path in target.iterdir() if not path.name.startswith("_") for line in path.read_text().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


JOB = Job(
    "ray_kills",
    "a map of so many tasks of about a second, and a grouping of half of that, on three machines of a Ray cluster on these cores",
    {"small": 24, "full": 60},
    prepare,
    fingerprint,
    (
        Contender("undisturbed", "kills.py", arguments=("nothing",), baseline=True),
        Contender("a machine killed in the shuffle", "kills.py", arguments=("machine",), most_times=1.3),
        Contender("a worker killed every 2 s", "kills.py", arguments=("workers",), most_times=1.3),
    ),
    scripts="on_ray",
)
