"""Divisions by constants are divisions: the kernel's own product with the reciprocal is wrong in the last digit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflow import PCollection, Pipeline, col, lit

VALUES = [float(n) for n in [*range(-60, 61), *(n * k for k in (49, 98, 107, 1e17) for n in (1, 3, 7, -11))]]
DIVISORS = [float(d) for d in [*range(1, 130), *range(-130, 0, 7), 0.1, 0.3, 1e-7, 1e300, 4503599627370497.0]]


def numbers() -> PCollection[Any]:
    tenths = [Decimal(n) / 10 for n in range(-60, 61)]
    return Pipeline().from_arrow(pa.table({"f": [float(n) for n in range(-60, 61)], "i": [*range(-60, 61)], "d": tenths}))


@pytest.mark.parametrize("constant", ["a literal", "a column that is one value throughout"])
def test_floats_by_a_constant_are_divided_as_python_divides_them(constant: str) -> None:
    source = Pipeline().from_arrow(pa.table({"f": VALUES}))
    for divisors in [DIVISORS[at : at + 20] for at in range(0, len(DIVISORS), 20)]:
        constants: dict[str, Any] = {f"by {d}": lit(d) for d in divisors}
        given = source.with_columns(**constants)
        columns: dict[str, Any] = {}
        for d in divisors:
            by = lit(d) if constant == "a literal" else col(f"by {d}")
            columns |= {f"{d} /": col("f") / by, f"{d} //": col("f") // by, f"{d} %": col("f") % by}
        for record in given.select(f=col("f"), **columns).collect():
            f = record["f"]
            for d in divisors:
                found = tuple(record[f"{d} {sign}"] for sign in ("/", "//", "%"))
                assert found == (f / d, math.floor(f / d), f - d * math.floor(f / d)), (f, d)


@pytest.mark.parametrize("by", [*range(1, 60), 98, 103, 107])
def test_integers_and_decimals_by_a_constant_are_divided_as_python_divides_them(by: int) -> None:
    for record in numbers().select("i", "d", a=col("i") / by, b=col("d") / by, c=col("d") / Decimal(by)).collect():
        assert record["a"] == record["i"] / by
        assert record["b"] == record["c"] == float(record["d"]) / by


def test_a_quotient_is_found_by_a_filter_and_in_sql() -> None:
    p = Pipeline()
    given = p.from_arrow(pa.table({"i": [49, 7, 50, 98]}))
    assert given.filter(col("i") / 49 == 1).select("i").collect() == [{"i": 49}]
    assert p.sql("select i from t where i / 49 = 1", t=given).collect() == [{"i": 49}]


def test_tens_of_a_float_are_rounded_by_a_division() -> None:
    given = [(n + 0.5) * 1e22 for n in range(50)]
    found = Pipeline().from_arrow(pa.table({"f": given})).select(r=col("f").round(-22)).collect()
    assert [record["r"] for record in found] == [math.floor(f / 1e22 + 0.5) * 1e22 for f in given]


def test_ranks_and_means_of_windows_divide() -> None:
    rows = 50
    text = "select i, percent_rank() over (order by i) p, cume_dist() over (order by i) c, avg(i) over (order by i) m from t"
    p = Pipeline()
    given = p.from_arrow(pa.table({"i": [*range(rows)]}))
    for record in p.sql(text, t=given).collect():
        i = record["i"]
        assert (record["p"], record["c"], record["m"]) == (i / (rows - 1), (i + 1) / rows, sum(range(i + 1)) / (i + 1))


def test_a_quotient_of_constants_is_one_value_for_every_record() -> None:
    found = numbers().limit(3).select(a=lit(7) / 10, b=-lit(7) / 10, c=(lit(7) / 10) / 3).collect()
    assert found == [{"a": 0.7, "b": -0.7, "c": 0.7 / 3}] * 3
    assert numbers().limit(3).select(a=(-lit(7)) / 10).collect() == [{"a": -0.7}] * 3
