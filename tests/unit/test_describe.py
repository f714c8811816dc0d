"""`describe` of records: the statistics that Polars gives, from every runner."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline, col

RUNS = {
    "reference": {"runner": "reference"},
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "progress": False},
    "small": {"mode": "in_process", "placement": "partitioned", "memory": "1MiB", "progress": False},
}
everywhere = pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
FRAME = pl.DataFrame(
    {
        "i": pl.Series([5, -1, None, 4, 4], dtype=pl.Int16),
        "u": pl.Series([2**64 - 1, 0, 1, None, 7], dtype=pl.UInt64),
        "f": [1.0, 2.5, None, -3.5, 0.25],
        "nan": [1.0, math.nan, 2.0, 3.5, None],
        "d": pl.Series([Decimal("1.25"), None, Decimal("2.00"), Decimal("3.10"), Decimal("-9.99")], dtype=pl.Decimal(15, 2)),
        "b": [True, False, None, True, True],
        "s": ["b", None, "", "é", "a"],
        "n": pl.Series([None] * 5, dtype=pl.Int64),
    }
)
NEW_YEAR = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
TYPES = {
    "day": pa.array([dt.date(2020, 1, 31), None, dt.date(1960, 1, 1)]),
    "at": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3), dt.datetime(2021, 1, 1), None]),
    "zone": pa.array([None, NEW_YEAR, dt.datetime(2020, 7, 1, tzinfo=dt.UTC)], pa.timestamp("ms", "Europe/Berlin")),
    "time": pa.array([dt.time(1), dt.time(23, 59), None]),
    "span": pa.array([dt.timedelta(seconds=1), None, dt.timedelta(days=1)], pa.duration("ms")),
    "list": pa.array([[1], None, []]),
    "struct": pa.array([{"x": 1}, None, {"x": 2}]),
    "bytes": pa.array([b"a", None, b"\xff"]),
    "null": pa.nulls(3),
    "kind": pa.array(["x", "y", None]).dictionary_encode(),
}  # fmt: skip
NINE = ["count", "null_count", "mean", "std", "min", "25%", "50%", "75%", "max"]


def same(one, two):
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-12) or (math.isnan(one) and math.isnan(two))
    return one == two and type(one) is type(two)


def assert_same(found, expected):
    assert [list(row) for row in found] == [list(row) for row in expected]
    for one, two in zip(found, expected, strict=True):
        assert all(same(one[name], two[name]) for name in one), (one, two)


@everywhere
@pytest.mark.parametrize("rows", [5, 4, 2, 1, 0])
def test_numbers_bools_and_text_are_described_as_polars_does(rows, options):
    frame = FRAME.head(rows)
    found = Pipeline().from_arrow(frame).describe()
    assert {name: str(kind) for name, kind in found.schema.items()} == {
        "statistic": "string", **{name: "string" if name == "s" else "float64" for name in FRAME.columns}
    }  # fmt: skip
    assert_same(found.collect(**options), frame.describe().to_dicts())


@everywhere
def test_percentiles_and_what_is_between_two_values(options):
    frame = FRAME.select("i", "f", "d")
    for percentiles, way in (((0.0, 0.1, 0.999, 1.0), "linear"), ((0.5,), "lower"), ((), "nearest")):
        found = Pipeline().from_arrow(frame).describe(percentiles, interpolation=way).collect(**options)
        assert_same(found, frame.describe(list(percentiles), interpolation=way).to_dicts())


@everywhere
def test_other_types(options):
    rows = Pipeline().from_arrow(pa.table(TYPES)).describe().collect(**options)
    assert [row["statistic"] for row in rows] == NINE
    found = {row["statistic"]: row for row in rows}
    assert {name: value for name, value in found["count"].items() if name != "statistic"} == {
        "day": "2", "at": "2", "zone": "2", "time": "2", "span": 2.0, "list": 2.0, "struct": 2.0, "bytes": 2.0, "null": 0.0, "kind": "2",
    }  # fmt: skip
    assert {name: value for name, value in found["min"].items() if value is not None} == {
        "statistic": "min", "day": "1960-01-01", "at": "2020-01-01 01:02:03.000000", "zone": found["min"]["zone"], "time": "01:00:00",
        "span": 1.0, "kind": "x",
    }  # fmt: skip
    assert found["min"]["zone"].startswith("2020-01-01 01:00:00")
    assert found["mean"]["span"] == found["50%"]["span"] / 2 + 0.5 == 43200.5
    assert found["mean"]["day"] is None and found["25%"]["at"] is None


@everywhere
def test_it_is_a_collection_like_any(tmp_path, options):
    p = Pipeline()
    p.from_arrow(FRAME).write_parquet(str(tmp_path / "in"))
    p.run(progress=False)
    q = Pipeline()
    found = q.read_parquet(str(tmp_path / "in")).filter(col("i") > 0).describe()
    assert found.filter(col("statistic") == "max").select("i", "s").collect(**options) == [{"i": 5.0, "s": "é"}]
    assert found.map(lambda row: row["statistic"]).collect(**options) == NINE
    found.write_parquet(str(tmp_path / "out"))
    q.run(**options)
    assert pl.read_parquet(tmp_path / "out")["statistic"].to_list() == NINE


@everywhere
def test_names_of_columns_are_no_matter(options):
    table = pa.table({name: [1, 2] for name in ("place", "place_", "label", "count", "0 count", "self", "")})
    rows = Pipeline().from_arrow(table).describe().collect(**options)
    assert [list(row) for row in rows] == [["statistic", *table.column_names]] * 9
    assert all(value == 1.5 for name, value in rows[2].items() if name != "statistic")


def test_what_cannot_be_described_is_an_error_at_the_line():
    p = Pipeline()
    cases = {
        "whose columns are known": lambda: p.create([1, 2]).describe(),
        "are not known yet": lambda: p.create([{"a": 1}]).map(lambda row: row).describe(),
        "a column is called 'statistic'": lambda: p.create([{"statistic": 1}]).describe(),
        "between 0 and 1, not 25": lambda: p.create([{"a": 1}]).describe([25]),
        "interpolation is one of": lambda: p.create([{"a": 1}]).describe(interpolation="near"),
    }
    for text, call in cases.items():
        with pytest.raises(DataflowError, match=text) as caught:
            call()
        assert "test_describe.py" in str(caught.value)
