"""Word count with dataflow and a lambda, which is called for every line."""

import json
import sys
import time

from dataflow import Pipeline


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    p.read_text(source).flat_map(lambda line: line.split()).count().write_parquet(target)
    p.run(progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
