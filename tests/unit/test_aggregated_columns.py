"""What is made of aggregates, and sums that do not fit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.errors import StepError
from dataflow.expr.expression import Expr
from dataflow.expr.nodes import show


def test_a_function_of_an_aggregate_is_called_with_one_value_a_key() -> None:
    rows = Pipeline().create([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 5}, {"a": 3, "b": None}])
    total = col("b").sum().apply(lambda value: value + 1, returns=int)
    text = (col("b").max() + 1).apply(lambda value: f"<{value}>", returns=str)
    found = rows.group_by("a").agg(r=total, s=text, t=col("b").apply(lambda value: (value or 0) * 2, returns=int).sum()).sort("a").collect()
    assert found == [{"a": 1, "r": 6, "s": "<4>", "t": 10}, {"a": 2, "r": 6, "s": "<6>", "t": 10}, {"a": 3, "r": 1, "s": "<None>", "t": 0}]


def large() -> Any:
    table = pa.table({"k": [1, 1], "d": pa.array([2**62, 2**62], pa.duration("us")), "i": [2**62] * 2})
    return Pipeline().from_arrow(table)


@pytest.mark.parametrize("total", [col("i").sum(), col("d").sum()])
def test_a_sum_that_does_not_fit_is_an_error_that_says_so(total: Expr) -> None:
    for made in (large().group_by("k").agg(r=total), large().group_by().agg(r=total), large().select(r=total.over("k"))):
        with pytest.raises(StepError) as caught:
            made.collect()
        assert "a sum, 9223372036854775808, does not fit 64 bits" in str(caught.value)
        assert "ExprError" not in str(caught.value) and "_POLARS" not in str(caught.value)
        assert show(total.node) in str(caught.value)


def test_sums_of_durations() -> None:
    found = Pipeline().from_arrow(pa.table({"d": pa.array([5, None, -7], pa.duration("ms"))})).group_by().agg(r=col("d").sum()).collect()
    assert [record["r"].total_seconds() for record in found] == [-0.002]


def test_a_constant_to_the_power_of_a_column() -> None:
    assert Pipeline().create([{"j": 3}, {"j": -1}, {"j": None}]).select(r=2 ** col("j")).collect() == [{"r": 8.0}, {"r": 0.5}, {"r": None}]


def test_a_function_over_columns_may_return_none() -> None:
    records = [{"name": "x", "age": 1}, {"name": "y", "age": 2}]
    assert Pipeline().create(records).map(lambda row: {}, columns=["name"]).collect() == records
