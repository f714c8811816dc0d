"""The first query with Ray Data, on a Ray of its own without the dashboard."""

import os
import shutil
import sys
import tempfile

import ray
from shown import show


def main(source: str) -> None:
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    os.environ["RAY_worker_niceness"] = "0"  # Ray makes its workers give way to all else on the machine
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=temporary)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.read_parquet(source) if source.endswith(".parquet") else ray.data.read_csv(source)
    sums = rows.groupby("k", num_partitions=2).sum("x").take_all()
    show([(row["k"], row["sum(x)"]) for row in sums])
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
