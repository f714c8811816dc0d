"""What the jobs on large tables have in common: TPC-H's tables, two gigabytes, and a result known by sums over its columns."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job import Contender, Input, Job
from benchmarks.jobs.tpch import tables_input
from benchmarks.results import columns_fingerprint

__all__ = ["large_table_job"]

# By job and scale factor, on the tables of tpchgen-cli 4.0: what DuckDB 2.0 made.
EXPECTED: dict[tuple[str, int], str] = {
    ("sort_table", 1): "6001215 rows, c2006d2cc1983e6b", ("group_table", 1): "6001169 rows, 96f8c32aaf49e22e",
    ("join_table", 1): "6001215 rows, 65fecfdbda9afc8b", ("sort_table", 10): "59986052 rows, fd4ba92015fc9d69",
    ("group_table", 10): "59986002 rows, 6d71810037dbad34", ("join_table", 10): "59986052 rows, 479860ee960f5983",
}  # fmt: skip


def large_table_job(name: str, title: str) -> Job:
    """A job on lineitem, small at scale factor 1 and full at 10."""

    def prepare(folder: Path, size: int) -> Input:
        return Input(tables_input(folder, size), EXPECTED.get((name, size), ""))

    return Job(
        name,
        title,
        {"small": 1, "full": 10},
        prepare,
        lambda target, printed: columns_fingerprint(target),
        (
            Contender("ours", "ours.py", baseline=True, most_mb=2500),
            Contender("DuckDB, 2 GB", "duckdb_sql.py", "duckdb", goal=1.0),
            Contender("Polars, spilling", "polars_streaming.py", "polars"),
        ),
    )
