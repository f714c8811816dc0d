"""Sort with dataflow in 512 MiB."""

import json
import sys
import time

from dataflow import Pipeline


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    p.read_text(source).sort().write_text(target)
    p.run(memory="512MiB", progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
