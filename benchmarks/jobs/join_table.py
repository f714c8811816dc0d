"""Join two large tables that carry text, to Parquet, in two gigabytes."""

from __future__ import annotations

from benchmarks.jobs.large_table import large_table_job

__all__ = ["JOB"]

JOB = large_table_job("join", "lineitem of TPC-H joined to orders with their comments, Parquet to Parquet, memory=2GiB")
