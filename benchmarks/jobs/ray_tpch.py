"""Six queries of TPC-H on a Ray cluster that is up."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job import Contender, Input, Job
from benchmarks.jobs.tpch import tables_input
from benchmarks.results import rows_fingerprint

__all__ = ["JOB"]


def prepare(folder: Path, size: float) -> Input:
    """The tables; results are compared with the first contender's."""
    return Input(tables_input(folder, size), "")


JOB = Job(
    "ray_tpch",
    "queries 1, 3, 5, 9, 18 and 21 of TPC-H, Parquet to Arrow, on a Ray of two cores that is up; sizes are scale factors",
    {"small": 1, "full": 10},
    prepare,
    lambda target, printed: rows_fingerprint(target),
    (
        Contender("ours on Ray", "ours.py", arguments=("tpch", "ray"), baseline=True),
        Contender("ours on Ray, in pieces", "ours.py", arguments=("tpch", "ray", "pieces")),
        Contender("ours, local", "ours.py", arguments=("tpch", "local"), goal=1 / 1.3),
        Contender("Daft on Ray", "daft_tpch.py", "daft", goal=1.0),
    ),
    scripts="on_ray",
)
