"""Python's values in columns: what a type would cut to fit is an error that names the column, and nothing is lost without a word."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline
from dataflow.errors import PlanError, SchemaError

TIME = dt.datetime(2024, 1, 2, 10, 30, 15, 123456)
CUT = [
    (1.5, pa.int64()), (decimal.Decimal("1.55"), pa.int64()), (TIME, pa.date32()), (TIME, pa.timestamp("s")),
    ([1, 2.5], pa.list_(pa.int32())),
    (dt.time(1, 2, 3, 456), pa.time32("s")), (dt.timedelta(milliseconds=1500), pa.duration("s")), ([TIME], pa.list_(pa.date32())),
]  # fmt: skip
WHOLE = [
    (2.0, pa.int64(), 2), (dt.datetime(2024, 1, 2), pa.date32(), dt.date(2024, 1, 2)), (1, pa.float64(), 1.0),
    (decimal.Decimal("1.5"), pa.decimal128(10, 2), decimal.Decimal("1.50")),
    ({"x": 1.0}, pa.struct([("x", pa.int8())]), {"x": 1}), (None, pa.int8(), None),
]  # fmt: skip


def written(path: Path, values: list[Any], **options: Any) -> list[Any]:
    p = Pipeline()
    p.create([{"a": value} for value in values]).write_parquet(str(path), **options)
    p.run(progress=False)
    return [row["a"] for row in Pipeline().read_parquet(str(path)).collect(progress=False)]


@pytest.mark.parametrize(("value", "kind"), CUT)
def test_a_value_that_the_declared_type_would_cut_is_an_error(tmp_path: Path, value: Any, kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="column 'a' is not .*, as schema= says"):
        written(tmp_path / "out", [None, value], schema={"a": kind})
    with pytest.raises(PlanError, match="column 'a' is not .*, as schema= says"):
        Pipeline().create([{"a": value}], schema={"a": kind})


@pytest.mark.parametrize(("value", "kind", "expected"), WHOLE)
def test_a_value_that_the_declared_type_holds_whole_is_in_it(tmp_path: Path, value: Any, kind: pa.DataType, expected: Any) -> None:
    assert written(tmp_path / "out", [value], schema={"a": kind}) == [expected]
    made = Pipeline().create([{"a": value}], schema={"a": kind}).to_arrow(progress=False)
    assert made.schema.field("a").type == kind and made["a"].to_pylist() == [expected]


@pytest.mark.parametrize(
    "mixed",
    [
        [dt.date(2024, 1, 1), TIME], [TIME, dt.date(2024, 1, 1)], [[dt.date(2024, 1, 1), TIME]], [[[dt.date(2024, 1, 1)], [TIME]]],
        [[TIME, TIME.replace(tzinfo=dt.UTC)]], [["x", b"\xff"]], [{"x": b"\xff"}, {"x": "x"}],
        [[{"x": TIME}], [{"x": dt.date(2024, 1, 1)}]],
    ],
)  # fmt: skip
def test_mixes_that_would_lose_something_are_an_error_however_deep(tmp_path: Path, mixed: list[Any]) -> None:
    with pytest.raises(SchemaError, match="column 'a' has no one type"):
        written(tmp_path / "out", mixed)


def test_views_of_text_as_polars_gives_them_are_written_to_folders_by_a_column(tmp_path: Path) -> None:
    import polars as pl

    frame = pl.DataFrame({"k": [1, 2, 1], "w": ["a", "b", "c"], "raw": [b"x", None, b"y"]}).with_columns(
        many=pl.concat_list("w", "w"), inner=pl.struct("w"), kind=pl.col("w").cast(pl.Categorical)
    )
    p = Pipeline()
    p.from_arrow(frame).write_parquet(str(tmp_path / "out"), partition_by=["k"])
    p.run(progress=False)
    found = Pipeline().read_parquet(str(tmp_path / "out")).sort("w").collect(progress=False)
    assert [{name: row[name] for name in frame.columns} for row in found] == frame.sort("w").to_dicts()
