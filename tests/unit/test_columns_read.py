"""Only what a query needs of a file is read: columns, and fields of structs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.io.columnar import ParquetSource


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...] | None]:
    """The columns of every split that `ParquetSource` reads itself."""
    found: list[tuple[str, ...] | None] = []
    read = ParquetSource.read

    def recorded(self: ParquetSource, split: Any) -> Iterator[Any]:
        found.append(self.only)
        return read(self, split)

    monkeypatch.setattr(ParquetSource, "read", recorded)
    return found


@pytest.fixture
def shops(tmp_path: Path) -> PCollection[Any]:
    """Files in folders that name a column, which the kernel does not read itself."""
    for shop in ("north", "south"):
        folder = tmp_path / f"shop={shop}"
        folder.mkdir()
        pq.write_table(pa.table({"k": range(5), "x": [at * 2 for at in range(5)], "unread": ["x" * 100] * 5}), folder / "part.parquet")
    return Pipeline().read_parquet(str(tmp_path))


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_columns_nobody_uses_are_not_read_by_a_query(shops: PCollection[Any], asked: list[Any], placement: str) -> None:
    query = shops.filter(col("k") > 2).select("x")
    rows = query.collect(progress=False, mode="in_process", placement=placement)
    assert sorted(row["x"] for row in rows) == [6, 6, 8, 8]
    assert [sorted(names) for names in asked] == [["k", "x"]] * 2


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_a_column_of_folder_names_alone_keeps_its_rows(shops: PCollection[Any], asked: list[Any], placement: str) -> None:
    rows = shops.group_by("shop").agg(n=col("shop").count()).collect(progress=False, mode="in_process", placement=placement)
    assert sorted((row["shop"], row["n"]) for row in rows) == [("north", 5), ("south", 5)]
    assert asked == [("shop",)] * 2
