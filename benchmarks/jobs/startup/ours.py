"""Word count with dataflow, collected and printed."""

import sys

from dataflow import Pipeline


def main(source: str) -> None:
    counts = Pipeline(progress=False).read_text(source).flat_map(str.split).count().collect()
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(count for _, count in counts)), flush=True)  # noqa: UP031


if __name__ == "__main__":
    main(sys.argv[1])
