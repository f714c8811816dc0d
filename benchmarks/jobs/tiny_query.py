"""The first query over a CSV file of about a kilobyte: what an engine costs where there is next to nothing to do."""

from __future__ import annotations

from benchmarks.jobs.first_query import first_query_job

__all__ = ["JOB"]

JOB = first_query_job("tiny_query", "from process start to the printed sums by key of a CSV file of 1 KB", 180, 5, "csv")
