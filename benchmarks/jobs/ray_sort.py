"""Sort of lines on a Ray cluster that is up."""

from __future__ import annotations

from benchmarks.job import Contender, Job
from benchmarks.jobs.sort import prepare
from benchmarks.results import lines_fingerprint

__all__ = ["JOB"]

JOB = Job(
    "ray_sort",
    "sort of lines of 100 bytes, text to text, on a Ray of two cores that is up",
    {"small": 1_000_000, "full": 10_000_000},
    prepare,
    lambda target, printed: lines_fingerprint(target),
    (
        Contender("ours on Ray", "on_ray/ours.py", arguments=("sort", "ray"), baseline=True),
        Contender("ours, local", "on_ray/ours.py", arguments=("sort", "local"), goal=1 / 1.3),
        Contender("Ray tasks by hand", "on_ray/tasks_sort.py", "ray", goal=1 / 1.15),
        Contender("Ray Data", "sort/ray_data.py", "ray", goal=3),
    ),
    scripts=".",
)
