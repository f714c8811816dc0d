"""TPC-H again, each query forced to be cut in pieces that two worker processes run, beside the same queries whole."""

from __future__ import annotations

from benchmarks.job import Contender, Job
from benchmarks.jobs.tpch import prepare
from benchmarks.results import rows_fingerprint

__all__ = ["JOB"]

JOB = Job(
    "tpch_partitioned",
    "22 queries of TPC-H, whole and partitioned on two worker processes; sizes are scale factors",
    {"small": 1, "full": 10},
    prepare,
    lambda target, printed: rows_fingerprint(target),
    (
        Contender("whole", "ours.py", arguments=("columns", "whole"), baseline=True),
        Contender("partitioned", "ours.py", arguments=("columns", "partitioned"), most_times=2.5),
        Contender("whole, SQL", "ours.py", arguments=("sql", "whole")),
        Contender("partitioned, SQL", "ours.py", arguments=("sql", "partitioned"), most_times=2.5),
    ),
    scripts="tpch",
)
