"""Structs of which only fields are read give what whole ones give: generated steps on a Parquet file, against the reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.io.parquet import ParquetSource
from tests.properties.test_relations import bag

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
INNER = pa.struct([("x", pa.int32()), ("y", pa.string())])
SCHEMA = pa.schema([("k", pa.int64()), ("s", pa.struct([("a", pa.int64()), ("b", pa.string()), ("c", INNER)])), ("t", INNER)])
inner = st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(0, 3), "y": st.none() | st.sampled_from("ab")})
rows = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.integers(0, 2),
            "s": st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(0, 3), "b": st.none() | st.just("q"), "c": inner}),
            "t": inner,
        }
    ),
    max_size=6,
)
Step = Callable[[PCollection[Any]], PCollection[Any]]


def field(*path: str) -> Any:
    expr: Any = col(path[0])
    for name in path[1:]:
        expr = expr.struct.field(name)
    return expr


STEPS: dict[str, Step] = {
    "a field": lambda e: e.filter(field("s", "a").is_null() | (field("s", "a") > 0)),
    "a field of a field": lambda e: e.filter(field("s", "c", "y") == "a"),
    "no struct": lambda e: e.filter(col("s").is_not_null()),
    "null structs": lambda e: e.with_columns(k=col("t").is_null().cast("int64")),
    "swapped": lambda e: e.with_columns(t=field("s", "c")),
    "taken for another": lambda e: e.rename({"s": "z"}).with_columns(s=col("z")).select("k", "s", "t"),
    "sorted": lambda e: e.sort(field("t", "x"), nulls_last=True),
    "joined": lambda e: e.join(e.pipeline.create([{"k": 0, "v": 1}, {"k": 2, "v": 2}]), "k").select("k", "s", "t"),
    "joined to itself": lambda e: e.join(e.select("k", u=col("t")), "k", how="left").with_columns(t=col("u")).select("k", "s", "t"),
    "those with a partner": lambda e: e.join(e.filter(field("t", "x") > 1), "k", how="semi"),
    "joined by a field": lambda e: e.join(
        e.select(x=field("t", "x"), other=col("s")), left_on=field("s", "a"), right_on="x"
    ).select("k", "s", "t"),
    "different": lambda e: e.distinct(),
    "with itself": lambda e: e.union(e),
}  # fmt: skip
ENDS: dict[str, Step] = {
    "whole": lambda e: e,
    "a field": lambda e: e.select(v=field("s", "a")),
    "fields of both": lambda e: e.select("k", v=field("t", "y"), w=field("s", "c", "x")),
    "is there": lambda e: e.select(v=col("s").is_null()),
    "groups": lambda e: e.group_by(v=field("s", "c", "y")).agg(n=field("t", "x").sum(), m=col("s").count()),
    "fields as columns": lambda e: e.select("k", "s").unnest("s").select("a", "k"),
    "fields of fields as columns": lambda e: e.select(z=field("s", "c")).unnest("z").select("y"),
    "a window": lambda e: e.select(v=field("s", "a").sum().over(field("t", "x"))),
    "how many": lambda e: e.group_by().agg(n=col("k").count()),
}


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@settings(
    max_examples=400 if LARGE else 60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(rows, st.lists(st.sampled_from(sorted(STEPS)), max_size=3), st.sampled_from(sorted(ENDS)))
def test_fields_are_what_they_are_in_whole_structs(tmp_path: Path, placement: str, given: Any, steps: list[str], end: str) -> None:
    pq.write_table(pa.Table.from_pylist(given, schema=SCHEMA), tmp_path / "t.parquet")

    def build() -> PCollection[Any]:
        made = Pipeline().read_parquet(str(tmp_path / "t.parquet"))
        for name in steps:
            made = STEPS[name](made)
        return ENDS[end](made)

    judged = build().collect(runner="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ParquetSource, "narrowed", lambda self, fields, names, filtered: replace(self, fields=tuple(fields.items())))
        found = build().collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
    assert bag(found) == bag(judged), (steps, end)
