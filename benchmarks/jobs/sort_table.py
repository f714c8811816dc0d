"""Sort a table by two columns, to Parquet, in two gigabytes."""

from __future__ import annotations

from benchmarks.jobs.large_table import large_table_job

__all__ = ["JOB"]

SORTED_BY = ("l_shipdate", "l_orderkey")
JOB = large_table_job("sort", "lineitem of TPC-H sorted by ship date and order, Parquet to Parquet, memory=2GiB", SORTED_BY)
