"""Group by key: pairs made in the workers, all values of a key summed by a Python function, sums to Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.job import Contender, Input, Job
from benchmarks.results import sums_fingerprint, sums_of

__all__ = ["JOB"]

VALUES_A_KEY = 10


def prepare(folder: Path, size: int) -> Input:
    count = size // VALUES_A_KEY
    numbers = np.arange(size, dtype=np.int64)
    keys = numbers * 7919 % count
    sums = np.zeros(count, np.int64)
    np.add.at(sums, keys, numbers)
    return Input(str(size), sums_of(np.arange(count), sums))


JOB = Job(
    "groupby",
    "group_by_key of int pairs, ten a key, Python sum per group, to Parquet",
    {"small": 1_000_000, "full": 10_000_000},
    prepare,
    lambda target, printed: sums_fingerprint(target),
    (
        Contender("ours", "ours.py", baseline=True),
        Contender("PySpark RDD", "pyspark_rdd.py", "pyspark", goal=5),
        Contender("Beam, local", "beam_local.py", "apache-beam", goal=5, divisor=10),
        Contender("Dask bag groupby", "dask_groupby.py", "dask", goal=5, divisor=10),
        Contender("Dask bag foldby", "dask_foldby.py", "dask", goal=5, divisor=10, note="a fold before the shuffle: less than a grouping"),
    ),
)
