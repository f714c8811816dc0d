"""What the jobs on large tables have in common: TPC-H's tables, two gigabytes, and a result known by sums over its columns."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job import Contender, Input, Job
from benchmarks.jobs.tpch import tables_input
from benchmarks.results import columns_fingerprint

__all__ = ["large_table_job"]

# By job and scale factor, on the tables of tpchgen-cli 4.0: what DuckDB 2.0 made.
EXPECTED: dict[tuple[str, float], str] = {
    ("sort", 1): "6001215 rows, c2006d2cc1983e6b", ("group", 1): "6001169 rows, 96f8c32aaf49e22e",
    ("join", 1): "6001215 rows, 65fecfdbda9afc8b", ("sort", 10): "59986052 rows, fd4ba92015fc9d69",
    ("group", 10): "59986002 rows, 6d71810037dbad34", ("join", 10): "59986052 rows, 479860ee960f5983",
}  # fmt: skip


def large_table_job(query: str, title: str, sorted_by: tuple[str, ...] = ()) -> Job:
    """A job on lineitem, small at scale factor 1 and full at 10; every script here knows its ``query`` by that name."""

    def prepare(folder: Path, size: float) -> Input:
        return Input(tables_input(folder, size), EXPECTED.get((query, size), ""))

    return Job(
        f"{query}_table",
        title,
        {"small": 1, "full": 10},
        prepare,
        lambda target, printed: columns_fingerprint(target, sorted_by),
        (
            Contender("ours", "ours.py", arguments=(query,), baseline=True, most_mb=2500),
            Contender("DuckDB, 2 GB", "duckdb_sql.py", "duckdb", (query,), goal=1.0),
            Contender("Polars, spilling", "polars_streaming.py", "polars", (query,), goal=1.0),
            Contender("Daft", "daft_sql.py", "daft", (query,)),
        ),
        scripts="large_table",
    )
