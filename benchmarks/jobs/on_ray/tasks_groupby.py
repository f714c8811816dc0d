"""Group by key by hand on Ray: tasks make pairs and split them by key, tasks group their part in a dictionary and sum every group."""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from up import cluster

BLOCK, MAPS, PARTITIONS = 10_000, 8, 8


@ray.remote(num_returns=PARTITIONS)
def make(keys: int, blocks: list[int]) -> list[list[tuple[int, int]]]:
    parts: list[list[tuple[int, int]]] = [[] for _ in range(PARTITIONS)]
    for block in blocks:
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            key = i * 7919 % keys
            parts[key % PARTITIONS].append((key, i))
    return parts


@ray.remote
def group(number: int, target: str, *parts: list[tuple[int, int]]) -> None:
    groups: dict[int, list[int]] = {}
    for part in parts:
        for key, value in part:
            groups.setdefault(key, []).append(value)
    table = pa.table({"key": list(groups), "sum": [sum(values) for values in groups.values()]})
    pq.write_table(table, f"{target}/part-{number}.parquet", compression="zstd")


def main(size: str, target: str) -> None:
    with cluster():
        begun = time.perf_counter()
        os.makedirs(target)
        blocks = int(size) // BLOCK
        made = [make.remote(int(size) // 10, list(range(first, blocks, MAPS))) for first in range(MAPS)]
        ray.get([group.remote(number, target, *(parts[number] for parts in made)) for number in range(PARTITIONS)])
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
