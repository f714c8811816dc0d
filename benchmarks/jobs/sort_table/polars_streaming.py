"""The job with Polars' streaming engine, told to spill beyond two gigabytes."""

import json
import os
import sys
import tempfile
import time

os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] = "1600"
os.environ["POLARS_OOC_SPILL_DIR"] = tempfile.mkdtemp()

import polars as pl


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    os.makedirs(target)
    target = f"{target}/part.parquet"
    lineitem = pl.scan_parquet(f"{source}/lineitem.parquet")
    lineitem.sort("l_shipdate", "l_orderkey").sink_parquet(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
