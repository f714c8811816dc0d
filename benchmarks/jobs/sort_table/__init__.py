"""Sort a table by two columns, to Parquet, in two gigabytes."""

from __future__ import annotations

from benchmarks.jobs.tables import large_table_job

__all__ = ["JOB"]

JOB = large_table_job("sort_table", "lineitem of TPC-H sorted by ship date and order, Parquet to Parquet, memory=2GiB")
