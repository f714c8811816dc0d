"""Samples: even, the same in every run, other with another seed; records keep their columns and types."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline, PTable, col

RUNS = {
    "reference": {"runner": "reference"},
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "progress": False},
    "processes": {"mode": "processes", "workers": 2, "progress": False},
}
everywhere = pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
COUNT = 2_000
TABLE = pa.table(
    {
        "i": pa.array(range(COUNT), pa.int32()),
        "small": pa.array([n % 100 for n in range(COUNT)], pa.int8()),
        "d": pa.array([Decimal(n) / 4 for n in range(COUNT)], pa.decimal128(15, 2)),
        "t": pa.array([n * 1_000_000_000 + 7 for n in range(COUNT)], pa.timestamp("ns", "UTC")),
        "kind": pa.array([f"k{n % 3}" for n in range(COUNT)]).dictionary_encode(),
        "l": pa.array([[n] for n in range(COUNT)], pa.list_(pa.int16())),
        "none": pa.nulls(COUNT, pa.string()),
    }
)

COLLECTIONS = {
    "a table": lambda p: p.from_arrow(TABLE),
    "a select": lambda p: p.from_arrow(TABLE).select(*TABLE.column_names),
    "a sample": lambda p: p.from_arrow(TABLE).sample(fraction=0.9, seed=5),
    "dealt": lambda p: p.from_arrow(TABLE).redistribute(2),
    "two tables": lambda p: p.from_arrow(TABLE.slice(0, 900)).flatten(p.from_arrow(TABLE.slice(900))),
}


@everywhere
@pytest.mark.parametrize("make", COLLECTIONS.values(), ids=COLLECTIONS)
def test_records_keep_their_columns_and_types(make, options):
    everything = {row["i"]: row for row in TABLE.select(["i", "small", "kind", "l"]).to_pylist()}
    for how in ({"n": 100}, {"fraction": 0.05}):
        sample = make(Pipeline()).sample(**how)
        assert sample.schema == Pipeline().from_arrow(TABLE).schema
        found = sample.select("i", "small", "kind", "l").collect(**options)
        assert len(found) == 100 if "n" in how else 40 < len(found) < 160
        assert len({row["i"] for row in found}) == len(found)
        assert all(everything[row["i"]] == row for row in found)


@pytest.mark.parametrize("options", list(RUNS.values())[1:], ids=list(RUNS)[1:])
def test_arrow_types_come_out_as_they_went_in(options):
    expected = [field.with_nullable(True) for field in TABLE.schema]
    for how in ({"n": 50}, {"fraction": 0.5}):
        assert list(Pipeline().from_arrow(TABLE).sample(**how).to_arrow(**options).schema) == expected


@everywhere
def test_a_sample_mixes_with_steps_on_columns_and_functions(tmp_path, options):
    p = Pipeline()
    sample = p.from_arrow(TABLE).filter(col("i") < 500).sample(200, seed=1)
    assert sample.group_by().agg(n=col("i").count(), top=col("i").max() < 500).collect(**options) == [{"n": 200, "top": True}]
    assert len(sample.map(lambda row: row["i"]).collect(**options)) == 200
    assert p.sql("select count(*) as n from t where i < 500", t=sample).collect(**options) == [{"n": 200}]
    assert len(sample.sort("i").limit(3).collect(**options)) == 3
    sample.write_parquet(str(tmp_path / "out"))
    p.run(**options)
    written = Pipeline().read_parquet(str(tmp_path / "out"))
    assert len(written.collect(**options)) == 200
    assert written.schema == sample.schema or "runner" in options  # the reference keeps Python's values, not the types of columns


@everywhere
def test_records_of_python_stay_what_they_are_and_their_columns_known(options):
    rows = [{"a": (n, 1), "when": dt.date(2026, 1, 1)} for n in range(50)]
    p = Pipeline()
    for how in ({"n": 10}, {"fraction": 0.9}):
        sample = p.create(rows).sample(**how)
        assert list(sample.schema) == ["a", "when"]
        assert all(isinstance(row["a"], tuple) for row in sample.collect(**options))
        assert sample.group_by("when").agg(n=col("a").len() > 5).collect(**options) == [{"when": dt.date(2026, 1, 1), "n": True}]


@everywhere
def test_a_sample_of_more_than_there_are_is_all_and_of_none_nothing(options):
    for make in (lambda p: p.from_arrow(TABLE.slice(0, 5)).select("i"), lambda p: p.create([{"i": n} for n in range(5)])):
        assert sorted(row["i"] for row in make(Pipeline()).sample(10).collect(**options)) == [0, 1, 2, 3, 4]
        assert sorted(row["i"] for row in make(Pipeline()).sample(fraction=1).collect(**options)) == [0, 1, 2, 3, 4]
        assert make(Pipeline()).sample(0).collect(**options) == [] == make(Pipeline()).sample(fraction=0.0).collect(**options)
    assert Pipeline().from_arrow(TABLE.slice(0, 0)).sample(3).collect(**options) == []


@everywhere
@pytest.mark.parametrize("how", [{"n": 200}, {"fraction": 0.1}])
@pytest.mark.parametrize("make", [lambda p: p.from_arrow(TABLE).select("i"), lambda p: p.create(range(COUNT))], ids=["columns", "values"])
def test_equal_seeds_give_equal_samples_and_others_others(make, how, options):
    def drawn(seed):
        return Counter(map(repr, make(Pipeline()).sample(**how, seed=seed).collect(**options)))

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert first == again
    assert len(first & other) < len(first) / 2


@pytest.mark.parametrize("make", [lambda p: p.from_arrow(TABLE).select("i"), lambda p: p.create([{"i": n} for n in range(COUNT)])])
def test_every_record_has_the_same_chance(make):
    """Forty samples of a tenth: of each tenth of the records about 800 are drawn, with a deviation of 27."""
    options = {"mode": "in_process", "progress": False}
    for how in ({"n": 200}, {"fraction": 0.1}):
        samples = [make(Pipeline()).sample(**how, seed=seed).collect(**options) for seed in range(40)]
        drawn = Counter(row["i"] // 200 for sample in samples for row in sample)
        assert all(660 < drawn[tenth] < 940 for tenth in range(10)), drawn


@everywhere
def test_a_column_called_rank_is_no_matter(options):
    found = Pipeline().from_arrow(pa.table({"rank": [1, 2], "rank_": [3, 4]})).sample(2).sort("rank").collect(**options)
    assert found == [{"rank": 1, "rank_": 3}, {"rank": 2, "rank_": 4}]


@everywhere
def test_pairs_stay_a_table(options):
    table = Pipeline().create([("a", 1), ("b", 2), ("c", 3)]).as_table()
    for sample in (table.sample(3), table.sample(fraction=1.0)):
        assert isinstance(sample, PTable)
        assert sorted(sample.map_values(lambda n: n * 2).collect(**options)) == [("a", 2), ("b", 4), ("c", 6)]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({}, "either n or fraction"), ({"n": 1, "fraction": 0.5}, "either n or fraction"), ({"n": -1}, "-1 elements cannot be drawn"),
        ({"n": 0.5}, "fraction=0.1"),
        ({"fraction": 1.5}, "between 0 and 1"), ({"n": 1, "seed": "x"}, "a seed is an integer"),
    ],
)  # fmt: skip
def test_wrong_calls(how, text):
    with pytest.raises(DataflowError, match=text) as caught:
        Pipeline().create([1]).sample(**how)
    assert "test_sampling.py" in str(caught.value)


def test_a_failure_behind_a_sample_names_the_step():
    with pytest.raises(DataflowError, match="ZeroDivisionError"):
        Pipeline().create(range(10)).sample(fraction=0.9).map(lambda n: 1 / 0).collect(mode="in_process", progress=False)
