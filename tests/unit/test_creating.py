"""Records at hand with columns that are said: `Pipeline.create` with a schema, also of no records."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline, col
from dataflow.errors import PlanError

ARROW = pa.schema([("name", pa.string()), ("age", pa.int64())])
RUNS = [
    {"runner": "reference"},
    {"mode": "in_process", "progress": False},
    {"mode": "in_process", "placement": "partitioned", "progress": False},
]


@dataclass
class Person:
    name: str
    age: int


class Named(NamedTuple):
    name: str
    age: int


class Typed(TypedDict):
    name: str
    age: int


@pytest.mark.parametrize("options", RUNS, ids=["reference", "whole", "partitioned"])
def test_of_no_records_the_columns_are_those_that_were_said(options):
    p = Pipeline()
    orders = p.create([], schema={"who": str, "price": "decimal(15, 2)"})
    assert {name: str(kind) for name, kind in orders.schema.items()} == {"who": "string", "price": "decimal(15, 2)"}
    assert orders.filter(col("price") > 1).collect(**options) == []
    assert orders.group_by().agg(t=col("price").sum(), n=col("who").count()).collect(**options) == [{"t": Decimal("0.00"), "n": 0}]
    assert p.sql("select sum(price) as t, count(*) as n from orders", orders=orders).collect(**options) == [{"t": None, "n": 0}]
    people = p.create([{"who": "ann"}])
    assert people.join(orders, "who", how="left").collect(**options) == [{"who": "ann", "price": None}]


@pytest.mark.parametrize("schema", [Person, Named, Typed, {"name": str, "age": "int64"}, ARROW])
def test_ways_to_say_it(schema):
    for rows in ([], [{"name": "ann", "age": 5}], [Person("ann", 5)], [Named("ann", 5)]):
        found = Pipeline().create(rows, schema=schema)
        assert {name: str(kind) for name, kind in found.schema.items()} == {"name": "string", "age": "int64"}
        assert found.collect() == [{"name": "ann", "age": 5}] * len(rows)


def test_values_take_the_types_and_missing_ones_are_null():
    rows = [{"i": 1, "d": Decimal("1.5")}, {"t": dt.date(2026, 1, 1), "l": [1, None]}]
    schema = {"i": pa.int8(), "d": "decimal(5, 2)", "t": dt.date, "l": "list[int32]"}
    found = Pipeline().create(rows, schema=schema).to_arrow()
    assert found.schema.types == [pa.int8(), pa.decimal128(5, 2), pa.date32(), pa.large_list(pa.int32())]
    assert found.to_pylist() == [{"i": 1, "d": Decimal("1.50"), "t": None, "l": None}, {"i": None, "d": None, **rows[1]}]


@pytest.mark.parametrize(
    ("values", "schema", "text"),
    [
        ([{"a": "x"}], {"a": int}, "column 'a' is not int64"),
        ([{"a": 300}], {"a": pa.int8()}, "column 'a' is not int8"),
        ([{"a": 1}, {"b": 1}], {"a": int}, "record 2 has a column 'b'"),
        ([1], {"a": int}, "takes records, and value 1 is int"),
        ([], {"a": "strnig"}, "there is no column type 'strnig'"),
        ([], {}, "these are none"),
        ([], int, "these are none"),
        (pa.table({"a": [1]}), {"a": int}, "a table has its columns"),
    ],
)
def test_what_does_not_fit_is_an_error_at_the_line(values, schema, text):
    with pytest.raises(DataflowError, match=text) as caught:
        Pipeline().create(values, schema=schema)
    assert "test_creating.py" in str(caught.value)


def test_sql_of_no_records_says_how_to_say_their_columns():
    p = Pipeline()
    with pytest.raises(DataflowError, match=r"create\(\[\], schema=") as caught:
        p.sql("select a from t", t=p.create([]))
    assert "test_creating.py" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [("hello", r"create\(\[text\]\)"), ({"a": [1, 2]}, "from_arrow"), (Counter("ab"), r"d\.items\(\)"), (5, "one element")],
)
def test_one_value_is_not_taken_for_many(value: Any, hint: str) -> None:
    with pytest.raises(PlanError, match=rf"one {type(value).__name__}(.|\n)*declared test_creating.py(.|\n)*{hint}"):
        Pipeline().create(value)
