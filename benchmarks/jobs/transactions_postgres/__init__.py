"""Batches of one-cell transactions on two PostgreSQL servers as shards, beside raw batches of conditional writes to the same two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job, Unavailable
from benchmarks.jobs.transactions.servers import find_programs

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    if find_programs() is None:
        raise Unavailable("there is no PostgreSQL server: no initdb on PATH or in /usr/lib/postgresql/*/bin")
    return Input(str(size), "")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return ""


JOB = Job(
    "transactions_postgres",
    "one-cell transactions on two PostgreSQL servers, a thousand a batch, in cells of 100 bytes",
    {"small": 10_000, "full": 50_000},
    prepare,
    fingerprint,
    (Contender("percolator", "shards.py", checked=False),),
    scripts="transactions",
)
