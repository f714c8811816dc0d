"""Joins of every kind in the kernel give what the reference gives: bags of rows, duplicates and nulls included."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import Pipeline, col
from dataflow.expr.expression import Expr

pytest.importorskip("polars")
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
small = st.one_of(st.none(), st.integers(0, 3))
LEFT, RIGHT = (pa.schema([(name, pa.int64()) for name in names]) for names in ("kmx", "knxy"))
left_rows = st.lists(st.fixed_dictionaries({"k": small, "m": small, "x": small}), max_size=12)
right_rows = st.lists(st.fixed_dictionaries({"k": small, "n": small, "x": small, "y": small}), max_size=12)
HOWS = ["inner", "left", "right", "full", "semi", "anti"]
CONDITIONS: list[Expr | None] = [
    None, col("x") != col("y"), col("x") < col("y"), col("y") <= col("x"), col("x") + 1 > col("x_right"), col("y") == 1, col("m") == 2,
    (col("y") > 0) & (col("m") != col("y")),
]  # fmt: skip
KEYS: list[tuple[Any, Any]] = [
    ("k", "k"), ("m", "n"), (["k", "m"], ["k", "n"]), (["k", "k"], ["k", "n"]), (col("m") + 1, "n"), ("m", col("n") * 2),
]  # fmt: skip


@RELAXED
@given(left_rows, right_rows, st.sampled_from(HOWS), st.sampled_from(KEYS), st.sampled_from(CONDITIONS), st.booleans(), st.booleans())
def test_joins(left: list[Any], right: list[Any], how: str, keys: Any, where: Expr | None, null_equal: bool, grouped: bool) -> None:
    found = []
    for options in ({"runner": "reference"}, {"mode": "in_process", "progress": False}):
        p = Pipeline()
        a, b = p.from_arrow(pa.Table.from_pylist(left, LEFT)), p.from_arrow(pa.Table.from_pylist(right, RIGHT))
        if grouped:  # comes out in no order, so rows that are numbered must be made once
            a = a.group_by("k", "m").agg(x=col("x").max())
        joined = a.join(b, left_on=keys[0], right_on=keys[1], how=how, null_equal=null_equal, where=where)
        if how in ("semi", "anti"):
            joined = joined.join(b, left_on=keys[0], right_on=keys[1], how="anti", null_equal=null_equal, where=where)
        found.append(sorted(repr(sorted(row.items())) for row in joined.collect(**options)))
    assert found[1] == found[0]
