"""An embedded store of many cells: how long it takes to open, what memory it takes, and reads that the cache does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    return Input(str(size), f"{size} cells")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return f"{printed['cells']} cells"


JOB = Job(
    "large_store",
    "an embedded store on RocksDB, in cells of 100 bytes",
    {"small": 2_000_000, "full": 100_000_000},
    prepare,
    fingerprint,
    (Contender("embedded", "cells.py"),),
)
