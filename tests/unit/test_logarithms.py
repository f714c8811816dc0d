"""Logarithms of the bases 2 and 10 are exact for the powers of their base."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dataflow import Pipeline, col


@pytest.mark.parametrize("power", range(-20, 23))
def test_logarithms_of_powers_are_whole(power: int) -> None:
    records = [{"ten": float(f"1e{power}"), "two": 2.0**power}, {"ten": None, "two": None}]
    columns: dict[str, Any] = {"a": col("ten").log10(), "b": col("ten").log(10), "c": col("two").log(2)}
    assert Pipeline().create(records).select(**columns).collect() == [dict.fromkeys("abc", float(power)), dict.fromkeys("abc")]


def test_logarithms_outside_of_their_domain_are_as_in_ieee_754() -> None:
    found = Pipeline().create([{"x": 0.0}, {"x": math.inf}, {"x": -1.0}]).select(r=col("x").log10()).collect()
    assert [found[0]["r"], found[1]["r"]] == [-math.inf, math.inf] and math.isnan(found[2]["r"])
