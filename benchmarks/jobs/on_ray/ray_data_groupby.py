"""Group by key with Ray Data: pairs made by `map_batches`, `groupby`, and a Python function of every group's values."""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np
import ray
from up import cluster

BLOCK = 10_000


def main(size: str, target: str) -> None:
    keys = int(size) // 10

    def pairs(batch: dict[str, Any]) -> dict[str, Any]:
        numbers = np.concatenate([np.arange(block * BLOCK, (block + 1) * BLOCK) for block in batch["id"]])
        return {"key": numbers * 7919 % keys, "value": numbers}

    def total(group: dict[str, Any]) -> dict[str, Any]:
        return {"key": group["key"][:1], "sum": np.array([sum(group["value"].tolist())])}

    with cluster():
        ray.data.DataContext.get_current().enable_progress_bars = False
        begun = time.perf_counter()
        made = ray.data.range(int(size) // BLOCK, override_num_blocks=8).map_batches(pairs)
        made.groupby("key", num_partitions=8).map_groups(total).write_parquet(target)
        print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
