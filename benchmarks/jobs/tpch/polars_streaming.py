"""TPC-H with Polars' streaming engine."""

import sys
from pathlib import Path

import polars as pl
import polars_queries
import polars_queries_2
import timing
from data import TABLES


def main(source: str, target: str) -> None:
    def query(number: int) -> pl.DataFrame:
        tables = {name: pl.scan_parquet(Path(source) / f"{name}.parquet") for name in TABLES}
        made: pl.LazyFrame = getattr(polars_queries if number <= 11 else polars_queries_2, f"q{number}")(tables)
        return made.collect(engine="streaming")

    pl.scan_parquet(Path(source) / "nation.parquet").select(pl.len()).collect(engine="streaming")
    timing.run(query, lambda frame, path: frame.write_parquet(path), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
