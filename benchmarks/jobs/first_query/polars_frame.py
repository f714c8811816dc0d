"""The first query with a lazy Polars frame."""

import sys

import polars as pl
from shown import show


def main(source: str) -> None:
    rows = pl.scan_parquet(source) if source.endswith(".parquet") else pl.scan_csv(source)
    show(rows.group_by("k").agg(pl.col("x").sum()).collect().rows())


if __name__ == "__main__":
    main(sys.argv[1])
