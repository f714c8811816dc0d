"""The first query with DuckDB, which knows a file by its ending."""

import sys

import duckdb
from shown import show


def main(source: str) -> None:
    show(duckdb.execute(f"SELECT k, sum(x) FROM '{source}' GROUP BY k").fetchall())


if __name__ == "__main__":
    main(sys.argv[1])
