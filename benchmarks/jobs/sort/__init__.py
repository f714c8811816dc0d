"""Sort: lines of 99 random characters, more than may be held in memory, into text in order of their bytes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data import made_once, random_records
from benchmarks.job import Contender, Input, Job
from benchmarks.results import lines_fingerprint

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    path = folder / f"records-{size}.txt"
    return Input(str(path), made_once(path, lambda part: random_records(part, size)))


JOB = Job(
    "sort",
    "sort of lines of 100 bytes within 512 MB, text to text",
    {"small": 1_000_000, "full": 10_000_000},
    prepare,
    lambda target, printed: lines_fingerprint(target),
    (
        Contender("ours", "ours.py", baseline=True, most_mb=900),
        Contender("GNU sort", "gnu_sort.py", "-", goal=1, needs="sort"),
        Contender("DuckDB", "duckdb_sql.py", "duckdb", goal=1 / 1.3),
        Contender("PySpark", "pyspark_sql.py", "pyspark", goal=1),
        Contender("Ray Data", "ray_data.py", "ray", goal=1),
    ),
)
