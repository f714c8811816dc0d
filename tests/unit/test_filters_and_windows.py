"""A filter above a window drops rows of the result and none that the window is over; as a window's filter does to what is below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.expr.functions import len_, rank

Rows = PCollection[Any]
RUNS: dict[str, dict[str, Any]] = {
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "memory": "1MiB", "progress": False},
}
PLACE = rank().over("k", order_by="t")


def ranked(a: Rows) -> Rows:
    return a.with_columns(r=PLACE)


CASES: dict[str, Callable[[Rows], Rows]] = {
    "another column": lambda a: ranked(a).filter(col("f") <= 5),
    "the partition": lambda a: ranked(a).filter(col("k") == 1),
    "the partition of one of two": lambda a: a.with_columns(r=PLACE, n=len_().over("f")).filter((col("k") == 1) & (col("f") < 9)),
    "a partition that is an expression": lambda a: a.with_columns(h=col("t") % 2, n=len_().over(col("t") % 2)).filter(col("h") == 1),
    "no partition": lambda a: a.with_columns(n=len_().over()).filter(col("k") == 1),
    "above a join": lambda a: ranked(a).join(a.select("f", "t"), ["f", "t"]).filter(col("f") <= 5),
    "of a key, below an inferred one": lambda a: a.join(ranked(a), "t", suffix="_2").filter(col("t") <= 5),
    "of a window": lambda a: a.filter(PLACE <= 2),
    "of a window, then another": lambda a: a.filter(PLACE >= 2).filter(col("f") <= 5),
    "another, then of a window": lambda a: a.filter(col("f") <= 5).filter(PLACE <= 2),
    "of a window twice": lambda a: a.filter(PLACE >= 2).filter(PLACE >= 2),
    "of both at once": lambda a: a.filter((PLACE <= 3) & (col("f") <= 5)),
    "above a key that is a window": lambda a: a.group_by("f", r=PLACE).agg(n=len_()).filter(col("f") <= 5),
    "a key that is a window": lambda a: a.group_by(r=PLACE).agg(n=len_()),
    "groups with a window, joined to few": lambda a: a.filter(col("f") == 1).join(
        a.group_by("f").agg(n=len_()).select("f", m=col("n").sum().over("n")), "f"
    ),
    "a subquery": lambda a: a.pipeline.sql(
        "select * from (select *, rank() over (partition by k order by t) as r from a) where f <= 5", a=a
    ),
    "qualify above a subquery": lambda a: a.pipeline.sql(
        "select * from (select *, rank() over (partition by k order by t) as r from a) where f <= 5 qualify count(*) over () > 1", a=a
    ),
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("case", CASES)
def test_a_filter_drops_no_row_that_a_window_is_over(case: str, options: dict[str, Any]) -> None:
    names = {"k": [1, 2, 1, 1, 2, 1], "t": [5, 3, 1, 2, 4, 70], "f": [1.0, 2.0, 9.0, 6.0, 1.0, 2.0]}
    found, judged = (
        sorted(map(repr, CASES[case](Pipeline().from_arrow(pa.table(names))).collect(**how))) for how in (options, {"runner": "reference"})
    )
    assert judged
    assert found == judged


def test_ranks_are_those_among_all_rows() -> None:
    table = pa.table({"k": [1] * 4, "t": [5, 1, 2, 70], "f": [1.0, 9.0, 6.0, 2.0]})
    assert [row["r"] for row in ranked(Pipeline().from_arrow(table)).filter(col("f") <= 5).collect()] == [3, 4]


@pytest.mark.parametrize("case", ["of a window", "a key that is a window"])
def test_a_window_meets_all_its_rows_in_pieces(case: str) -> None:
    """So many records that a part of them is not all."""
    many = range(200_000)
    table = pa.table({"k": [at % 7 for at in many], "t": [at * 7919 % 200_003 for at in many]})
    found = {name: sorted(map(repr, CASES[case](Pipeline().from_arrow(table)).collect(**how))) for name, how in RUNS.items()}
    assert found["whole"] == found["partitioned"]


def test_a_filter_behind_hundreds_of_steps() -> None:
    """Each a few calls on Python's stack for a condition that goes down, which has room for a thousand."""
    rows = Pipeline().create([{"x": n, "y": 0} for n in range(3)])
    for step in range(400):
        rows = rows.with_columns(y=col("y") + 1) if step % 2 else rows.drop("y").with_columns(y=col("x") * 0 + step)
    assert rows.filter(col("x") > 1).collect(progress=False) == [{"x": 2, "y": 399}]
