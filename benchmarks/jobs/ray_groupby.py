"""Group by key on a Ray cluster that is up."""

from __future__ import annotations

from benchmarks.job import Contender, Job
from benchmarks.jobs.groupby import prepare
from benchmarks.results import sums_fingerprint

__all__ = ["JOB"]

JOB = Job(
    "ray_groupby",
    "group_by_key of int pairs, Python sum per group, to Parquet, on a Ray of two cores that is up",
    {"small": 1_000_000, "full": 10_000_000},
    prepare,
    lambda target, printed: sums_fingerprint(target),
    (
        Contender("ours on Ray", "ours.py", arguments=("groupby", "ray", "cluster"), baseline=True),
        Contender("ours, local", "ours.py", arguments=("groupby", "local"), goal=1 / 1.3),
        Contender("Ray tasks by hand", "tasks_groupby.py", "ray", goal=1 / 1.15),
        Contender("Ray Data, map_groups", "ray_data_groupby.py", "ray", goal=3, divisor=10),
    ),
    scripts="on_ray",
)
