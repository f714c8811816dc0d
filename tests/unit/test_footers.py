"""Aggregations of whole Parquet files that their footers answer: the same as reading them, and only where that is sure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col
from dataflow.expr.functions import len_


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        start = number * 10
        table = pa.table(
            {
                "i": pa.array([start + at if at % 4 else None for at in range(10)], pa.int32()),
                "d": pa.array([dt.date(2024, 1, 1 + at) for at in range(10)]),
                "m": pa.array([Decimal(start + at) / 100 for at in range(10)], pa.decimal128(15, 2)),
                "f": pa.array([float("nan"), *range(9)], pa.float64()),
                "s": pa.array(["x" * 100] * 10),
                "n": pa.nulls(10, pa.int64()),
            }
        )
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=4)
    return tmp_path


def both(folder: Path, **aggs: Any) -> tuple[str, list[Any], list[Any]]:
    rows = Pipeline().read_parquet(str(folder))
    whole = rows.group_by().agg(**aggs)
    read = rows.filter(col("d").is_not_null() | col("d").is_null()).group_by().agg(**aggs)
    return whole.explain(), whole.collect(), read.collect()


def test_rows_counts_and_bounds_come_from_the_footers(folder: Path) -> None:
    aggs = {
        "rows": len_(),
        "known": col("i").count(),
        "low": col("i").min(),
        "high": col("i").max(),
        "first": col("d").min(),
        "most": col("m").max(),
    }
    plan, answered, read = both(folder, **aggs)
    assert "answered: aggregate from the footers" in plan
    assert answered == read
    assert answered[0]["rows"] == 30 and answered[0]["high"] == 29


def test_a_column_of_nulls_has_no_bounds(folder: Path) -> None:
    plan, answered, read = both(folder, low=col("n").min(), known=col("n").count())
    assert "answered:" in plan
    assert answered == read == [{"low": None, "known": 0}]


@pytest.mark.parametrize("column", ["f", "s"])
def test_bounds_of_floats_and_text_are_read(folder: Path, column: str) -> None:
    plan, answered, read = both(folder, high=col(column).max())
    assert "answered:" not in plan
    assert answered == read


def test_a_condition_or_another_aggregate_means_reading(folder: Path) -> None:
    rows = Pipeline().read_parquet(str(folder))
    assert "answered:" not in rows.group_by().agg(col("i").sum()).explain()
    assert "answered:" not in rows.filter(col("i") > 3).group_by().agg(n=len_()).explain()
    assert rows.filter(col("i") > 3).group_by().agg(n=len_()).collect() == [{"n": 18}]


def test_files_without_statistics_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [3, 1, 2]}), tmp_path / "a.parquet", write_statistics=False)
    rows = Pipeline().read_parquet(str(tmp_path))
    assert "answered:" not in rows.group_by().agg(col("i").min()).explain()
    assert rows.group_by().agg(col("i").min()).collect() == [{"i": 1}]
