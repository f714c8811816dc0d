"""What is said to hold no null holds none; questions about nulls, and about partners, have the same answers wherever they are asked."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col, lit, when
from dataflow.expr.functions import len_
from dataflow.optimizer.never_null import Sure, holds, sure_of
from dataflow.plan.traversal import topological
from tests.properties.column_strategies import rows, values
from tests.properties.test_relations import NAMES, TABLE, Step, bag, endings, steps, table

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
LOCAL: dict[str, Any] = {"mode": "in_process", "progress": False, "memory": "64MiB"}


def tried(count: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.function_scoped_fixture]
    return settings(max_examples=20 * count if LARGE else count, deadline=None, suppress_health_check=slow)


@st.composite
def full_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of which some columns hold no null."""
    full = draw(st.sets(st.sampled_from(NAMES)))
    return [
        {name: draw(values(TABLE[name])) if value is None and name in full else value for name, value in row.items()}
        for row in draw(rows(TABLE))
    ]


@tried(40)
@given(full_rows(), full_rows(), st.lists(steps(), max_size=3), endings())
def test_what_is_said_to_be_never_null_is_not(
    left: list[Any], right: list[Any], some: list[tuple[str, Step]], end: tuple[str, Step]
) -> None:
    pipeline = Pipeline()
    a, b = table(pipeline, left), table(pipeline, right)
    for _, step in (*some, end):
        a = step(a, b)
    sure: dict[int, Sure] = {}
    for node in topological((a.node,)):
        sure[id(node)] = sure_of(node, [sure[id(child)] for child in node.inputs])
    said = sure[id(a.node)]
    try:
        found = a.collect(runner="reference")
    except Exception:
        return
    text = " > ".join(text for text, _ in (*some, end))
    for name in (name for name, needs in said.needs.items() if holds(needs)):
        assert not [row for row in found if row[name] is None], f"{name} after {text}"
    assert all(row[name] >= 1 for name in said.counts for row in found)


def test_what_is_said_of_columns() -> None:
    """Of ``x`` and ``y``, which hold no null, and ``z``, which does."""

    def t(p: Pipeline, suffix: str = "") -> PCollection[Any]:
        columns = {f"{name}{suffix}": values for name, values in (("x", [1, 2]), ("y", [0.5, 1.5]), ("z", [None, 1]))}
        return p.from_arrow(pa.table({**columns, f"when{suffix}": [dt.datetime(2024, 1, 1)] * 2}))

    def said(build: Callable[[Pipeline], PCollection[Any]]) -> tuple[str, str]:
        sure: dict[int, Sure] = {}
        node = build(Pipeline()).node
        for one in topological((node,)):
            sure[id(one)] = sure_of(one, [sure[id(child)] for child in one.inputs])
        found = sure[id(node)]
        return " ".join(sorted(name for name, needs in found.needs.items() if holds(needs))), " ".join(sorted(found.counts))

    def of(build: Callable[[PCollection[Any], PCollection[Any]], PCollection[Any]]) -> tuple[str, str]:
        return said(lambda p: build(t(p), t(p, "2")))

    assert of(lambda a, b: a.limit(1)) == ("when x y", "")
    assert of(lambda a, b: a.filter(col("z") > 0)) == ("when x y z", "")
    assert of(lambda a, b: a.filter((col("z") > 0) | (col("x") > 0))) == ("when x y", "")
    assert of(lambda a, b: a.with_columns(x=col("z"), z=col("y") + 1)) == ("when y z", "")
    assert of(lambda a, b: a.select(a="x", b=col("x") / 0, c=col("x") * 2, d=col("when") - col("when"), e=lit(None), f=lit(1))) == (
        "a c f",
        "",
    )
    assert of(lambda a, b: a.join(b, left_on="x", right_on="x2", how="left")) == ("when x y", "")
    assert of(lambda a, b: a.join(b, left_on="x", right_on="x2", how="right")) == ("", "")
    assert of(lambda a, b: a.join(b, left_on="x", right_on="x2", how="full")) == ("", "")
    assert of(lambda a, b: a.join(b, left_on="z", right_on="z2")) == ("when when2 x x2 y y2 z z2", "")
    assert of(lambda a, b: a.join(b, left_on="z", right_on="z2", null_equal=True)) == ("when when2 x x2 y y2", "")
    assert of(lambda a, b: a.join(b, left_on="z", right_on="z2", how="semi")) == ("when x y z", "")
    assert of(lambda a, b: a.join(b, left_on="z", right_on="z2", how="anti")) == ("when x y", "")
    assert of(lambda a, b: a.group_by("x").agg(n=len_(), m=col("y").max(), c=col("z").count(), s=col("z").max())) == ("c m n x", "n")
    assert of(lambda a, b: a.group_by().agg(n=len_(), m=col("y").max(), c=col("z").count())) == ("c n", "")
    assert of(lambda a, b: a.group_by("x").rollup().agg(n=len_(), m=col("y").max())) == ("", "")
    assert of(lambda a, b: a.group_by("x").agg(n=len_().filter(col("y") > 1), s=col("y").std())) == ("n x", "")


