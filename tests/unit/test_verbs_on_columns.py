"""What the verbs on columns take: several conditions, several names, names in lists; and what they refuse where it is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from dataflow import PCollection, Pipeline, col, ntile, rank
from dataflow.errors import PlanError

ROWS = [{"k": i % 3, "x": i} for i in range(12)]


def rows() -> PCollection[dict[str, int]]:
    return Pipeline().create(ROWS)


def test_all_conditions_of_a_filter_hold() -> None:
    expected = [row for row in ROWS if row["k"] > 0 and row["x"] > 6]
    assert rows().filter(col("k") > 0, col("x") > 6).collect() == expected
    assert rows().where(col("k") > 0, col("x") > 6).collect() == expected


def test_names_come_one_by_one_or_in_lists() -> None:
    assert len(rows().distinct("k", "x").collect()) == len(rows().distinct(["k", "x"]).collect()) == 12
    assert len(rows().distinct("k").collect()) == len(rows().distinct(["k"]).collect()) == 3
    assert rows().drop(["k"]).schema == rows().drop("k").schema
    assert rows().sort("k", "x").collect() == rows().sort(["k", "x"]).collect() == sorted(ROWS, key=lambda row: (row["k"], row["x"]))
    assert rows().sort("k", "x", descending=[True, False]).head(1) == [{"k": 2, "x": 2}]


def test_null_is_a_value_to_pivot_by() -> None:
    table = Pipeline().create([{"k": None, "v": 1}, {"k": "a", "v": 2}])
    assert table.pivot("k", ["a", None], index=[], value="v", aggregate="sum").collect() == [{"a": 2, "null": 1}]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda t: t.filter(col("k") > 0, 5), "filter takes names of columns and expressions, not int"),
        (lambda t: t.where(), "filter needs a condition"),
        (lambda t: t.drop(col("k")), "drop takes names of columns, not Expr"),
        (lambda t: t.explode([1]), "explode takes names of columns, not int"),
        (lambda t: t.distinct([]), "distinct([]) names no column"),
        (lambda t: t.join_asof(t, "x", tolerance=-1), "the tolerance of 'x' is how far away it may be"),
        (lambda t: t.select(x=col("x").lag()), "lag(n=1) needs a window"),
        (lambda t: t.filter(rank() > 1), "rank() needs a window"),
    ],
)
def test_what_a_verb_does_not_take(wrong: Callable[[PCollection[Any]], Any], sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        wrong(rows())
    assert sentence in str(caught.value)


def test_a_tolerance_of_time_is_not_negative() -> None:
    table = Pipeline().create([{"t": dt.date(2026, 1, 1)}])
    with pytest.raises(PlanError, match="not negative"):
        table.join_asof(table, "t", tolerance=dt.timedelta(days=-1))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: col("x").sum().over("k", rows=(-1, 0)), "are those of an order"),
        (lambda: col("x").sum().over(order_by="x", rows=(2, -2)), "ends before it starts"),
        (lambda: col("x").sum().over(order_by="x", rows=(-1, 0), range=(-1, 0)), "not both"),
        (lambda: ntile(0), "at least 1 part"),
        (lambda: rows().head(-1), "not negative"),
    ],
)
def test_numbers_that_make_no_sense(wrong: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wrong()
