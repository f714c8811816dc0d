"""Word count on a Ray cluster that is up."""

from __future__ import annotations

from benchmarks.job import Contender, Job
from benchmarks.jobs.wordcount import prepare
from benchmarks.results import words_fingerprint

__all__ = ["JOB"]

JOB = Job(
    "ray_wordcount",
    "word count of Zipf text to Parquet, on a Ray of two cores that is up",
    {"small": 32_000_000, "full": 256_000_000},
    prepare,
    lambda target, printed: words_fingerprint(target),
    (
        Contender("ours on Ray", "on_ray/ours.py", arguments=("wordcount", "ray"), baseline=True),
        Contender("ours, local", "on_ray/ours.py", arguments=("wordcount", "local"), goal=1 / 1.3),
        Contender("Ray tasks by hand", "on_ray/tasks_wordcount.py", "ray", goal=1 / 1.15),
        Contender("Ray Data, Counters", "wordcount/ray_data.py", "ray", goal=10),
        Contender("Ray Data, flat_map", "wordcount/ray_flat_map.py", "ray", goal=10, divisor=8),
    ),
    scripts=".",
)
