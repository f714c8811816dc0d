"""The eight tables of TPC-H as collections of one pipeline, and a query by its number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs.tpch.data import TABLES
from dataflow import PCollection, Pipeline

__all__ = ["Records", "Tables"]

Records = PCollection[dict[str, Any]]


@dataclass(frozen=True)
class Tables:
    """One collection a table; each file is called ``<table>.parquet``."""

    customer: Records
    lineitem: Records
    nation: Records
    orders: Records
    part: Records
    partsupp: Records
    region: Records
    supplier: Records

    @classmethod
    def read(cls, pipeline: Pipeline, folder: Path) -> Tables:
        """The tables of a folder."""
        return cls(**{name: pipeline.read_parquet(str(folder / f"{name}.parquet"), label=name) for name in TABLES})
