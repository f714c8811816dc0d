"""TPC-H with Daft's native runner, from the specification's SQL over the Parquet files; its optimizer orders the joins."""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(DAFT_PROGRESS_BAR="0", DO_NOT_TRACK="1")
sys.path.insert(0, str(Path(__file__).parents[3]))

import daft
import pyarrow.parquet as pq
import timing
from data import TABLES
from spelling import for_daft

from benchmarks.jobs.plain import plain


def main(source: str, target: str) -> None:
    paths = {name: plain(Path(source) / f"{name}.parquet") for name in TABLES}
    daft.set_runner_native()

    def query(number: int) -> Any:
        tables = {name: daft.read_parquet(path) for name, path in paths.items()}
        return daft.sql(for_daft(number), **tables).to_arrow()

    daft.read_parquet(paths["nation"]).count_rows()
    timing.run(query, pq.write_table, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
