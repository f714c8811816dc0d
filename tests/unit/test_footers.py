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


QUERIES = {
    "select count(*) from t": True,
    "select count(*), min(i), max(i) from t": True,
    "select count(1) n, count(i), max(m) - min(m) as span from t": True,
    "select max(x) from (select i as x, s from t) q": True,
    "with q as (select d, i + 1 as j from t) select min(d), count(*) from q": True,
    "select max(i + 1) from t": False,
    "select count(*) from t where i > 3": False,
    "select count(distinct i) from t": False,
    "select max(f) from t": False,
    "select count(*) filter (where i > 3) from t": False,
    "select count(*) from (select i from t limit 5) q": False,
    "select sum(i), max(i) from t": False,
}


@pytest.mark.parametrize("query", QUERIES)
def test_sql_is_answered_from_the_footers_too(folder: Path, query: str) -> None:
    p = Pipeline()
    rows = p.sql(query, t=p.read_parquet(str(folder)))
    assert ("answered:" in rows.explain()) == QUERIES[query]
    assert repr(rows.collect()) == repr(rows.collect(runner="reference"))
    assert repr(rows.collect(placement="partitioned")) == repr(rows.collect(runner="reference"))


def _without_data(path: Path) -> bytes:
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little") + 8
    return b"PAR1" + bytes(len(data) - length - 4) + data[-length:]


def test_the_number_of_records_is_answered_through_choices_of_columns(folder: Path) -> None:
    rows = Pipeline().read_parquet(str(folder))
    assert rows.size().get() == 30
    assert rows.select("i").size().get() == 30
    (folder / "0.parquet").write_bytes(_without_data(folder / "0.parquet"))  # which a footer does not tell
    assert Pipeline().read_parquet(str(folder)).size().get() == 30
    assert Pipeline().create([{"a": 1}]).filter(col("a") > 3).size().get() == 0
    chosen = rows.select("i", x=col("d")).rename({"x": "y"}).drop("i").with_columns(z=col("y")).group_by().agg(a=col("z").max(), n=len_())
    assert "answered:" in chosen.explain()
    assert chosen.collect() == [{"a": dt.date(2024, 1, 10), "n": 30}]


def test_folders_that_a_condition_chooses_are_counted_from_their_footers(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
        pq.write_table(pa.table({"n": range(10 * day)}), tmp_path / f"day={day}" / "a.parquet")
    p = Pipeline()
    rows = p.sql("select count(*) c, max(n) m from t where day = 2", t=p.read_parquet(str(tmp_path)))
    assert "answered:" in rows.explain()
    assert rows.collect() == [{"c": 20, "m": 19}]


def test_bounds_in_nanoseconds_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([1, 1001], pa.timestamp("ns"))}), tmp_path / "a.parquet")
    rows = Pipeline().read_parquet(str(tmp_path)).group_by().agg(m=col("t").max())
    assert "answered:" not in rows.explain()
    assert rows.to_arrow().column("m").cast("int64").to_pylist() == [1001]


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


def test_an_arrow_without_the_reader_that_we_know_is_asked_in_the_official_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import _parquet

    from dataflow.io.footer_reader import opened_footer

    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "x.parquet")
    for other in (None, type("Other", (), {"open": lambda self, file: None})):
        with monkeypatch.context() as patched:
            if other is None:
                patched.delattr(_parquet, "ParquetReader")
            else:
                patched.setattr(_parquet, "ParquetReader", other)
            with opened_footer(str(tmp_path / "x.parquet")) as footer:
                assert isinstance(footer, pq.ParquetFile) and footer.metadata.num_rows == 2
