"""Word count with a lazy Polars frame: each line is one column of a CSV whose separator never occurs."""

import sys

import polars as pl


def main(source: str) -> None:
    lines = pl.scan_csv(source, has_header=False, separator="\x01", quote_char=None, new_columns=["line"], schema={"line": pl.String})
    words = lines.select(pl.col("line").str.split(" ").explode().alias("word"))
    counts = words.group_by("word").len().collect()
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), counts["len"].sum()), flush=True)  # noqa: UP031


if __name__ == "__main__":
    main(sys.argv[1])
