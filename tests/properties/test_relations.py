"""Generated relational plans over generated records: the local runner gives what the reference gives, whole and in pieces."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.expr.functions import len_, row_number
from dataflow.expr.types import Schema
from tests.properties.column_strategies import SCHEMA, rows

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
NAMES = ("flag", "i8", "i", "f", "d", "s", "day", "z", "li")
TABLE: Schema = {name: SCHEMA[name] for name in NAMES}

Step = Callable[[PCollection[Any], PCollection[Any]], PCollection[Any]]
AGGREGATES = {
    "count": lambda: col("i").count(), "small": lambda: col("i8").sum(), "total": lambda: col("d").sum(), "least": lambda: col("s").min(),
    "most": lambda: col("f").max(), "mean": lambda: col("i8").mean(), "rows": len_, "kinds": lambda: col("s").n_unique(),
    "both": lambda: col("i8").max() + col("i8").min(), "day": lambda: col("day").max().filter(col("flag")),
    "some": lambda: col("flag").any(), "different": lambda: col("i8").sum().distinct(), "spread": lambda: col("i8").std().distinct(),
    "joined": lambda: col("s").str.join("-", order_by="s").distinct(),
}  # fmt: skip
KEYS = ("flag", "i8", "f", "d", "s", "day", "z")


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, Step]:
    """One step and its text. The columns stay those of the table, or the step is the last."""
    kinds = ["filter", "with_columns", "distinct", "limit", "union", "join", "semi", "window", "window filter", "sort", "first"]
    kind = draw(st.sampled_from(kinds))
    key = draw(st.sampled_from(KEYS))
    match kind:
        case "filter":
            how = draw(st.sampled_from(["null", "equal", "less", "and"]))
            found = {
                "null": lambda: col(key).is_not_null(), "equal": lambda: col("i8") == 1, "less": lambda: col("f") <= col("i8"),
                "and": lambda: (col("flag") | (col("i8") > 0)) & col("s").str.contains("a"),
            }[how]  # fmt: skip
            return f"filter {how} {key}", lambda a, b: a.filter(found())
        case "with_columns":
            return "with_columns", lambda a, b: a.with_columns(i8=(col("i8") % 3), s=col("s").str.to_uppercase(), f=col("f").fill_nan(None))
        case "distinct":
            return "distinct", lambda a, b: a.distinct(list(NAMES))
        case "limit":  # only the number is sure
            return "sort limit", lambda a, b: a.sort([*NAMES[:-1], col("li").list.len()]).limit(3)
        case "first":  # all orders agree on the records, so which are the first is sure but for what a join adds
            how, order = draw(st.sampled_from(["left", "union", "select"])), [*NAMES[:-1], col("li").list.len()]
            found_first: dict[str, Step] = {
                "left": lambda a, b: a.join(b.distinct(["i8"]), on="i8", how="left").select(*NAMES).sort(order),
                "union": lambda a, b: a.concat(b.select(*NAMES)).sort(order),
                "select": lambda a, b: a.sort(order).with_columns(more=col("i8") + 1).select(*NAMES),
            }
            return f"first of {how}", lambda a, b: found_first[how](a, b).limit(3, offset=1)
        case "union":
            return "union", lambda a, b: a.union(b)
        case "join":
            how = draw(st.sampled_from(["inner", "left", "right", "full"]))
            return f"join {how} {key}", lambda a, b: a.join(b, on=key, how=how).select(*NAMES)
        case "semi":
            how = draw(st.sampled_from(["semi", "anti"]))
            return f"join {how} {key}", lambda a, b: a.join(b, on=key, how=how)
        case "window":
            return f"window {key}", lambda a, b: a.with_columns(i=col("i8").sum().over(key), d=col("d").max().over(key, order_by="i8"))
        case "window filter":
            return f"window filter {key}", lambda a, b: a.filter((col("i8").sum().over(key) > 0) & col("flag").is_not_null())
        case _:
            return f"sort {key}", lambda a, b: a.sort(key, descending=len(key) % 2 == 0, nulls_last=True)


@st.composite
def endings(draw: st.DrawFn) -> tuple[str, Step]:
    kind = draw(st.sampled_from(["none", "group", "group all", "rank", "top", "explode", "count by two"]))
    key = draw(st.sampled_from(KEYS))
    aggs = draw(st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=3, unique=True))
    match kind:
        case "group":
            return f"group {key} {aggs}", lambda a, b: a.group_by(key).agg(**{f"a_{name}": AGGREGATES[name]() for name in aggs})
        case "group all":
            return f"group {aggs}", lambda a, b: a.group_by().agg(**{f"a_{name}": AGGREGATES[name]() for name in aggs})
        case "rank":
            return f"row_number {key}", lambda a, b: a.select(key, n=row_number().over(key, order_by=key))
        case "explode":
            return "explode", lambda a, b: a.explode("li").select("i8", "li")
        case "count by two":
            return f"group i8, {key}", lambda a, b: a.group_by("i8", "s").agg(n=len_() + col("s").is_null().cast("int64"))
        case "top":
            return "top", lambda a, b: a.select("i8", "s").sort(["i8", "s"], descending=True).limit(4)
        case _:
            return "", lambda a, b: a


def plain(value: Any) -> Any:
    """Equal for equal results: NaN is NaN, floats up to rounding."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else 0.0 if value == 0 else float(f"{value:.9g}")
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value


