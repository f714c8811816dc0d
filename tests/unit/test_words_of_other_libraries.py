"""What people type who come from pandas, Polars, Spark or Beam, and what they take a collection for: the error says how it is said here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.api import elsewhere
from dataflow.api.columns import Grouping
from dataflow.errors import PlanError

P = Pipeline()
ROWS = P.create([{"a": 1, "b": 2}])
TABLE = P.create([("a", 1)]).as_table()


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("withColumn", "with_columns"), ("groupby", "group_by"), ("sort_values", "sort"), ("merge", "join"), ("unique", "distinct"),
        ("to_csv", "write_csv"), ("ParDo", "parallel_do"), ("cache", "nothing"), ("selct", "did you mean 'select'"),
    ],
)  # fmt: skip
def test_a_step_of_another_library_is_named_as_it_is_here(name: str, here: str) -> None:
    with pytest.raises(AttributeError, match=f"'PCollection' has no attribute {name!r}.*{here}"):
        getattr(ROWS, name)


def test_aggregates_of_groups_are_said_to_stand_in_agg() -> None:
    groups: Any = ROWS.group_by("a")
    with pytest.raises(AttributeError, match=r"'Grouping' has no attribute 'sum'; here that is agg\(col"):
        groups.sum()
    with pytest.raises(AttributeError, match=r"agg\(…\) first"):
        groups.collect()


@pytest.mark.parametrize("name", ["_repr_latex_", "_x", "nothing_like_it"])
def test_of_what_is_like_nothing_there_is_no_advice(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(ROWS, name)
    assert str(caught.value) == f"'PCollection' has no attribute {name!r}"
    assert not hasattr(ROWS, name)


def test_no_advice_is_about_what_is_there_and_each_names_something_that_is() -> None:
    steps, groups = elsewhere._BY_NAME["step"], elsewhere._BY_NAME["group"]
    assert not [name for name in steps if hasattr(type(ROWS), name)]
    assert not [name for name in groups if hasattr(Grouping, name)]
    for here in {*steps.values()}:
        first = here.partition("(")[0].partition(" ")[0].removeprefix("p.").rstrip(",:")
        assert first == "nothing" or hasattr(type(ROWS), first) or hasattr(Pipeline, first), here


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (lambda rows: list(rows), r"collect\(\)"), (lambda rows: rows[0], r"head\(n\)"), (lambda rows: rows["a"], r"select\(col\('a'\)\)"),
        (lambda rows: len(rows), r"size\(\)"),
    ],
)  # fmt: skip
def test_a_collection_is_no_list(take: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"is not computed, and .*{words}"):
        take(ROWS)
    assert ROWS


@pytest.mark.parametrize("verb", ["union", "flatten", "intersect", "subtract", "join", "join_asof", "concat"])
@pytest.mark.parametrize(
    ("other", "hint"),
    [(pa.table({"a": [1]}), "from_arrow"), ([1], "create"), ([ROWS, ROWS], r"\(a, b\)"), (Pipeline().create([{"a": 1}]), "one Pipeline")],
)
def test_what_is_put_together_must_be_collections_of_one_pipeline(verb: str, other: Any, hint: str) -> None:
    with pytest.raises(PlanError, match=hint):
        getattr(ROWS, verb)(other, *(["a"] if verb.startswith("join") else []))


@pytest.mark.parametrize("verb", ["join", "cogroup"])
def test_tables_likewise(verb: str) -> None:
    with pytest.raises(PlanError, match="takes another collection, not list"):
        getattr(TABLE, verb)([("a", 1)])


def test_sql_takes_tables_and_frames_and_paths(tmp_path: Any) -> None:
    (tmp_path / "c.csv").write_text("a,c\n1,x\n")
    found = P.sql("select t.a, b, c from t join u using (a) join v using (a)", t=ROWS, u=pa.table({"a": [1]}), v=tmp_path / "c.csv")
    assert found.filter(col("c") == "x").collect() == [{"a": 1, "b": 2, "c": "x"}]
    with pytest.raises(PlanError, match="the table 't' is a list; it must be a collection of records, a path, or a table or data frame"):
        P.sql("select 1 from t", t=[1])
