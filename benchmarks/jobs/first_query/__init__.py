"""The first query: from process start to the printed sums of a million rows of Parquet by a key; `tiny_query` is the same of a CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks.data import made_once
from benchmarks.job import Contender, Input, Job
from benchmarks.jobs.first_query.shown import told

__all__ = ["JOB", "first_query_job"]

ENDINGS: dict[str, Callable[[pa.Table, Path], None]] = {"parquet": pyarrow.parquet.write_table, "csv": pyarrow.csv.write_csv}


def first_query_job(name: str, title: str, rows: int, keys: int, ending: str) -> Job:
    """A job on a file of that ending, from which each script knows how to read it."""

    def make(path: Path) -> str:
        table = pa.table({"k": np.random.default_rng(20261122).integers(0, keys, rows), "x": np.arange(rows)})
        ENDINGS[ending](table, path)
        sums = np.zeros(keys, np.int64)
        np.add.at(sums, table["k"].to_numpy(), table["x"].to_numpy())
        return told(list(enumerate(sums.tolist())))

    def prepare(folder: Path, size: int) -> Input:
        path = folder / f"sums-{rows}.{ending}"
        return Input(str(path), made_once(path, make))

    def fingerprint(target: Path, printed: Mapping[str, Any]) -> str:
        return str(printed["result"])

    return Job(
        name,
        title,
        {"small": rows, "full": rows},
        prepare,
        fingerprint,
        (
            Contender("ours", "ours.py", baseline=True),
            Contender("Polars", "polars_frame.py", "polars", goal=1 / 1.5),
            Contender("DuckDB", "duckdb_sql.py", "duckdb", goal=1 / 1.5),
            Contender("pandas", "pandas_frame.py", "pandas", goal=1 / 1.5),
            Contender("Ray Data", "ray_data.py", "ray", goal=1 / 1.5),
            Contender("import of our parts", "import_only.py", checked=False, margin=0.05 if ending == "csv" else None),
        ),
        from_start=True,
        scripts="first_query",
    )


JOB = first_query_job("first_query", "from process start to the printed sums by key of a Parquet file", 1_000_000, 1000, "parquet")
