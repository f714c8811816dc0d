"""Word count by hand on Ray: a task a part of the file makes a Counter, cut by hash; a task a partition adds them up and writes."""

import json
import os
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from up import cluster

PART = 32 << 20
PARTITIONS = 2


@ray.remote(num_returns=PARTITIONS)
def count(path: str, start: int, stop: int) -> list[Counter[str]]:
    counter: Counter[str] = Counter()
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # the line that begins in the part before
        while file.tell() < stop and (line := file.readline()):
            counter.update(line.decode().split())
    parts: list[Counter[str]] = [Counter() for _ in range(PARTITIONS)]
    for word, number in counter.items():
        parts[zlib.crc32(word.encode()) % PARTITIONS][word] = number
    return parts


@ray.remote
def add(number: int, target: str, *counters: Counter[str]) -> None:
    whole: Counter[str] = Counter()
    for counter in counters:
        whole.update(counter)
    table = pa.table({"word": list(whole), "count": list(whole.values())})
    pq.write_table(table, f"{target}/part-{number}.parquet", compression="zstd")


def main(source: str, target: str) -> None:
    with cluster():
        begun = time.perf_counter()
        os.makedirs(target)
        size = os.path.getsize(source)
        made = [count.remote(source, start, min(start + PART, size)) for start in range(0, size, PART)]
        ray.get([add.remote(number, target, *(parts[number] for parts in made)) for number in range(PARTITIONS)])
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
