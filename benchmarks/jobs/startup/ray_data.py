"""Word count with Ray Data, partial counts grouped, taken and printed."""

import os
import shutil
import sys
import tempfile
from collections import Counter

import pyarrow as pa
import ray


def count(lines: pa.Table) -> pa.Table:
    counter: Counter[str] = Counter()
    for line in lines["text"].to_pylist():
        counter.update(line.split())
    return pa.table({"word": list(counter), "count": list(counter.values())})


def main(source: str) -> None:
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    os.environ["RAY_worker_niceness"] = "0"  # Ray makes its workers give way to all else on the machine
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=temporary)
    ray.data.DataContext.get_current().enable_progress_bars = False
    partial = ray.data.read_text(source).map_batches(count, batch_format="pyarrow", batch_size=None)
    counts = partial.groupby("word", num_partitions=2).sum("count").take_all()
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(row["sum(count)"] for row in counts)), flush=True)  # noqa: UP031
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
