"""A constant stands in every row: of a group, of a window, of nothing; and 1, 1.0 and true are not the same one."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow import Pipeline, col, len_, lit

WHOLE: dict[str, Any] = {}
PIECES: dict[str, Any] = {"placement": "partitioned", "memory": "4MiB", "mode": "in_process"}
ROWS = [{"k": 1, "x": 2}, {"k": 1, "x": 3}, {"k": 2, "x": None}]


@pytest.mark.parametrize("options", [WHOLE, PIECES], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select k, sum(1) s, count(*) filter (where true) c, list(1) l from t group by k order by k", [(1, 2, 2, [1, 1]), (2, 1, 1, [1])]),
        ("select sum(1), avg(1), min(1), max(1), count(distinct 5) from t where x > 100", [(None, None, None, None, 0)]),
        ("select product(2) p, stddev(1) s, count(1 + 1) c, list(1 order by x) l from t", [(8.0, 0.0, 3, [1, 1, 1])]),
        ("select k, sum(x) filter (where null) s from t group by k order by k", [(1, None), (2, None)]),
        ("select x, sum(1) over (partition by k) s, rank() over (order by 1) r from t order by x", [(2, 2, 1), (3, 2, 1), (None, 1, 1)]),
        ("select rank() over () r, sum(x) over (partition by 1) s from t", [(1, 5), (1, 5), (1, 5)]),
        ("select sum(1) over (order by x rows unbounded preceding) n, lag(5) over (order by x) g from t", [(1, None), (2, 5), (3, 5)]),
        ("select 1 g, count(*) from t where x > 100 group by 1", []),
        ("select 1 as g, count(*) c from t group by cube(1) order by g", [(1, 3), (None, 3)]),
        ("select x from t where null", []),
        ("select case when null then 1 else 2 end from t limit 1", [(2,)]),
        ("select max((x + 1)::varchar) a, max((x + 1.0)::varchar) b from t", [("4", "4.0")]),
        ("select true k, count(*) + 1 c from t group by true", [(True, 4)]),
        ("select unnest([1, 2]) n, [1, 2, 3][2] two", [(1, 2), (2, 2)]),
    ],
)  # fmt: skip
def test_a_constant_in_sql(text: str, expected: list[tuple[Any, ...]], options: dict[str, Any]) -> None:
    p = Pipeline()
    found = p.sql(text, t=p.create(ROWS)).collect(progress=False, **options)
    assert [tuple(row.values()) for row in found] == expected


@pytest.mark.parametrize("options", [WHOLE, PIECES], ids=["whole", "in pieces"])
def test_a_constant_in_expressions(options: dict[str, Any]) -> None:
    t = Pipeline().create(ROWS)
    sums = t.group_by("k").agg(s=lit(1).sum()).collect(progress=False, **options)
    assert sorted(row["s"] for row in sums) == [1, 2]
    assert t.filter(lit(None)).collect(progress=False, **options) == []
    counted = t.with_columns(n=lit(1).cum_sum(order_by="x"), null=lit(1).sum().over(lit(2))).sort("k").collect(progress=False, **options)
    assert {row["n"] for row in counted} == {1, 2, 3} and {row["null"] for row in counted} == {3}
    empty = Pipeline().create([], schema={"a": int})
    assert empty.group_by(x=lit(1)).agg(n=len_()).collect(progress=False, **options) == []


def test_a_list_is_a_constant() -> None:
    t = Pipeline().create([{"l": [10, 20]}])
    assert t.select(z=lit([1, 2])).collect() == [{"z": [1, 2]}]
    assert t.filter(col("l") == [10, 20]).collect() == [{"l": [10, 20]}]
    assert t.select(z=col("l").list.concat([9]), e=col("l").fill_null([])).collect() == [{"z": [10, 20, 9], "e": [10, 20]}]
