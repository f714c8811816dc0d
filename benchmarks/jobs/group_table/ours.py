"""The job with dataflow's columns, in two gigabytes."""

import json
import sys
import time

from dataflow import Pipeline, col


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    lineitem = p.read_parquet(f"{source}/lineitem.parquet")
    sums = lineitem.group_by("l_orderkey", "l_partkey").agg(quantity=col("l_quantity").sum(), price=col("l_extendedprice").max())
    sums.write_parquet(target)
    p.run(memory="2GiB", progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