def test_nobody_asks_for_the_one_record_of_a_cross_join() -> None:
    """But for those of a grouping, of which there may be several."""
    p = Pipeline()
    a, b = p.from_arrow(pa.table({"x": [1, 2]})), p.from_arrow(pa.table({"k": [1, 2, 2]}))
    for keys, times in (((), 1), (("k",), 2)):
        joined = a.join(b.group_by(*keys).agg(n=len_()), how="cross").select("x")
        assert joined.sort("x").collect(**LOCAL) == [{"x": 1}] * times + [{"x": 2}] * times
        assert ("Join cross" in joined.explain().partition("== Optimized")[2]) is (times == 2)


QUERIES = [
    "select a.x, count(a.y) as n, count(b.v) as m, sum(a.y) as s, sum(b.v) as t from a right join b on x = k group by a.x",
    "select a.x, b.k, count(a.y) as n, count(b.v) as m, sum(a.y) as s from a full join b on x = k group by a.x, b.k",
    "select l is null as no, n > 0 as some from (select min(y) as l, count(y) as n from a where x > 3) g",
    "select x, count(y) filter (where y > 1) as n, sum(y) filter (where x > 1) as s from a group by x",
"select t, count(*) as n from"
    " (select case when x > 1 then 'some' when y is not null then 'there' when y > 0 then 'never' end as t from a) c group by t",
    "select count(*) as n from a where x > 1 and y > 1 union all select sum(y) from a where y < 3",
    "select y, sum(v) as s from a join b on x = k where x in (select k from b where v > 1 group by k having sum(v) > 2) group by y",
    "select y, sum(v) as s from a join b on x = k where x in (select k from b group by k, v having sum(v) > 1) group by y",
    "select x, sum(v) as s from a join b on y = k where x in (select k from b group by k having sum(v) > 2) group by x",
    "select x, sum(v) as s from a join b on x = k where x not in (select k from b group by k having sum(v) > 2) group by x",
    "select x, sum(y) as s, avg(y) as m, count(y) as n, count(*) as r from a group by x",
    "select sum(y) as s, count(y) as n, min(y) as l from a where x > 90",
    "select x from a where x not in (select k from b)",
    "select x from a where x not in (select k from b where v > 1)",
    "select x, y not in (select k from b) as no, x in (select v from b) as yes from a",
    "select a.x, count(b.v) as n, sum(b.v) as s from a left join b on x = k group by a.x",
    "select x from a where y is not null and x is null",
    "select x, coalesce(sum(y), 0) as s from a group by x having sum(y) is not null",
    "select x, case when y is null then 'none' when x > 1 then 'some' end as t from a",
    "select count(k) as n from (select k from b union all select x from a) u",
    "select x, y, sum(v) as s, count(*) as n from a join b on x = k"
    " where x in (select k from b group by k having sum(v) > 2) group by x, y",
    "select y, sum(v) as s from a join b on x = k where x in (select k from b group by k having sum(v) > 1 and count(*) < 4) group by y",
    "select a.y, sum(b.v) as s from a join b on a.x = b.k join a c on c.x = a.x"
    " where a.x in (select k from b group by k having sum(v) >= 1) group by a.y",
    "select max(n) as n from (select x, count(y) as n, sum(y) as s from a group by rollup (x)) g where n > 0 or s is null",
]  # fmt: skip
MAYBE = st.one_of(st.none(), st.integers(0, 4), st.integers(0, 4))


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@pytest.mark.parametrize("query", QUERIES)
@tried(6)
@given(data=st.data())
def test_sql_over_tables_with_and_without_nulls(
    query: str, placement: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    paths = {}
    for name, columns in (("a", ("x", "y")), ("b", ("k", "v"))):
        rows = data.draw(st.one_of(st.just(0), st.integers(0, 30), st.integers(1, 30)))
        kinds = {one: data.draw(st.sampled_from([MAYBE, st.integers(0, 4), st.none()])) for one in columns}
        made = {one: pa.array(data.draw(st.lists(kind, min_size=rows, max_size=rows)), pa.int64()) for one, kind in kinds.items()}
        must = data.draw(st.booleans())  # columns that may not be null say so
        fields = [pa.field(one, pa.int64(), nullable=not must or made[one].null_count > 0) for one in columns]
        paths[name] = str(folder / f"{name}.parquet")
        pq.write_table(pa.table(list(made.values()), schema=pa.schema(fields)), paths[name], row_group_size=7)

    def build() -> PCollection[Any]:
        p = Pipeline()
        return p.sql(query, **{name: p.read_parquet(path) for name, path in paths.items()})

    assert bag(build().collect(placement=placement, **LOCAL)) == bag(build().collect(runner="reference"))


@pytest.mark.parametrize("how", ["semi", "anti"])
@pytest.mark.parametrize("side", ["left", "right"])
@tried(10)
@given(data=st.data())
def test_a_question_about_partners_may_wait(how: Any, side: str, data: st.DataObject) -> None:
    """As if it always paid."""
    from dataflow.optimizer.rules import delay_partners

    few = st.one_of(st.none(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
    drawn = [data.draw(st.lists(st.tuples(few, few), min_size=2, max_size=12)) for _ in range(4)]
    where, clash, twice, thrice = (data.draw(st.booleans()) for _ in range(4))

    def build() -> PCollection[Any]:
        p = Pipeline()
        a, b, c, d = (
            p.from_arrow(
                pa.table(
                    {names[0]: pa.array([one for one, _ in some], pa.int64()), names[1]: pa.array([two for _, two in some], pa.int64())}
                )
            )
            for names, some in zip((("x", "y"), ("k", "v"), ("z", "x" if clash else "u"), ("g", "h")), drawn, strict=True)
        )
        asked = a.join(b, left_on="x", right_on="k", how=how, where=col("y") < col("v") if where else None)
        if twice:
            asked = asked.join(d, left_on="y", right_on="g", how=how)
        joined = asked.join(c, left_on="y", right_on="z") if side == "left" else c.join(asked, left_on="z", right_on="y")
        if not thrice:
            return joined
        return joined.join(d.filter(col("h") >= 0), left_on="z" if side == "right" else "y", right_on="g")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(delay_partners, "GAIN", 1e9)
        for placement in ("whole", "partitioned"):
            assert bag(build().collect(placement=placement, **LOCAL)) == bag(build().collect(runner="reference"))


def test_what_footers_say_of_nulls(tmp_path: Path) -> None:
    kinds = {"full": [1, 2, 3], "some": [1, None, 3], "none": [None, None, None], "dotted.name": [1, 2, 3]}
    nested = {"list": pa.array([[1], [2], [3]]), "struct": pa.array([{"f": 1}] * 3)}
    path = tmp_path / "day=1" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({**{name: pa.array(one, pa.int64()) for name, one in kinds.items()}, **nested}), path)
    other = tmp_path / "day=1" / "b.parquet"
    names = frozenset((*kinds, *nested, "day"))

    def source() -> Any:
        (read,) = [one for one in topological((Pipeline().read_parquet(str(tmp_path)).node,)) if hasattr(one, "source")]
        return read.source

    assert source().without_nulls(names) == source().without_nulls(names) == {"full"}
    pq.write_table(pa.table({**{name: pa.array(one, pa.int64()) for name, one in kinds.items()}, **nested, "full": [1, None, 2]}), other)
    assert source().without_nulls(names) == frozenset()
    pq.write_table(pa.table({"full": [1]}), other, write_statistics=False)
    os.utime(other, ns=(1, 1))
    assert source().without_nulls(frozenset({"full"})) == frozenset()


def test_of_dictionaries_and_views_of_values_nothing_is_said() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array([1, None]))
    source = next(
        one.source
        for one in topological((Pipeline().from_arrow(pa.table({"w": words, "r": runs, "n": [1, 2]})).node,))
        if hasattr(one, "source")
    )
    assert source.without_nulls(frozenset({"w", "r", "n"})) == {"n"}


def test_what_is_computed_beside_columns_that_are_called_otherwise() -> None:
    """Each of the columns as they were, whatever they are called."""
    table = Pipeline().from_arrow(pa.table({"a": [1, 2], "#a": [10, 20], "##b": [5, 6]}))
    found = table.select(**{"b": col("a"), "a": col("#a") + 1, "#a": col("##b"), "##b": col("a") * 100})
    assert found.sort("b").collect(**LOCAL) == [{"b": 1, "a": 11, "#a": 5, "##b": 100}, {"b": 2, "a": 21, "#a": 6, "##b": 200}]


def test_branches_that_are_never_taken_go() -> None:
    from dataflow.expr.types import INT64, STRING
    from dataflow.optimizer.rules.simplify_expressions import simplified

    x, schema = col("x"), {"x": INT64, "s": STRING}
    cases = [
        (when(x > 1).then(x).when(lit(True)).then(2 * x).when(x > 0).then(3 * x).otherwise(x + 1), when(x > 1).then(x).otherwise(2 * x)),
        (when(lit(False)).then(x).when(x > 1).then(2 * x).otherwise(3 * x), when(x > 1).then(2 * x).otherwise(3 * x)),
        (when(lit(False)).then(x).otherwise(x + 1), x + 1),
        (when(lit(True)).then(x).otherwise(x + 1), x),
        (~((x > 0) & lit(False)), lit(True)),
    ]
    assert [simplified(one.node, schema) for one, _ in cases] == [other.node for _, other in cases]
