"""Sort, group or join with dataflow's columns, in two gigabytes."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from dataflow import PCollection, Pipeline, col

Records = PCollection[dict[str, Any]]


def sort(lineitem: Records, orders: Records) -> Records:
    return lineitem.sort(["l_shipdate", "l_orderkey"])


def group(lineitem: Records, orders: Records) -> Records:
    return lineitem.group_by("l_orderkey", "l_partkey").agg(quantity=col("l_quantity").sum(), price=col("l_extendedprice").max())


def join(lineitem: Records, orders: Records) -> Records:
    wanted = orders.select("o_orderkey", "o_custkey", "o_comment")
    joined = lineitem.join(wanted, left_on="l_orderkey", right_on="o_orderkey")
    return joined.select("l_orderkey", "l_partkey", "l_quantity", "o_custkey", "o_comment")


QUERIES: dict[str, Callable[[Records, Records], Records]] = {"sort": sort, "group": group, "join": join}


def main(source: str, target: str, query: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    lineitem, orders = (p.read_parquet(f"{source}/{name}.parquet") for name in ("lineitem", "orders"))
    QUERIES[query](lineitem, orders).write_parquet(target)
    p.run(memory="2GiB", progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
