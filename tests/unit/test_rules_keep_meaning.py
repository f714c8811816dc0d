"""Plans for which a rule of the optimizer once gave other rows than the plan means, or none: each on every way to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col, lit, when

Build = Callable[[Pipeline], PCollection[Any]]
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"mode": "in_process", "progress": False},
    "partitioned": {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "64MiB"},
    "reference": {"runner": "reference"},
}


def table(p: Pipeline, **columns: Any) -> PCollection[Any]:
    return p.from_arrow(pa.table(columns))


def small(p: Pipeline) -> PCollection[Any]:
    return table(p, i=pa.array([100, 1, 127], pa.int8()))


def opened(p: Pipeline) -> PCollection[Any]:
    return table(p, st=[{"x": 1, "y": "q"}, {"x": 1, "y": "r"}], z=[1, 2]).unnest("st")


def turned(p: Pipeline) -> PCollection[Any]:
    wide = table(p, a=[1, 2], b=[3, 4], s=["x", "y"])
    return wide.unpivot(on=["a", "b"], index=["s"], variable_name="k", value_name="v")


def texts(p: Pipeline, *values: str) -> PCollection[Any]:
    return table(p, k=list(values))


def above_one(name: str) -> Any:
    return col(name).cast("int64") > 1


PLANS: dict[str, tuple[Build, list[tuple[Any, ...]]]] = {
    "a limit keeps the offset of the one below": (
        lambda p: table(p, x=list(range(10))).sort("x").limit(8, offset=2).limit(3), [(2,), (3,), (4,)]),
    "a column of one number has its own type, also where it is asked below": (
        lambda p: small(p).with_columns(x=lit(100)).filter(col("x") + col("i") > 150), [(100, 100), (127, 100)]),
    "so has a key of one number": (
        lambda p: small(p).group_by("i", lit(100).alias("x")).agg(n=col("i").count()).filter(col("x") + col("i") > 150),
        [(100, 100, 1), (127, 100, 1)]),
    "a column of one float is not cut to what it is compared with": (
        lambda p: table(p, f=pa.array([0.1, 0.5], pa.float32())).with_columns(x=lit(0.1)).filter(col("f") == col("x")), []),
    "a branch that is left over keeps the type of all": (
        lambda p: small(p).filter((when(lit(False)).then(lit(0.5)).otherwise(col("i")) + col("i")) > 100), [(100,), (127,)]),
    "a number that is left over too": (
        lambda p: small(p).filter(when(lit(True)).then(lit(100)).otherwise(lit(5)) + col("i") > 150), [(100,), (127,)]),
    "a week is no date": (
        lambda p: table(p, i=[1]).select(d=lit("2020-W01-1").cast("date", strict=False)), [(None,)]),
    "a cast that forgives is not made strict by another": (
        lambda p: table(p, s=["1", "a"]).select(x=col("s").cast("int64", strict=False).cast("int64")), [(1,), (None,)]),
    "fields that were opened are columns: distinct": (lambda p: opened(p).distinct("x").select("x"), [(1,)]),
    "fields that were opened are columns: unpivot": (
        lambda p: opened(p).unpivot(on=["z"], index=["x"]), [(1, "z", 1), (1, "z", 2)]),
    "fields that were opened are columns: join": (
        lambda p: opened(p).join(table(p, x=[1, 5], w=[1, 2]), "x", how="right"), [(1, "q", 1, 1), (1, "r", 2, 1), (5, None, None, 2)]),
    "what was turned into rows are columns: distinct": (lambda p: turned(p).distinct("k").select("k"), [("a",), ("b",)]),
    "what was turned into rows are columns: join": (
        lambda p: turned(p).join(table(p, k=["a", "c"], w=[1, 2]), "k", how="full").select("k", "w"),
        [("a", 1), ("a", 1), ("b", None), ("b", None), ("c", 2)]),
    "0.0 and -0.0 are one key of a join, and a condition may tell them apart": (
        lambda p: table(p, k=[0.0, 1.0]).filter(lit(1.0) / col("k") > 0).join(table(p, k=[-0.0, 1.0], y=[1, 2]), "k").select("y"),
        [(1,), (2,)]),
    "so may one above the join": (
        lambda p: table(p, k=[0.0, 1.0]).join(table(p, k=[-0.0, 1.0], y=[1, 2]), "k").filter(lit(1.0) / col("k") > 0).select("y"),
        [(1,), (2,)]),
    "a union of which no column is read": (
        lambda p: table(p, a=[1], b=[2]).concat(table(p, b=[2], a=[1])).group_by().agg(n=lit(1).count()), [(2,)]),
    "a union of which no column is read, in a join": (
        lambda p: table(p, a=[1], b=[1]).concat(table(p, b=[2], a=[3])).join(table(p, z=[1, 2]), how="cross").select("z"),
        [(1,), (1,), (2,), (2,)]),
    "a column under a suffix, of which the plain one is not read": (
        lambda p: table(p, t=[1, 5], x=["a", "b"]).join_asof(table(p, t=[1, 4], x=["q", "r"]), on="t").select("t", "x_right"),
        [(1, "q"), (5, "r")]),
    "a key under another name beside an aggregate": (
        lambda p: table(p, k=[1, 1, 2], v=[1, 2, 3]).group_by(col("k").alias("j")).agg(x=col("v").sum() + col("k")), [(1, 4), (2, 5)]),
    "a key that is computed beside an aggregate": (
        lambda p: table(p, k=[1, 1, 2], v=[1, 2, 3]).group_by((col("k") + 1).alias("j")).agg(x=col("v").n_unique() + (col("k") + 1)),
        [(2, 4), (3, 4)]),
    "a function sees the records that a filter before leaves": (
        lambda p: table(p, x=[0, 1, 2]).filter(col("x") != 0).filter(col("x").apply(lambda v: 10 // v > 1, returns="bool")), [(1,), (2,)]),
    "so does what may fail": (
        lambda p: texts(p, "1", "2", "a").filter(col("k").apply(str.isdigit, returns="bool")).select("k").filter(above_one("k")), [("2",)]),
    "what may fail is not asked of another table": (
        lambda p: texts(p, "1", "2").filter(above_one("k")).join(texts(p, "1", "2", "a"), "k"), [("2",)]),
    "what may fail is asked of the records that a join leaves": (
        lambda p: texts(p, "1", "2", "a").join(texts(p, "1", "2"), "k", how="semi").filter(above_one("k")), [("2",)]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("way", WAYS)
def test_a_plan_gives_what_it_means(name: str, way: str) -> None:
    build, expected = PLANS[name]
    found = build(Pipeline()).collect(**WAYS[way])
    assert sorted(str(tuple(record.values())) for record in found) == sorted(map(str, expected))


@pytest.mark.parametrize("way", WAYS)
def test_a_footer_does_not_take_a_field_for_a_column(tmp_path: Path, way: str) -> None:
    pq.write_table(pa.table({"a.b": [None, 7], "a": pa.array([{"b": 1}, {"b": 2}])}), tmp_path / "t.parquet")
    rows = Pipeline().read_parquet(str(tmp_path / "t.parquet"))
    assert rows.group_by().agg(n=col("a.b").count()).collect(**WAYS[way]) == [{"n": 1}]
    assert rows.group_by().agg(a=col("a.b").min(), b=col("a.b").max()).collect(**WAYS[way]) == [{"a": 7, "b": 7}]


LONG: dict[str, Callable[[PCollection[Any], Pipeline], PCollection[Any]]] = {
    "columns": lambda c, p: c.with_columns(y=col("x") + 1),
    "unions": lambda c, p: c.concat(table(p, x=[1], y=[1])),
    "selects": lambda c, p: c.select("x", "y"),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_loop_of_hundreds_of_steps_is_no_deep_recursion(kind: str) -> None:
    p = Pipeline()
    c = table(p, x=[3, 1, 2], y=[0, 0, 0])
    for _ in range(400 if kind == "unions" else 1200):
        c = LONG[kind](c, p)
    assert [row["x"] for row in c.sort("x").limit(2).collect(**WAYS["whole"])] == ([1, 1] if kind == "unions" else [1, 2])
    assert c.group_by().agg(m=col("x").max()).collect(**WAYS["whole"]) == [{"m": 3}]
