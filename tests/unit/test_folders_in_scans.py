"""The kernel reads columns from the names of folders as our own reading does, or is not asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.io.parquet import ParquetSource

PLACES: dict[str, dict[str, Any]] = {
    "whole": {"placement": "whole"},
    "in pieces": {"placement": "partitioned", "memory": "64MiB", "mode": "in_process"},
}
TREES: dict[str, list[str]] = {
    "one": ["k=1", "k=2", "k=-3"],
    "several": ["k=1/d=2024-01-01", "k=2/d=2024-02-29", "k=2/d=__HIVE_DEFAULT_PARTITION__"],
    "texts": ["s=a b", "s=x%20y", "s=%C3%A9", "s=ü", "s=07"],
    "all null": ["s=__HIVE_DEFAULT_PARTITION__"],
    "a name that is escaped": ["a%20b=1", "a%20b=2"],
    "a value with a sign": ["s=a=b", "s=c"],
    "no value": ["s=", "s=c"],
    "no text": ["s=%FF", "s=caf%E9", "s=a"],
    "a star": ["s=a*b", "s=c"],
    "null that is spelled": ["s=%5F_HIVE_DEFAULT_PARTITION__", "s=a"],
    "not in all": ["k=1", "k=1/s=a", "."],
    "another order": ["k=1/j=2", "j=3/k=4"],
    "twice": ["k=1/k=2", "k=3/k=4"],
}
BY_THE_KERNEL = {"one", "several", "texts", "all null"}
QUERIES: dict[str, Any] = {
    "all": lambda t: t,
    "of the file": lambda t: t.select("v"),
    "of the folders": lambda t: t.select(*(name for name in t.schema if name != "v")).distinct(),
    "grouped": lambda t: t.filter(col("v") > 1).group_by(*(name for name in t.schema if name != "v")).agg(n=col("v").sum()),
    "chosen": lambda t: t.filter(col(next(name for name in t.schema if name != "v")).is_not_null() & (col("v") < 9)),
}


def written(folder: Path, tree: list[str]) -> str:
    for number, place in enumerate(tree):
        (folder / place).mkdir(parents=True, exist_ok=True)
        table = pa.table({"v": [number, number + 1, number + 8]})
        for part in range(2):
            pq.write_table(table, folder / place / f"{part}.parquet", row_group_size=1, write_page_checksum=True)
    return str(folder)


def bag(rows: list[Any]) -> list[str]:
    return sorted(map(repr, rows))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("tree", TREES)
def test_columns_of_folders_are_what_the_reference_reads(tmp_path: Path, tree: str, query: str, place: str) -> None:
    path = written(tmp_path / "table", TREES[tree])

    def built() -> PCollection[Any]:
        return QUERIES[query](Pipeline().read_parquet(path))

    assert (ParquetSource((path,)).kernel_scan() is not None) == (tree in BY_THE_KERNEL)
    assert bag(built().collect(progress=False, **PLACES[place])) == bag(built().collect(runner="reference"))


def test_a_folder_above_the_table_is_none_of_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "run=7", ["k=1", "k=2"])
    found = Pipeline().read_parquet(path).collect(progress=False, placement="whole")
    assert list(found[0]) == ["v", "k"] and {row["k"] for row in found} == {1, 2}


def test_a_column_of_the_file_is_not_the_folders(tmp_path: Path) -> None:
    (tmp_path / "k=1").mkdir()
    pq.write_table(pa.table({"k": [5], "v": [6]}), tmp_path / "k=1" / "a.parquet")
    assert Pipeline().read_parquet(str(tmp_path)).collect(progress=False, placement="whole") == [{"k": 5, "v": 6}]


def test_a_file_that_is_named_like_a_folder_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "k=1").mkdir()
    pq.write_table(pa.table({"v": [6]}), tmp_path / "k=1" / "j=2.parquet")
    assert Pipeline().read_parquet(str(tmp_path)).collect(progress=False, placement="whole") == [{"v": 6, "k": 1}]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("given", [["t/k=1/0.parquet"], ["t/k=1/0.parquet", "t"], ["t", "t/k=2"], ["t/k=1", "t"], ["t/k=*"]])
def test_what_is_told_by_folders_depends_on_what_was_given(tmp_path: Path, given: list[str], place: str) -> None:
    written(tmp_path / "t", ["k=1", "k=2", "k=12"])
    paths = [str(tmp_path / path) for path in given]

    def built() -> PCollection[Any]:
        return Pipeline().read_parquet(paths).filter(col("v") > 0)

    assert bag(built().collect(progress=False, **PLACES[place])) == bag(built().collect(runner="reference"))


def test_a_folder_that_is_called_like_a_field_of_a_struct_is_another_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_ranges = ParquetSource.in_ranges
    monkeypatch.setattr(ParquetSource, "in_ranges", lambda self, key, beside, target, most: in_ranges(self, key, beside, 1, 1 << 40))
    monkeypatch.setattr("dataflow.io.key_ranges.at_least_eight", lambda total, target: 1)
    for number in (1, 5):
        (tmp_path / f"a.b={number}").mkdir()
        table = pa.table({"a": [{"b": number * 10 + at} for at in range(6)], "v": range(6)})
        pq.write_table(table, tmp_path / f"a.b={number}" / "0.parquet", row_group_size=2)

    def found(**options: Any) -> list[str]:
        table = Pipeline().read_parquet(str(tmp_path))
        asked = (table.group_by("a.b").agg(n=col("v").count()), table.group_by().agg(m=col("a.b").max()))
        return [row for query in asked for row in bag(query.collect(**options))]

    assert found(progress=False, **PLACES["in pieces"]) == found(runner="reference")
