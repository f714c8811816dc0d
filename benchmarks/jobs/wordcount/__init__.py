"""Word count: text of natural word frequencies, split by a Python function, counts to Parquet."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data import made_once, zipf_text
from benchmarks.job import Contender, Input, Job
from benchmarks.results import words_fingerprint

__all__ = ["JOB"]


def prepare(folder: Path, size: int) -> Input:
    path = folder / f"zipf-{size}.txt"
    return Input(str(path), made_once(path, lambda part: zipf_text(part, size)))


JOB = Job(
    "wordcount",
    "word count of Zipf text to Parquet",
    {"small": 32_000_000, "full": 256_000_000},
    prepare,
    lambda target, printed: words_fingerprint(target),
    (
        Contender("ours", "ours.py", baseline=True),
        Contender("ours, lambda", "ours_lambda.py", baseline=True),
        Contender("two Counter processes", "two_processes.py", "pyarrow", goal=1.3),
        Contender("PySpark RDD", "pyspark_rdd.py", "pyspark", goal=10),
        Contender("Ray Data, Counters", "ray_data.py", "ray", goal=20),
        Contender("Ray Data, flat_map", "ray_flat_map.py", "ray", goal=20, divisor=8),
        Contender("Beam, local", "beam_local.py", "apache-beam", goal=20, divisor=8),
        Contender("Dask bag", "dask_bag.py", "dask"),
    ),
)
