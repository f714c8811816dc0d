"""Sort, group or join with Daft's native runner, which has neither a limit of memory nor a place to spill."""

import json
import os
import sys
import time
from pathlib import Path

os.environ.update(DAFT_PROGRESS_BAR="0", DO_NOT_TRACK="1")
sys.path.insert(0, str(Path(__file__).parents[3]))

import daft
from queries import QUERIES

from benchmarks.jobs.plain import plain


def main(source: str, target: str, query: str) -> None:
    paths = {name: plain(Path(source) / f"{name}.parquet") for name in ("lineitem", "orders")}
    daft.set_runner_native()
    order = query == "sort"  # only a sort's result has an order to keep
    daft.set_execution_config(maintain_order=order)
    begun = time.perf_counter()
    tables = {name: daft.read_parquet(path) for name, path in paths.items()}
    daft.sql(QUERIES[query], **tables).write_parquet(target, compression="zstd", single_file=order)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
