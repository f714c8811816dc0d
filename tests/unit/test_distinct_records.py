"""Records are distinct by all their columns, wherever they come from and whoever runs it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline, col

RUNS = {
    "reference": {"runner": "reference"},
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "progress": False},
}
everywhere = pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
ROWS = [{"a": 1, "b": "x"}, {"a": 1, "b": "x"}, {"a": 1, "b": None}, {"a": None, "b": None}, {"a": None, "b": None}]
DIFFERENT = sorted(map(repr, [ROWS[0], ROWS[2], ROWS[3]]))


class Row(TypedDict):
    a: int
    b: str


@dataclass(frozen=True)
class Person:
    name: str


def annotated(row: dict[str, Any]) -> Row:
    return row


def dicts(row: dict[str, Any]) -> dict[str, Any]:
    return row


SOURCES = {
    "create": lambda p: p.create(ROWS),
    "from_arrow": lambda p: p.from_arrow(pa.Table.from_pylist(ROWS)),
    "filter of Python": lambda p: p.from_arrow(pa.Table.from_pylist(ROWS)).filter(lambda row: True),
    "flatten": lambda p: p.create(ROWS).flatten(p.create(ROWS)),
    "sort": lambda p: p.create(ROWS).sort("a"),
    "select": lambda p: p.create(ROWS).select("a", "b"),
    "a TypedDict": lambda p: p.create(ROWS).map(annotated),
    "dict": lambda p: p.create(ROWS).map(dicts),
    "redistribute": lambda p: p.create(ROWS).redistribute(3),
}


@everywhere
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_records_are_distinct_by_all_columns(make, options):
    found = make(Pipeline()).distinct()
    assert sorted(map(repr, found.collect(**options))) == DIFFERENT
    assert found.group_by().agg(n=col("b").len()).collect(**options) == [{"n": 3}]


@everywhere
def test_values_are_equal_as_in_groups(options):
    nan, zone = math.nan, dt.timezone(dt.timedelta(hours=2))
    rows = [
        {"f": nan, "z": 0.0, "d": Decimal("1.5"), "l": [1, None], "t": dt.datetime(2026, 1, 1, 2, tzinfo=zone)},
        {"f": -nan, "z": -0.0, "d": Decimal("1.50"), "l": [1, None], "t": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
    ]
    schema = pa.schema(
        [
            ("f", pa.float64()),
            ("z", pa.float64()),
            ("d", pa.decimal128(9, 2)),
            ("l", pa.list_(pa.int64())),
            ("t", pa.timestamp("us", "UTC")),
        ]
    )
    assert len(Pipeline().from_arrow(pa.Table.from_pylist(rows, schema=schema)).distinct().collect(**options)) == 1


@everywhere
def test_other_elements_stay_what_they_are(options):
    def person(name: str) -> Person:
        return Person(name)

    assert Pipeline().create(["ann", "ann"]).map(person).distinct().collect(**options) == [Person("ann")]
    assert sorted(Pipeline().create([("a", 1), ("a", 1), ("b", 1)]).distinct().collect(**options)) == [("a", 1), ("b", 1)]
    assert Pipeline().create([]).distinct().collect(**options) == []


@everywhere
def test_records_that_nobody_knew_for_such_are_an_error_that_says_what_to_do(options):
    with pytest.raises(DataflowError, match=r"distinct\(\[…\]\)"):
        Pipeline().create(ROWS).map(lambda row: row).distinct().collect(**options)
    assert len(Pipeline().create(ROWS).map(lambda row: row).distinct(["a", "b"]).collect(**options)) == 3
