"""Group a table into almost as many groups as it has rows, to Parquet, in two gigabytes."""

from __future__ import annotations

from benchmarks.jobs.large_table import large_table_job

__all__ = ["JOB"]

JOB = large_table_job("group", "lineitem of TPC-H grouped by order and part, Parquet to Parquet, memory=2GiB")
