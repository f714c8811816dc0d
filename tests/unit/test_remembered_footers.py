"""Footers are read once for each version of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col
from dataflow.io import parquet


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the Parquet files that are opened, in turn."""
    paths: list[str] = []
    plain = parquet.ParquetSource._file

    def noted(self: Any, path: str) -> Any:
        paths.append(path)
        return plain(self, path)

    monkeypatch.setattr(parquet.ParquetSource, "_file", noted)
    return paths


def test_a_plan_opens_every_footer_once(tmp_path: Path, opened: list[str]) -> None:
    for number in range(5):
        pq.write_table(pa.table({"k": [number, 7], "x": [1, 2]}), tmp_path / f"{number}.parquet")
    rows = Pipeline().read_parquet(str(tmp_path)).group_by("k").agg(col("x").sum())
    assert sum(row["x"] for row in rows.collect()) == 15
    assert len(opened) == len(set(opened)) > 0  # of files that are alike not all are parsed


def test_a_file_that_changed_is_another_file(tmp_path: Path, opened: list[str]) -> None:
    path = tmp_path / "t.parquet"
    for values in ([1, 2], [3, 4, 5]):
        pq.write_table(pa.table({"x": values}), tmp_path / "new")
        os.replace(tmp_path / "new", path)
        assert Pipeline().read_parquet(str(path)).select("x").collect() == [{"x": value} for value in values]
    assert len(opened) == 2


def test_one_file_under_two_names_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data" / "a.parquet")
    os.symlink(tmp_path / "data" / "a.parquet", tmp_path / "data" / "b.parquet")
    os.symlink(tmp_path / "data", tmp_path / "same")
    rows = Pipeline().read_parquet([str(tmp_path / "data"), str(tmp_path / "same" / "a.parquet")])
    assert rows.collect() == [{"x": 1}]
