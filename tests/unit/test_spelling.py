"""What Polars gives (text as views, categories as dictionaries of views) is computed with and written as any text is."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from dataflow import Pipeline, col

RUNS = {
    "reference": {"runner": "reference"},
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "progress": False},
}
FRAME = pl.DataFrame({"e": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical), "s": ["a", None, "c", "d"], "n": [1, 2, 3, 4]})
ROWS = FRAME.cast({"e": pl.String}).to_dicts()


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_categories_of_polars_are_text_to_every_step(options):
    frame = Pipeline().from_arrow(FRAME)
    assert frame.filter(col("n") > 2).sort("n").collect(**options) == ROWS[2:]
    assert [row["n"] for row in frame.filter(col("e") == "x").sort("n").collect(**options)] == [1, 4]
    found = frame.group_by("e").agg(n=col("n").sum()).collect(**options)
    assert sorted(found, key=repr) == [{"e": "x", "n": 5}, {"e": "y", "n": 2}, {"e": None, "n": 3}]
    assert sorted(map(repr, frame.select("e").distinct().collect(**options))) == ["{'e': 'x'}", "{'e': 'y'}", "{'e': None}"]
    assert frame.sample(4).sort("n").collect(**options) == ROWS


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("form", ["parquet", "ipc", "csv", "avro", "jsonl"])
def test_they_are_written_in_every_format(tmp_path, form, options):
    p = Pipeline()
    getattr(p.from_arrow(FRAME), f"write_{form}")(str(tmp_path / "out"))
    getattr(p.from_arrow(FRAME).filter(col("n") > 5), f"write_{form}")(str(tmp_path / "empty"))
    p.run(**options)
    assert getattr(Pipeline(), f"read_{form}")(str(tmp_path / "out")).collect() == ROWS
    assert getattr(Pipeline(), f"read_{form}")(str(tmp_path / "empty")).collect() == []


def test_bytes_as_views_are_written_too(tmp_path):
    p = Pipeline()
    p.from_arrow(pa.table({"b": pa.array([b"a", None], pa.binary_view())})).write_avro(str(tmp_path / "out"))
    p.run(progress=False)
    assert Pipeline().read_avro(str(tmp_path / "out")).collect() == [{"b": b"a"}, {"b": None}]


def test_parquet_keeps_them_as_dictionaries(tmp_path):
    p = Pipeline()
    p.from_arrow(FRAME).write_parquet(str(tmp_path / "out"))
    p.run(progress=False)
    assert pl.read_parquet(tmp_path / "out").schema["e"] == pl.Categorical
