"""Word count by hand: two processes, each with a Counter over its half of the file, merged in the parent."""

import io
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class Part(io.FileIO):
    """A part of a file, from one byte to another, so that the loop over its lines stays the plain one."""

    def __init__(self, path: str, start: int, stop: int) -> None:
        super().__init__(path)
        self.seek(start)
        self.left = stop - start

    def readinto(self, buffer: Any) -> int:
        got = super().readinto(memoryview(buffer)[: self.left]) or 0
        self.left -= got
        return got


def count(path: str, start: int, stop: int) -> Counter[str]:
    counter: Counter[str] = Counter()
    with io.TextIOWrapper(io.BufferedReader(Part(path, start, stop), 1 << 20), encoding="utf-8") as lines:
        for line in lines:
            counter.update(line.split())
    return counter


def main(source: str, target: str) -> None:
    begun = time.perf_counter()
    with open(source, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.readline()
        middle = file.tell()
    with multiprocessing.Pool(2) as pool:
        one, two = pool.starmap(count, [(source, 0, middle), (source, middle, size)])
    one.update(two)
    os.makedirs(target)
    pq.write_table(pa.table({"word": list(one), "count": list(one.values())}), f"{target}/counts.parquet", compression="zstd")
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
