"""The first query with pandas."""

import sys

import pandas as pd
from shown import show


def main(source: str) -> None:
    rows = pd.read_parquet(source) if source.endswith(".parquet") else pd.read_csv(source)
    sums = rows.groupby("k", sort=False)["x"].sum()
    show(list(zip(sums.index.tolist(), sums.tolist(), strict=True)))


if __name__ == "__main__":
    main(sys.argv[1])
