"""Queries within queries on every way to run them, against DuckDB itself: what is joined where, and what becomes of it."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dataflow import Pipeline

NOTHING = pa.array([None] * 3, pa.string())
T = pa.table({"id": [1, 2, 3], "k": [1, 1, 2], "s": ["a", "b", None], "n": NOTHING})
U = pa.table({"id": [2, 3, 4], "k": [1, 2, 2], "s": ["a", "x", None], "n": NOTHING})
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"mode": "in_process", "progress": False},
    "partitioned": {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "64MiB"},
    "reference": {"runner": "reference"},
}

# each of two tables is joined to the other: neither pass may wait for the other
CROSSED = """
select x.id, y.id b from t x cross join u y union all select x.id, y.id from u x cross join t y;
select x.id, y.id b from t x cross join u y intersect select x.id, y.id from u x cross join t y;
select x.id, y.id b from t x cross join u y except select x.id, y.id from u x cross join t y;
select x.id, y.id b from t x left join u y on x.id < y.id union all select x.id, y.id from u x left join t y on x.id < y.id;
select id from t x where exists (select 1 from u y where y.id < x.id)
union all select id from u x where exists (select 1 from t y where y.id < x.id);
"""
# the same subquery in GROUP BY and in SELECT, HAVING, ORDER BY or an aggregate
GROUPED = """
select (select max(y.id) from u y where y.k = x.k) a, count(*) c from t x group by (select max(y.id) from u y where y.k = x.k);
select (select max(y.id) from u y where y.k = x.k) a, count(*) c from t x group by 1 having a > 2;
select (select max(y.id) from u y where y.k = x.k) + 1 a, count(*) c from t x where (select max(y.id) from u y where y.k = x.k) > 1
group by (select max(y.id) from u y where y.k = x.k);
select exists (select 1 from u y where y.id = x.id) a, count(*) c from t x group by exists (select 1 from u y where y.id = x.id);
select x.id in (select y.id from u y) a, count(*) c from t x group by a;
select id > any (select y.k from u y) a, count(*) from t group by id > any (select y.k from u y);
select sum(id) in (select y.id from u y) a, k from t group by k order by sum(id) in (select y.id from u y);
select k, sum((select max(y.id) from u y where y.k = x.k)) + (select max(y.id) from u y where y.k = x.k) a from t x group by k;
select k, sum((select max(y.id) from u y where y.id > x.id)) a from t x group by k;
select grouping((select max(y.id) from u y where y.k = x.k)) g, count(*) c from t x
group by rollup ((select max(y.id) from u y where y.k = x.k));
select sum(case when id in (select id from u) then 1 end) + (k in (select id from u))::int a from t group by k;
select (select max(y.id) from u y where y.k = x.k) a from t x order by (select max(y.id) from u y where y.k = x.k);
"""
WINDOWS = """
select k, sum((select max(id) from u)) over (partition by k) a from t qualify a > 1;
select k, sum((select max(id) from u)) over (partition by k) a from t qualify sum((select max(id) from u)) over (partition by k) > 4;
select k, sum((select max(id) from u y where y.k = x.k)) over (partition by k) a from t x qualify a > 1 order by a;
"""
# what ON says of one table alone is found for its rows before they are joined
ON = """
select x.id, y.id z from t x left join u y on x.k = y.k and x.id = (select max(id) from u);
select x.id, y.id z from t x left join u y on x.k = y.k and x.id in (select id from u);
select x.id, y.id z from t x left join u y on x.k = y.k and exists (select 1 from u w where w.id = x.id);
select x.id, y.id z from t x left join u y on x.id = (select max(w.id) from u w where w.k = y.k);
select x.id, y.id z from t x full join u y on x.k = y.k and x.id in (select id from u);
select x.id, y.id z from t x full join u y on x.k = y.k and (select count(*) from t) = 3;
select x.id, y.id z from t x right join u y on x.k = y.k and y.id not in (select id from t);
select x.id from t x anti join u y on x.k = y.k and x.id in (select id from u);
select x.id from t x left join u y on y.id = (select max(id) from u) where (select max(id) from u) = 4;
select x.id, y.id z from t x left join u y
on x.k + 1 = (select max(k) from u w where w.id = y.id) and (x.id = 2 or y.id in (select id from t));
"""
# constants that are computed, aggregated where there are no groups
CONSTANTS = """
select id from (select * from t where id = 3) t where (select min(['a'][1]) from u where 1 is not distinct from t.k) like 'a%';
select id, (select max(['a'][1]) from u where 1 is not distinct from t.k) v from (select * from t where id = 3) t;
select bool_and(list_contains([1, 2], 1)) b from t where null group by k;
select bool_or(list_contains(['a'], 'a')) b, max(len('abc')) from t where id > 5 group by k;
select li || [9] a, list_concat(li, [9]) b, list_concat(li, li, null) c, list_sum(li) d
from (select case when id > 1 then [1, 2] end li from t);
select list(id) over (order by id rows between 2 preceding and 1 preceding) from t;
select [id, null, k + 1, 7] a, [s, 'x'] b, [1, id] || [k] c, list_sum([id, k]) d from t;
select k, list([id, k] order by id) from t group by k;
select list(id order by id) a, array_agg(id) filter (where id > 5) b from t;
"""

# what stands in brackets, or in a query within, beside joins that fill up with nulls
NESTED = """
with x as (select 1 id), y as (select 2 id), z as (select 9 id) select x.id, z.id zid from y join (x left join y y2 on x.id =
y2.id) on true full join z on z.id = x.id where x.id = 1;
with x as (select 1 id), y as (select 2 id), z as (select 9 id) select x.id, z.id zid from y join (x semi join x x2 on x.id =
x2.id) on true full join z on z.id = x.id where x.id = 1;
with x as (select 1 id), y as (select 2 id), z as (select 1 id) select x.id, z.id zid from y join (x left join y y2 on x.id =
y2.id) on true right join z on z.id = x.id where x.id is null;
select t.k, (select count(*) from range(3) v(i) where i = 1) from t;
select count(*) from t cross join (select 1 q from range(5) v(k) where k > 1) y;
select count(*) from t cross join (select 1 q from (values (1,'b'),(2,'c')) v(k,s) where s = 'b') y;
select t.k from t left join u on null;
select t.k from t right join u on null;
select t.k from t full join u on null;
select t.k from t anti join u on null;
select list_concat(null::int[], [1]) q;
select k, count(*) from t group by (k);
select k, count(*) from t group by (1);
select k, count(*) from t group by grouping sets ((1), ());
select k, s, count(*) from t group by rollup ((1), s);
select x.id from t x where exists (select 1 from u y left join u z on z.id = x.id and y.id = z.id where z.id is not null);
select x.id, q.id qid from t x, lateral (select y.id from u y left join u z on z.id = x.id where y.k = x.k) q;
select x.id from t x where (select count(*) from u y left join u z on z.k = y.k and y.id = x.id) > 2;
select a.id from t a left join t b on true, lateral (select 1 w from u c left join u d on d.id = a.id) q
"""


def rows(found: list[Any]) -> list[str]:
    return sorted(map(str, found))


@pytest.mark.parametrize("text", [one.strip() for one in (CROSSED + GROUPED + WINDOWS + ON + CONSTANTS + NESTED).split(";") if one.strip()])
def test_every_way_gives_what_duckdb_gives(text: str) -> None:
    database = duckdb.connect()
    database.register("t", T)
    database.register("u", U)
    expected = rows(database.execute(text).fetchall())
    for way, options in WAYS.items():
        p = Pipeline()
        found = p.sql(text, t=p.from_arrow(T), u=p.from_arrow(U)).collect(**options)
        assert rows([tuple(record.values()) for record in found]) == expected, way
