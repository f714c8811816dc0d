"""Group by key with a Dask bag's groupby, which shuffles through its worker processes' memory."""

import json
import logging
import sys
import time
from functools import partial

import dask.bag as bag
from distributed import Client

BLOCK = 10_000


def pairs(keys: int, block: int) -> list[tuple[int, int]]:
    return [(i * 7919 % keys, i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def key_of(pair: tuple[int, int]) -> int:
    return pair[0]


def total(group: tuple[int, list[tuple[int, int]]]) -> tuple[int, int]:
    return group[0], sum(value for _, value in group[1])


def main(size: str, target: str) -> None:
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR):
        begun = time.perf_counter()
        made = bag.from_sequence(range(int(size) // BLOCK), npartitions=8).map(partial(pairs, int(size) // 10)).flatten()
        grouped = made.groupby(key_of, shuffle="tasks")
        grouped.map(total).to_dataframe(meta={"key": int, "sum": int}).to_parquet(target, write_index=False, compression="zstd")
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
