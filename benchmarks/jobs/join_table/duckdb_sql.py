"""The job with DuckDB, limited to two gigabytes, spilling to disk."""

import json
import os
import sys
import tempfile
import time

import duckdb

QUERY = """
    SELECT l_orderkey, l_partkey, l_quantity, o_custkey, o_comment
    FROM '{source}/lineitem.parquet' JOIN '{source}/orders.parquet' ON l_orderkey = o_orderkey
"""


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    os.makedirs(target)
    with tempfile.TemporaryDirectory() as spill:
        db = duckdb.connect(config={"memory_limit": "2GiB", "temp_directory": spill})
        order = False  # only a sort's result has an order to keep
        db.execute(f"SET preserve_insertion_order = {str(order).lower()}")
        db.execute(f"COPY ({QUERY.format(source=source)}) TO '{target}/part.parquet' (FORMAT parquet, COMPRESSION zstd)")
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
