"""Sort by hand on Ray: a sample gives the bounds, a task a part of the file cuts its lines by them, a task a range sorts and writes."""

import json
import os
import sys
import time
from bisect import bisect_right
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import ray
from up import cluster

PART = 64 << 20
RANGES = 16


@ray.remote(num_returns=RANGES)
def cut(path: str, start: int, stop: int, bounds: list[bytes]) -> list[list[bytes]]:
    ranges: list[list[bytes]] = [[] for _ in range(RANGES)]
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        lines = file.readlines(stop - file.tell()) if file.tell() < stop else []
    for line in lines:
        ranges[bisect_right(bounds, line)].append(line)
    return ranges


@ray.remote
def write(number: int, target: str, *parts: list[bytes]) -> None:
    lines = sorted(line for part in parts for line in part)
    with open(f"{target}/part-{number:05}.txt", "wb") as file:
        file.writelines(lines)


def main(source: str, target: str) -> None:
    with cluster(4 << 30):
        begun = time.perf_counter()
        os.makedirs(target)
        size = os.path.getsize(source)
        with open(source, "rb") as file:
            sample = []
            for at in range(0, size, size // 500):
                file.seek(at)
                file.readline()
                sample.append(file.readline())
        sample.sort()
        bounds = [sample[len(sample) * number // RANGES] for number in range(1, RANGES)]
        parts = [cut.remote(source, start, min(start + PART, size), bounds) for start in range(0, size, PART)]
        ray.get([write.remote(number, target, *(part[number] for part in parts)) for number in range(RANGES)])
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
