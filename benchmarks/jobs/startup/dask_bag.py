"""Word count with a Dask bag on the scheduler that starts fastest for so little: this process."""

import sys

import dask.bag as bag


def main(source: str) -> None:
    counts = bag.read_text(source).map(str.split).flatten().frequencies().compute(scheduler="synchronous")
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(count for _, count in counts)), flush=True)  # noqa: UP031


if __name__ == "__main__":
    main(sys.argv[1])
