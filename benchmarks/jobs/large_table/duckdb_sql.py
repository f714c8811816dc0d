"""Sort, group or join with DuckDB, limited to two gigabytes, spilling to disk."""

import json
import os
import sys
import tempfile
import time

import duckdb
from queries import QUERIES


def main(source: str, target: str, query: str) -> None:
    begun = time.perf_counter()
    os.makedirs(target)
    with tempfile.TemporaryDirectory() as spill:
        db = duckdb.connect(config={"memory_limit": "2GiB", "temp_directory": spill})
        for name in ("lineitem", "orders"):
            db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{source}/{name}.parquet')")
        order = query == "sort"  # only a sort's result has an order to keep
        db.execute(f"SET preserve_insertion_order = {str(order).lower()}")
        db.execute(f"COPY ({QUERIES[query]}) TO '{target}/part.parquet' (FORMAT parquet, COMPRESSION zstd)")
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
