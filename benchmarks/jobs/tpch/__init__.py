"""TPC-H: 22 relational queries over eight tables in Parquet files, each from the files to its result."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job import Contender, Input, Job, Unavailable
from benchmarks.jobs.tpch.data import generator, made
from benchmarks.results import rows_fingerprint

__all__ = ["JOB", "prepare", "tables_input"]

# Results of DuckDB 2.0 on the tables of tpchgen-cli 4.0, by scale factor; see `rows_fingerprint`.
EXPECTED: dict[float, str] = {1: "20086 rows, 5975a681d2cdaa6e", 10: "30229 rows, f914d318d124d429"}


def tables_input(folder: Path, size: float) -> str:
    """The folder of the tables at a scale factor, made if it is not there."""
    program = generator()
    if program is None and not (folder / f"tpch-{size:g}").exists():
        raise Unavailable("the tables are made by tpchgen-cli, which is not installed: pip install tpchgen-cli")
    return str(made(folder, size, program or ""))


def prepare(folder: Path, size: float) -> Input:
    """The tables at a scale factor, and what DuckDB made of them."""
    return Input(tables_input(folder, size), EXPECTED.get(size, ""))


JOB = Job(
    "tpch",
    "22 queries of TPC-H, Parquet to Arrow, on all cores; sizes are scale factors",
    {"small": 1, "full": 10},
    prepare,
    lambda target, printed: rows_fingerprint(target),
    (
        Contender("ours", "ours.py", arguments=("columns", "auto"), baseline=True),
        Contender("ours, SQL", "ours.py", arguments=("sql", "auto")),
        Contender("Polars", "polars_streaming.py", "polars", goal=1.0),
        Contender("DuckDB", "duckdb_sql.py", "duckdb", goal=1.0),
        Contender("Daft", "daft_sql.py", "daft", goal=2.0),
        Contender("PySpark", "pyspark_sql.py", "pyspark", goal=5.0),
    ),
)
