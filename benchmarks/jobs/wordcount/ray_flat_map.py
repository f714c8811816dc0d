"""Word count with Ray Data as its verbs suggest: `read_text`, `flat_map`, `groupby` and `count`."""

import json
import os
import shutil
import sys
import tempfile
import time

import ray


def words(row: dict[str, str]) -> list[dict[str, str]]:
    return [{"word": word} for word in row["text"].split()]


def main(source: str, target: str) -> None:
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    os.environ["RAY_worker_niceness"] = "0"  # Ray makes its workers give way to all else on the machine
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=2 << 30, _temp_dir=temporary
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    begun = time.perf_counter()
    ray.data.read_text(source).flat_map(words).groupby("word", num_partitions=4).count().write_parquet(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