def bag(records: list[Any]) -> list[str]:
    return sorted(repr(plain(record)) for record in records)


def table(pipeline: Pipeline, records: list[dict[str, Any]]) -> PCollection[Any]:
    import pyarrow as pa

    from dataflow.kernels.types import to_arrow

    return pipeline.from_arrow(pa.Table.from_pylist(records, schema=pa.schema([(name, to_arrow(kind)) for name, kind in TABLE.items()])))


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@settings(
    max_examples=400 if LARGE else 25, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(rows(TABLE), rows(TABLE, 5), st.lists(steps(), max_size=3), endings())
def test_plans(placement: str, left: list[Any], right: list[Any], some: list[tuple[str, Step]], end: tuple[str, Step]) -> None:
    def build() -> PCollection[Any]:
        pipeline = Pipeline()
        a, b = table(pipeline, left), table(pipeline, right)
        for _, step in (*some, end):
            a = step(a, b)
        return a

    text = " > ".join(text for text, _ in (*some, end))
    try:
        judged = build().collect(runner="reference")
    except Exception as error:
        with pytest.raises(Exception):
            build().collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
        assert "Overflow" in type(error).__name__ or error.__cause__ is not None, text
        return
    found = build().collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
    left_over, missing = [row for row in bag(found) if row not in bag(judged)], [row for row in bag(judged) if row not in bag(found)]
    assert bag(found) == bag(judged), f"{text}: {left_over[:2]} came, and {missing[:2]} did not"


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@settings(
    max_examples=300 if LARGE else 20, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(
    rows(TABLE), rows(TABLE, 5), st.sampled_from(KEYS), st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True), st.booleans(),
    st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=3, unique=True), st.booleans(), st.booleans(),
)  # fmt: skip
def test_aggregations_below_joins(
    placement: str, left: list[Any], right: list[Any], on: str, keys: list[str], renamed: bool, aggs: list[str], swapped: bool, twice: bool
) -> None:
    """As if they always paid."""
    from dataflow.optimizer.rules import push_aggregates

    def build() -> PCollection[Any]:
        pipeline = Pipeline()
        a = table(pipeline, left)
        b = table(pipeline, right).select(**{f"{name} there": col(name) for name in NAMES})
        c = table(pipeline, right).select(z="z", far=col("z")).distinct(["z"])
        joined = b.join(a, left_on=f"{on} there", right_on=on) if swapped else a.join(b, left_on=on, right_on=f"{on} there")
        if twice:
            joined = joined.join(c, on="z")
        if renamed:
            joined = joined.with_columns(**{f"{keys[0]} there": col(f"{keys[0]} there"), "i": col("i")})
        by = [f"{keys[0]} there", *keys[1:], *(["far"] if twice else [])]
        return joined.group_by(*by).agg(**{f"a_{name}": AGGREGATES[name]() for name in aggs})

    text = f"on {on} by {keys}: {aggs}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(push_aggregates._Pusher, "pays", lambda *_: True)
        try:
            judged = build().collect(runner="reference")
        except Exception:
            with pytest.raises(Exception):
                build().collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
            return
        found = build().collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
    left_over, missing = [row for row in bag(found) if row not in bag(judged)], [row for row in bag(judged) if row not in bag(found)]
    assert bag(found) == bag(judged), f"{text}: {left_over[:2]} came, and {missing[:2]} did not"
