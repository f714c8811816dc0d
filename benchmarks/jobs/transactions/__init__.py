"""One-cell transactions on RocksDB, beside a raw get and put of rocksdict in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    return Input(str(size), "")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return ""


JOB = Job(
    "transactions",
    "one-cell transactions on RocksDB, in cells of 100 bytes",
    {"small": 20_000, "full": 100_000},
    prepare,
    fingerprint,
    (
        Contender("embedded", "embedded.py", checked=False),
        Contender("embedded, fsync", "embedded.py", arguments=("fsync",), checked=False),
        Contender("percolator", "percolator.py", checked=False),
    ),
)
