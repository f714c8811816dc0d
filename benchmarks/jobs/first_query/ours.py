"""The first query with dataflow's columns."""

import sys

from shown import show

from dataflow import Pipeline, col


def main(source: str) -> None:
    p = Pipeline(progress=False)
    rows = p.read_parquet(source) if source.endswith(".parquet") else p.read_csv(source)
    sums = rows.group_by("k").agg(col("x").sum()).collect()
    show([(row["k"], row["x"]) for row in sums])


if __name__ == "__main__":
    main(sys.argv[1])
