"""Equal parts of a plan, or one that is read twice, are made once: what is done to one reading of them leaves the other alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.expr.functions import len_

Rows = PCollection[Any]
RUNS: dict[str, dict[str, Any]] = {
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "memory": "1MiB", "progress": False},
}


def part(t: Rows) -> Rows:
    return t.select("a", "b")


def grouped(t: Rows) -> Rows:
    return t.filter(col("a") == 1).group_by("b").agg(n=len_())


def with_itself(x: Rows, how: Callable[[Rows, Rows], Rows]) -> Rows:
    return how(x, x)


def narrowed_twice(t: Rows) -> Rows:
    few = t.with_columns(c=col("a") * 2).filter(col("a") == 1).with_columns(c=col("b") + 1)
    inner = few.join(t.group_by("b").agg(n=len_()), "b").group_by("b").agg(m=len_())
    return t.filter(col("a") == 1).select("b").join(inner, "b")


CASES: dict[str, Callable[[Rows], Rows]] = {
    "a join with itself": lambda t: with_itself(part(t), lambda x, y: x.join(y, "a")).filter(col("b") == 2),
    "the right of it": lambda t: with_itself(part(t), lambda x, y: x.join(y, "a")).filter(col("b_right") == 2),
    "a cross join with itself": lambda t: with_itself(t.distinct(), lambda x, y: x.join(y, how="cross")).filter(col("a") == 1),
    "a semi join with itself": lambda t: with_itself(part(t), lambda x, y: x.join(y, "a", how="semi")).filter(col("b") == 2),
    "a union with itself": lambda t: with_itself(part(t), lambda x, y: x.concat(y)).filter(col("a") > 1),
    "three times": lambda t: with_itself(part(t), lambda x, y: x.concat(y, x)).filter(col("a") > 1),
    "unions of unions": lambda t: with_itself(
        with_itself(part(t), lambda x, y: x.concat(y)).select("a", "b"), lambda x, y: x.concat(y)
    ).filter(col("a") > 1),
    "two equal selects": lambda t: part(t).join(part(t), "a").filter(col("a") == 1),
    "two equal with_columns": lambda t: (
        t.with_columns(c=col("a") + 1).concat(t.with_columns(c=col("a") + 1)).filter(col("c") > 2)
    ),
    "two equal distincts": lambda t: t.distinct().join(t.distinct(), how="cross").filter(col("a") == 1),
    "two equal explodes": lambda t: t.explode("l").concat(t.explode("l")).filter(col("a") == 1),
    "a grouping joined to itself": lambda t: with_itself(grouped(t), lambda x, y: x.join(y, "b")),
    "two equal groupings": lambda t: grouped(t).join(grouped(t), "b"),
    "three": lambda t: grouped(t).join(grouped(t), "b").join(grouped(t), "b", suffix="_3").filter(col("n") == 1),
    "a grouping of a filter of the table": lambda t: with_itself(part(t), lambda x, y: x.filter(col("a") == 1).join(grouped(y), "b")),
    "a grouping narrowed above another": narrowed_twice,
}  # fmt: skip


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("case", CASES)
def test_equal_parts_are_read_apart(case: str, options: dict[str, Any]) -> None:
    rows = [{"a": 1, "b": 2, "l": [1, 2]}, {"a": 3, "b": 4, "l": [3]}, {"a": 1, "b": 5, "l": []}]
    found, judged = (sorted(map(repr, CASES[case](Pipeline().create(rows)).collect(**how))) for how in (options, {"runner": "reference"}))
    assert judged
    assert found == judged
