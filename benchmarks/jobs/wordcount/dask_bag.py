"""Word count with a Dask bag on two worker processes; `frequencies` counts each part before it merges."""

import json
import logging
import sys
import time

import dask.bag as bag
from distributed import Client


def main(source: str, target: str) -> None:
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR):
        begun = time.perf_counter()
        words = bag.read_text(source, blocksize=16_000_000).map(str.split).flatten()
        words.frequencies(split_every=4).to_dataframe(meta={"word": str, "count": int}).to_parquet(
            target, write_index=False, compression="zstd"
        )
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
