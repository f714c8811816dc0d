"""Group by key with dataflow."""

import json
import sys
import time
from collections.abc import Iterable
from functools import partial

from dataflow import Pipeline

BLOCK = 10_000


def pairs(keys: int, block: int) -> list[tuple[int, int]]:
    return [(i * 7919 % keys, i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def total(key: int, values: Iterable[int]) -> int:
    return sum(values)


def main(size: str, target: str) -> None:
    begun = time.perf_counter()
    p = Pipeline()
    blocks = p.create(range(int(size) // BLOCK)).redistribute(8)
    blocks.flat_map(partial(pairs, int(size) // 10)).as_table().group_by_key().map_groups(total).write_parquet(target)
    p.run(mode="processes", progress=False)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
