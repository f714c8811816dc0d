"""TPC-H with DuckDB, from the specification's SQL over views of the Parquet files."""

import sys
from typing import Any

import duckdb
import pyarrow.parquet as pq
import timing
from data import TABLES, sql


def main(source: str, target: str) -> None:
    db = duckdb.connect()
    for name in TABLES:
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{source}/{name}.parquet')")

    def query(number: int) -> Any:
        return db.sql(sql(number)).to_arrow_table()

    db.sql("SELECT count(*) FROM nation").to_arrow_table()
    timing.run(query, pq.write_table, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
