"""The job with dataflow's columns, in two gigabytes."""

import json
import sys
import time

from dataflow import Pipeline


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    lineitem = p.read_parquet(f"{source}/lineitem.parquet")
    orders = p.read_parquet(f"{source}/orders.parquet").select("o_orderkey", "o_custkey", "o_comment")
    joined = lineitem.join(orders, left_on="l_orderkey", right_on="o_orderkey")
    joined.select("l_orderkey", "l_partkey", "l_quantity", "o_custkey", "o_comment").write_parquet(target)
    p.run(memory="2GiB", progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
