"""Sums by key with a Dask bag's foldby, which its manual recommends over groupby wherever a fold will do."""

import json
import logging
import sys
import time
from functools import partial
from operator import add

import dask.bag as bag
from distributed import Client

BLOCK = 10_000


def pairs(keys: int, block: int) -> list[tuple[int, int]]:
    return [(i * 7919 % keys, i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def key_of(pair: tuple[int, int]) -> int:
    return pair[0]


def plus(total: int, pair: tuple[int, int]) -> int:
    return total + pair[1]


def main(size: str, target: str) -> None:
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR):
        begun = time.perf_counter()
        made = bag.from_sequence(range(int(size) // BLOCK), npartitions=8).map(partial(pairs, int(size) // 10)).flatten()
        sums = made.foldby(key_of, plus, 0, add, 0)
        sums.to_dataframe(meta={"key": int, "sum": int}).to_parquet(target, write_index=False, compression="zstd")
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
