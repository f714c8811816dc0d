"""Start-up: from process start to the printed result of a word count over 10,000 lines, and imports alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import made_once, zipf_text
from benchmarks.job import Contender, Input, Job

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    path = folder / f"lines-{size}.txt"
    rows, total = made_once(path, lambda part: zipf_text(part, 0, lines=size)).replace(",", "").split()[:3:2]
    return Input(str(path), f"{rows} words, {total} in all")


def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
    return f"{printed['words']} words, {printed['total']} in all"


JOB = Job(
    "startup",
    "from process start to the printed word count of 10,000 lines",
    {"small": 10_000, "full": 10_000},
    prepare,
    fingerprint,
    (
        Contender("ours", "ours.py", baseline=True),
        Contender("Polars", "polars_frame.py", "polars"),
        Contender("DuckDB", "duckdb_sql.py", "duckdb", goal=1 / 1.5),
        Contender("Dask bag", "dask_bag.py", "dask"),
        Contender("Beam, local", "beam_local.py", "apache-beam"),
        Contender("PySpark RDD", "pyspark_rdd.py", "pyspark"),
        Contender("Ray Data", "ray_data.py", "ray"),
        Contender("import dataflow", "import_only.py", most_seconds=0.25, checked=False),
        Contender("bare Python", "bare_python.py", checked=False),
    ),
    from_start=True,
)
