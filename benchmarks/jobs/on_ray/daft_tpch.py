"""TPC-H with Daft's Ray runner, from the specification's SQL over the Parquet files."""

import json
import os
import sys
import time
from pathlib import Path

os.environ.update(DAFT_PROGRESS_BAR="0", DO_NOT_TRACK="1")
sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tpch"))
sys.path.insert(0, str(Path(__file__).parent))

import daft
import pyarrow.parquet as pq
from data import TABLES
from queries import QUERIES
from spelling import for_daft
from up import cluster

from benchmarks.jobs.plain import plain


def main(source: str, target: str) -> None:
    paths = {name: plain(Path(source) / f"{name}.parquet") for name in TABLES}
    Path(target).mkdir()
    parts = {}
    with cluster():
        daft.set_runner_ray()
        daft.read_parquet(paths["nation"]).count_rows()
        for number in QUERIES:
            begun = time.perf_counter()
            tables = {name: daft.read_parquet(path) for name, path in paths.items()}
            found = daft.sql(for_daft(number), **tables).to_arrow()
            parts[f"q{number}"] = time.perf_counter() - begun
            pq.write_table(found, f"{target}/q{number:02}.parquet")
        print(json.dumps({"seconds": sum(parts.values()), "parts": parts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
