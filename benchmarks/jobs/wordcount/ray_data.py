"""Word count with Ray Data: Arrow reads the lines, a Python function counts each batch, the partial counts are grouped."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter

import pyarrow as pa
import pyarrow.csv as csv
import ray


def count(lines: pa.Table) -> pa.Table:
    counter: Counter[str] = Counter()
    for line in lines["line"].to_pylist():
        counter.update(line.split())
    return pa.table({"word": list(counter), "count": list(counter.values())})


def main(source: str, target: str) -> None:
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    os.environ["RAY_worker_niceness"] = "0"  # Ray makes its workers give way to all else on the machine
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=2 << 30, _temp_dir=temporary
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    begun = time.perf_counter()
    lines = ray.data.read_csv(
        source,
        read_options=csv.ReadOptions(column_names=["line"], block_size=8 << 20),
        parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False),
    )
    counts = lines.map_batches(count, batch_format="pyarrow", batch_size=None)
    counts.groupby("word", num_partitions=4).sum("count").write_parquet(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
