"""Collections from which nothing came and whose columns nobody knew: steps on columns give what the reference says, not an error."""

from __future__ import annotations

import pytest

from dataflow import DataflowError, Pipeline, col
from dataflow.expr.functions import len_, row_number, when

RUNS = {
    "whole": {"mode": "in_process", "placement": "whole", "progress": False},
    "partitioned": {"mode": "in_process", "placement": "partitioned", "progress": False},
    "small": {"mode": "in_process", "placement": "partitioned", "memory": "1MiB", "progress": False},
}
SOME = [{"k": 1, "v": 2}, {"k": 3, "v": None}]


def unknown(p):
    return p.create([1, 2]).map(lambda n: {"k": n}).filter(lambda row: row["k"] > 5)


def some(p):
    return p.create(SOME).map(lambda row: row)


HOW = ("inner", "left", "right", "full", "semi", "anti")
STEPS = {
    "filter": lambda p, c: c.filter(col("a") > 1),
    "filter of text": lambda p, c: c.filter(col("s").str.contains("x") & col("d").dt.year().is_null()),
    "select": lambda p, c: c.select("a", b=col("x") + 1, s=when(col("y") == "n").then(1).otherwise(None)),
    "select of all": lambda p, c: c.select(col("*")).filter(col("a").is_null()),
    "with_columns behind a filter": lambda p, c: c.filter(col("a") > 1).with_columns(b=col("x") * 2).filter(col("b") > col("z")),
    "group_by": lambda p, c: c.group_by("k").agg(t=col("x").sum(), n=len_()),
    "group_by with computed key": lambda p, c: c.group_by(m=col("k") % 3).agg(col("x").mean()),
    "one group": lambda p, c: c.group_by().agg(
        t=col("x").sum(), m=col("x").max(), n=len_(), c=col("x").count(), a=col("x").mean(), s=col("x").std(), u=col("x").n_unique(),
        q=col("x").median(), f=col("x").first(order_by="y"), l=col("x").collect(), some=col("b").any(),
    ),
    "rollup": lambda p, c: c.group_by("j", "k").rollup().agg(t=col("x").sum()),
    "cube behind a filter": lambda p, c: c.filter(col("x") > 1).group_by("j", "k").cube().agg(n=len_()),
    "window": lambda p, c: c.with_columns(n=row_number().over("k", order_by="x"), t=col("x").sum().over("k")),
    "sort": lambda p, c: c.sort(["a", col("b").desc()]),
    "sort limit": lambda p, c: c.sort("a").limit(3),
    "distinct": lambda p, c: c.select("a", "b").distinct(),
    "distinct by": lambda p, c: c.distinct(["a", "b"]),
    "explode": lambda p, c: c.explode("l").filter(col("l") > 1),
    "explode of two": lambda p, c: c.filter(col("l").is_not_null()).explode("l", "m"),
    "unpivot": lambda p, c: c.unpivot(["a", "b"], index=["k"]),
    "pivot": lambda p, c: c.pivot("c", ["x", "y"], index=["k"], value="v"),
    "concat": lambda p, c: c.concat(unknown(p)),
    "concat with some": lambda p, c: c.concat(some(p)).filter(col("k") > 1),
    "drop": lambda p, c: c.select("a", "b").drop("b"),
    "asof": lambda p, c: some(p).join_asof(c, "k"),
    "asof from nothing": lambda p, c: c.join_asof(some(p), "k", by="v"),
    **{f"{how} join with nothing": lambda p, c, how=how: some(p).join(c, "k", how=how) for how in HOW},
    **{f"{how} join of nothing": lambda p, c, how=how: c.join(some(p), "k", how=how) for how in HOW},
    "join of nothing with nothing": lambda p, c: c.join(unknown(p), left_on="a", right_on="b", how="full").filter(col("a") > 1),
    "cross": lambda p, c: some(p).join(c, how="cross").select("k", "other"),
    "filter behind a join of nothing": lambda p, c: c.join(some(p), "k").filter(col("x") > col("v")),
    "aggregate behind a join of nothing": lambda p, c: c.join(some(p), "k", how="left").group_by("x").agg(col("v").sum()),
}  # fmt: skip


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("make", [unknown, lambda p: p.create([])], ids=["map", "create"])
def test_steps_on_columns_of_nothing(make, step, options):
    def build():
        p = Pipeline()
        return step(p, make(p))

    def bag(records):
        return sorted(map(repr, records))

    assert bag(build().collect(**options)) == bag(build().collect(runner="reference"))


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_column_that_cannot_be_there_is_an_error_all_the_same(options):
    p = Pipeline()
    with pytest.raises(DataflowError, match="there is no column 'b'"):
        unknown(p).select("a").filter(col("b") > 1).collect(**options)
