"""Sort with DuckDB in 512 MB: each line is one column of a CSV whose delimiter never occurs, without quotes or escapes."""

import json
import os
import sys
import time

import duckdb


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    db = duckdb.connect()
    db.execute("SET threads = 2; SET memory_limit = '512MB'; SET preserve_insertion_order = false")
    db.execute(f"SET temp_directory = '{os.environ.get('TMPDIR', '/tmp')}/duckdb'")
    db.execute(
        f"""
        COPY (
          SELECT line
          FROM read_csv('{source}', delim = '\x01', quote = '', escape = '', header = false,
                        auto_detect = false, columns = {{'line': 'VARCHAR'}})
          ORDER BY line
        ) TO '{target}' (FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE '')
        """
    )
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
