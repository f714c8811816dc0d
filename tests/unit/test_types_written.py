"""Types as users write them: Python's, Arrow's, and texts, those of our own messages too."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline, col, sum_horizontal
from dataflow.errors import DataflowError
from dataflow.expr.types import type_from


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (pa.float32(), "float32"),
        (pa.float16(), "float16"),
        (pa.float64(), "float64"),
        (pa.list_(pa.float32()), "list[float32]"),
        (pa.list_(pa.int8(), 3), "array[int8, 3]"),
        (pa.struct([("a", pa.float32()), ("b", pa.list_(pa.string()))]), "struct{a: float32, b: list[string]}"),
        (pa.map_(pa.string(), pa.int32()), "map[string, int32]"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.timestamp("ms", "UTC"), "datetime[ms, UTC]"),
        ("struct{a: decimal(15, 2), b: list[struct{c: int64}]}", "struct{a: decimal(15, 2), b: list[struct{c: int64}]}"),
        ("map[string, list[int64]]", "map[string, list[int64]]"),
    ],
)
def test_a_type_is_the_one_that_is_written(written: Any, meant: str) -> None:
    assert str(type_from(written)) == meant


def test_a_type_that_is_none_has_one_like_it() -> None:
    with pytest.raises(ValueError, match="did you mean 'string'"):
        type_from("strin")


def test_a_sum_across_columns_does_not_wrap() -> None:
    rows = Pipeline().create([{"a": 2**62, "b": 2**62}])
    with pytest.raises(DataflowError):
        rows.select(s=sum_horizontal("a", "b")).collect(progress=False)
    assert rows.select(s=sum_horizontal(col("a") - 1, "b")).collect(progress=False) == [{"s": 2**63 - 1}]
