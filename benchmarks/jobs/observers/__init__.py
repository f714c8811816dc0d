"""Observers in four processes: from changed rows to committed runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    return Input(str(size), f"{size} runs")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return f"{printed['committed']} runs"


JOB = Job(
    "observers",
    "changed rows, each looked at by a run of an observer, in four worker processes on LMDB",
    {"small": 20_000, "full": 100_000},
    prepare,
    fingerprint,
    (
        Contender("embedded", "processes.py", arguments=("embedded",)),
        Contender("embedded, no fsync", "processes.py", arguments=("embedded", "unsynced")),
        Contender("percolator", "processes.py", arguments=("percolator",)),
        Contender("percolator, no fsync", "processes.py", arguments=("percolator", "unsynced")),
    ),
)
