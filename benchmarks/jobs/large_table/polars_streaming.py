"""Sort, group or join with Polars' streaming engine, told to spill beyond two gigabytes."""

import json
import os
import sys
import tempfile
import time

os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] = "1600"
os.environ["POLARS_OOC_SPILL_DIR"] = tempfile.mkdtemp()

import polars as pl


def sort(lineitem: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
    return lineitem.sort("l_shipdate", "l_orderkey")


def group(lineitem: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
    return lineitem.group_by("l_orderkey", "l_partkey").agg(pl.col("l_quantity").sum(), pl.col("l_extendedprice").max())


def join(lineitem: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
    wanted = orders.select("o_orderkey", "o_custkey", "o_comment")
    joined = lineitem.join(wanted, left_on="l_orderkey", right_on="o_orderkey")
    return joined.select("l_orderkey", "l_partkey", "l_quantity", "o_custkey", "o_comment")


QUERIES = {"sort": sort, "group": group, "join": join}


def main(source: str, target: str, query: str) -> None:
    begun = time.perf_counter()
    os.makedirs(target)
    lineitem, orders = (pl.scan_parquet(f"{source}/{name}.parquet") for name in ("lineitem", "orders"))
    order = query == "sort"  # only a sort's result has an order to keep
    QUERIES[query](lineitem, orders).sink_parquet(f"{target}/part.parquet", maintain_order=order, engine="streaming")
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
