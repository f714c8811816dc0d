"""SQL texts against the rows that DuckDB 2.0 gives for them, and the errors of texts that mean nothing.

The plan is run by its meaning (`runners.reference`), so these tests are about the translation alone.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlglot import exp

from dataflow import Pipeline
from dataflow.expr.types import parse_type
from dataflow.io.whole import ListSource
from dataflow.plan.nodes import Node, Read
from dataflow.plan.origin import Origin
from dataflow.plan.relational import Join, Relation
from dataflow.plan.traversal import topological
from dataflow.sql import SqlError, translate
from dataflow.sql.parse import parse
from runners.reference.relations import relation_rows

D = dt.date
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "t": [(1, 1, 10, "x"), (2, 2, 20, "y"), (3, None, 30, "z"), (4, 4, None, None), (5, 5, 50, "x")],
    "u": [(1, 10, 1, "x"), (1, 11, None, "x"), (2, 20, 3, None), (None, 30, 4, "z"), (2, None, 5, "y")],
    "e": [],
    "l": [(1, [1, 2, 3], D(2020, 1, 31)), (2, [], D(2021, 12, 15)), (3, None, None), (4, [7, None], D(1999, 2, 28))],
}
COLUMNS = {
    "t": {"id": "int32", "a": "int32", "b": "int32", "s": "string"},
    "u": {"a": "int32", "b": "int32", "v": "int32", "s": "string"},
    "e": {"a": "int32", "v": "int32"},
    "l": {"id": "int32", "items": "list[int32]", "d": "date"},
}
SCHEMAS = {table: {name: parse_type(kind) for name, kind in columns.items()} for table, columns in COLUMNS.items()}
ORIGIN = Origin("test.py", 1, "test")
TABLES: dict[str, Node] = {name: Read(label=name, origin=ORIGIN, source=ListSource([])) for name in SCHEMAS}


def labels() -> Callable[[str], str]:
    seen: dict[str, int] = {}

    def label(text: str) -> str:
        seen[text] = seen.get(text, 0) + 1
        return f"{text}-{seen[text]}"

    return label


def plan(text: str) -> Relation:
    return translate(text, TABLES, SCHEMAS, labels(), ORIGIN)


def run(text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of a query over the tables above."""
    root = plan(text)
    done: dict[int, tuple[list[dict[str, Any]], Any]] = {}
    for name, node in TABLES.items():
        done[id(node)] = ([dict(zip(SCHEMAS[name], row, strict=True)) for row in ROWS[name]], SCHEMAS[name])
    for node in topological([root]):
        if id(node) in done:
            continue
        if isinstance(node, Read):
            assert isinstance(node.source, ListSource)
            done[id(node)] = (list(node.source.items), None)
            continue
        assert isinstance(node, Relation)
        rows = relation_rows(node, [done[id(child)][0] for child in node.inputs], [done[id(child)][1] for child in node.inputs])
        done[id(node)] = (rows, node.schema)
    assert root.schema is not None
    return list(root.schema), [tuple(row.values()) for row in done[id(root)][0]]


def plain(rows: list[tuple[Any, ...]]) -> list[str]:
    """Rows to compare: numbers of one value are equal whatever their type, and in whatever order DuckDB's threads added them up."""
    return sorted(
        repr(tuple(f"{float(v):.14g}" if isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) else v for v in row))
        for row in rows
    )


# Written by DuckDB 2.0: name, query, rows in any order.
CASES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    ('joins by the equality of a comma',
     'select t.id, u.v from t, u where t.a = u.a and t.b > 5',
     [(1, 1), (1, None), (2, 3), (2, 5)]),
    ('left join keeps rows, ON filters the right side only',
     'select t.id, u.v from t left join u on t.a = u.a and u.v > 1',
     [(1, None), (2, 3), (2, 5), (3, None), (4, None), (5, None)]),
    ('right join',
     'select t.id, u.v from t right join u on t.a = u.a',
     [(1, 1), (1, None), (2, 3), (2, 5), (None, 4)]),
    ('full join with an inequality',
     'select t.id, u.v from t full join u on t.a = u.a and t.b < u.b',
     [(1, None), (2, None), (3, None), (4, None), (5, None), (None, 1), (None, 3), (None, 4), (None, 5)]),
    ('full join USING shows one column',
     'select a, v from t full join u using (a)',
     [(1, 1), (1, None), (2, 3), (2, 5), (4, None), (5, None), (None, 4), (None, None)]),
    ('a join within brackets',
     'select t.id, e.v from (t join u on t.a = u.a) left join e on e.a = t.a',
     [(1, None), (1, None), (2, None), (2, None)]),
    ('group by place, having',
     'select s, count(*), count(a), sum(b), avg(b) from t group by 1 having count(*) > 1',
     [('x', 2, 2, 60, 30.0)]),
    ('sum of nothing is null, count is 0',
     'select count(*), sum(b), avg(b), min(b) from t where id > 100',
     [(0, None, None, None)]),
    ('aggregates with FILTER and DISTINCT',
     'select sum(b) filter (where a > 1), count(distinct s), bool_or(a > 3), arg_max(s, b) from t',
     [(70, 3, True, 'x')]),
    ('sums and means of different values',
     'select sum(distinct a), avg(distinct a), median(distinct b), stddev(distinct a), list(distinct a order by a), sum(distinct a) filter (where b > 10) from u',
     [(3, 1.5, 15.5, 0.7071067811865476, [1, 2, None], 3)]),
    ('sums of different values by group and over a window',
     'select s, sum(distinct a), sum(a), sum(sum(distinct a)) over () from u group by s',
     [('x', 1, 2, 5), ('y', 2, 2, 5), ('z', None, None, 5), (None, 2, 2, 5)]),
    ('different values in a window',
     'select a, sum(distinct a) over (partition by s), count(distinct a) over (order by b rows between 1 preceding and current row) from u',
     [(1, 1, 1), (1, 1, 1), (2, 2, 1), (2, 2, 2), (None, None, 1)]),
    ('different rows: null is a value of a row',
     'select count(distinct (a, s)), count(distinct (a, v)), count(distinct (a)) from u',
     [(4, 5, 2)]),
    ('the sum of no different values is null',
     'select sum(distinct a), avg(distinct a), count(distinct (a, v)) from e',
     [(None, None, 0)]),
    ('aggregates over aggregates of groups',
     'select s, sum(a) / sum(sum(a)) over () as share, sum(count(*)) over (order by s), first_value(max(b)) over (order by max(b)) from u group by s',
     [('x', 1 / 3, 2, 11), ('y', 1 / 3, 3, 11), ('z', None, 4, 11), (None, 1 / 3, 5, 11)]),
    ('rollup',
     'select s, a, sum(b) from t group by rollup (s, a)',
     [('x', 1, 10), ('x', 5, 50), ('x', None, 60), ('y', 2, 20), ('y', None, 20), ('z', None, 30), ('z', None, 30), (None, 4, None), (None, None, 110), (None, None, None)]),
    ('grouping sets with GROUPING()',
     'select s, a, count(*), grouping(s, a) from t group by grouping sets ((s, a), (s), ())',
     [('x', 1, 1, 0), ('x', 5, 1, 0), ('x', None, 2, 1), ('y', 2, 1, 0), ('y', None, 1, 1), ('z', None, 1, 0), ('z', None, 1, 1), (None, 4, 1, 0), (None, None, 1, 1), (None, None, 5, 3)]),
    ('windows over rows and peers',
     'select id, sum(b) over (order by id rows between 1 preceding and 1 following), rank() over (order by s), lag(b, 1, 0) over (order by id) from t',
     [(1, 30, 1, 0), (2, 60, 3, 10), (3, 50, 4, 20), (4, 80, 5, 30), (5, 50, 1, None)]),
    ('window over groups',
     'select s, sum(b), rank() over (order by sum(b) desc) from t group by s',
     [('x', 60, 1), ('y', 20, 3), ('z', 30, 2), (None, None, 4)]),
    ('named window',
     'select id, max(b) over w from t window w as (partition by s order by id)',
     [(1, 10), (2, 20), (3, 30), (4, None), (5, 50)]),
    ('qualify',
     'select id from t qualify row_number() over (partition by s order by id desc) = 1',
     [(2,), (3,), (4,), (5,)]),
    ('union removes equal rows, nulls equal',
     'select a from t union select a from u',
     [(1,), (2,), (4,), (5,), (None,)]),
    ('intersect all counts',
     'select a from u intersect all select a from u where v is not null',
     [(1,), (2,), (2,), (None,)]),
    ('except all counts',
     'select a from u except all select 1',
     [(1,), (2,), (2,), (None,)]),
    ('except',
     'select a from t except select a from u',
     [(4,), (5,)]),
    ('in',
     'select id from t where a in (select a from u)',
     [(1,), (2,)]),
    ('not in with a null passes nothing',
     'select id from t where a not in (select a from u)',
     []),
    ('not in without a null',
     'select id from t where a not in (select a from u where a is not null)',
     [(4,), (5,)]),
    ('not in of nothing passes all',
     'select id from t where a not in (select a from e)',
     [(1,), (2,), (3,), (4,), (5,)]),
    ('correlated not in',
     'select id from t where a not in (select u.v from u where u.b = t.b)',
     [(2,), (4,), (5,)]),
    ('in as a value has three values',
     'select id, a in (select a from u), a not in (select v from u) from t',
     [(1, True, False), (2, True, None), (3, None, None), (4, None, False), (5, None, False)]),
    ('in under or',
     "select id from t where s = 'x' or a in (select a from u)",
     [(1,), (2,), (5,)]),
    ('exists with an inequality',
     'select id from t where exists (select 1 from u where u.a = t.a and u.b <> t.b)',
     [(1,)]),
    ('not exists without equality',
     'select id from t where not exists (select 1 from u where u.a > t.a)',
     [(2,), (3,), (4,), (5,)]),
    ('exists of an aggregate is always true',
     'select id from t where exists (select count(*) from u where u.a = t.a)',
     [(1,), (2,), (3,), (4,), (5,)]),
    ('rows in a subquery',
     'select id from t where (a, b) in (select a, b from u)',
     [(1,), (2,)]),
    ('all and any',
     'select id, b > all (select v from u where u.a = t.a), b <= any (select b from u) from t',
     [(1, None, True), (2, True, True), (3, True, True), (4, True, None), (5, True, None)]),
    ('correlated count is 0 of nothing',
     'select id, (select count(*) + 1 from u where u.a = t.a), (select sum(v) from u where u.a = t.a) from t',
     [(1, 3, 1), (2, 3, 8), (3, 1, None), (4, 1, None), (5, 1, None)]),
    ('correlated by an inequality',
     'select id, (select max(v) from u where u.b >= t.b) from t',
     [(1, 4), (2, 4), (3, 4), (4, None), (5, None)]),
    ('correlated limit',
     'select id, (select v from u where u.a = t.a order by b limit 1) from t',
     [(1, 1), (2, 3), (3, None), (4, None), (5, None)]),
    ('correlated union',
     'select id, (select sum(v) from (select v from u where u.a = t.a union all select 100) q) from t',
     [(1, 101), (2, 108), (3, 100), (4, 100), (5, 100)]),
    ('correlated twice over',
     'select id, (select count(*) from u where u.a = t.a and u.b > (select min(b) from u u2 where u2.a = t.a)) from t',
     [(1, 1), (2, 0), (3, 0), (4, 0), (5, 0)]),
    ('subquery in having',
     'select s, max(b) from t group by s having max(b) > (select avg(b) from t)',
     [('x', 50), ('z', 30)]),
    ('subquery within an aggregate',
     'select max((select count(*) from u where u.a = t.a)) from t',
     [(2,)]),
    ('scalar subquery of no row is null',
     'select id, (select v from e) from t',
     [(1, None), (2, None), (3, None), (4, None), (5, None)]),
    ('lateral',
     'select t.id, q.v from t, lateral (select v from u where u.a = t.a order by v desc limit 1) q',
     [(1, 1), (2, 5)]),
    ('left lateral',
     'select t.id, q.v from t left join lateral (select v from u where u.a = t.a) q on true',
     [(1, 1), (1, None), (2, 3), (2, 5), (3, None), (4, None), (5, None)]),
    ('lateral unnest',
     'select l.id, i from l, unnest(l.items) as u(i)',
     [(1, 1), (1, 2), (1, 3), (4, 7), (4, None)]),
    ('left join unnest keeps empty lists',
     'select l.id, i from l left join unnest(l.items) as u(i) on true',
     [(1, 1), (1, 2), (1, 3), (2, None), (3, None), (4, 7), (4, None)]),
    ('with names, one used twice',
     'with x as (select * from t where id < 4), y(k) as (select a from x) select x1.id, k from x x1, x x2, y where x1.a = x2.a and y.k = x1.a',
     [(1, 1), (2, 2)]),
    ('distinct on',
     'select distinct on (s) s, id from t order by s, id desc',
     [('x', 5), ('y', 2), ('z', 3), (None, 4)]),
    ('numbers',
     'select 7 / 2, 7 // 2, 0.06 - 0.01, 2 * 0.5',
     [(3.5, 3, Decimal('0.05'), Decimal('1.0'))]),
    ('dates',
     "select id from l where d between date '2019-12-31' and date '2019-11-30' + interval '2' month and d >= '2000-01-01'",
     []),
    ('dates in parts',
     "select extract(year from d), d - date '2020-01-01', datediff('month', date '2020-01-01', d) from l",
     [(1999, -7612, -251), (2020, 30, 0), (2021, 714, 23), (None, None, None)]),
    ('case',
     "select case a when 1 then 'one' when 2 then 'two' else 'many' end, case when a > 1 then b end from t",
     [('many', 50), ('many', None), ('many', None), ('one', None), ('two', 20)]),
    ('text',
     "select upper(s), substring(s || '-' || id from 2 for 2), concat(s, 'k') from t",
     [('X', '-1', 'xk'), ('X', '-5', 'xk'), ('Y', '-2', 'yk'), ('Z', '-3', 'zk'), (None, None, 'k')]),
    ('like',
     "select id from t where s like 'x%' or s not like '_'",
     [(1,), (5,)]),
    ('in a list with null',
     'select id, a in (1, null) from t',
     [(1, True), (2, None), (3, None), (4, None), (5, None)]),
    ('values and a series',
     "select w, i from (values (1, 'a'), (2, 'b')) v(n, w), range(3) r(i) where n = i",
     [('a', 1), ('b', 2)]),
    ('no from',
     "select 1 as a, 'x' as b, null as c, 1.50 as d",
     [(1, 'x', None, Decimal('1.50'))]),
    ('star without and with',
     'select * exclude (s) replace (b + 1 as b) from t',
     [(1, 1, 11), (2, 2, 21), (3, None, 31), (4, 4, None), (5, 5, 51)]),
    ('union by name',
     'select a, id from t where id < 2 union all by name select v as A, s from (select 7 as v, \'q\' as s) x order by id',
     [(1, 1, None), (7, None, 'q')]),
    ('conditions shared by all branches of or',
     'select x.id, z.v from t x, t y, u z where (x.a = y.a and x.b > 5 and y.a = z.a) or (x.a = y.a and x.b < 20 and y.a = z.a)',
     [(1, 1), (1, None), (2, 3), (2, 5)]),
]  # fmt: skip
# ruff: noqa: E501 — rows as DuckDB prints them


@pytest.mark.parametrize(("text", "rows"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_query_gives_the_rows_that_duckdb_gives(text: str, rows: list[tuple[Any, ...]]) -> None:
    assert plain(run(text)[1]) == plain(rows)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select id from t order by b desc limit 2", [(5,), (3,)]),
        ("select id from t order by b desc nulls first limit 2 offset 1", [(5,), (3,)]),
        ("select id as k from t order by k desc limit 1", [(5,)]),
        ("select s from t order by id desc", [("x",), (None,), ("z",), ("y",), ("x",)]),
        ("select count(*) as c from t group by s order by c desc, s limit 2", [(2,), (1,)]),
        ("select a, b from t union all select a, v from u order by 1, 2 limit 3", [(1, 1), (1, 10), (1, None)]),
        ("(select a from t order by a limit 2) union all (select 7) order by a desc", [(7,), (2,), (1,)]),
    ],
)
def test_order_and_limit(text: str, rows: list[tuple[Any, ...]]) -> None:
    assert run(text)[1] == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        # what DuckDB gives for count(distinct (a, v)) filter (where a is not null and v is not null)
        ("select count(distinct a, v), count(distinct a, s), count(distinct a, b, s) from u", [(3, 2, 2)]),
        ("select s, count(distinct a, v) from u group by s order by s", [("x", 1), ("y", 1), ("z", 0), (None, 1)]),
        ("select count(distinct a, v) filter (where b > 10) from u", [(1,)]),
        # a value of the data, where DuckDB puts one between two; quantile_disc gives the same
        ("select approx_count_distinct(a), approx_quantile(b, 0.5) from t where b < 100", [(3, 20)]),
        ("select approx_percentile(b, 0.5), approx_percentile(b, 1) filter (where id < 3) from t", [(20, 20)]),
    ],
)
def test_what_duckdb_spells_otherwise(text: str, rows: list[tuple[Any, ...]]) -> None:
    assert run(text)[1] == rows


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select ID, T.S as k from T", ["id", "k"]),
        ("select x.id, y.id from t x join t y on x.id = y.id", ["id", "id_1"]),
        ("select a, count(*), sum(b) + 1 from t group by a", ["a", "count(*)", "sum(b) + 1"]),
        ("select * from t join u using (a)", ["id", "a", "b", "s", "b_1", "v", "s_1"]),
        ('select "id" as "Weird ""Name" from t', ['Weird "Name']),
    ],
)
def test_names_of_the_result(text: str, names: list[str]) -> None:
    assert run(text)[0] == names


def test_no_cross_product_where_an_equality_exists() -> None:
    """a and b meet only through c: c joins before b."""
    root = plan("select count(*) from t a, u b, t c where a.id = c.id and c.a = b.a and (a.b > 1 or b.b > 1)")
    hows = [node.how for node in topological([root]) if isinstance(node, Join)]
    assert hows == ["inner", "inner"]


def test_a_scan_takes_only_the_columns_that_the_text_names() -> None:
    root = plan("select s from t where exists (select * from u where u.a = t.a)")
    scans = [list(node.schema or {}) for node in topological([root]) if isinstance(node, Relation) and node.inputs[0] in TABLES.values()]
    assert scans == [["t.a", "t.s"], ["u.a", "u.s"]]


@pytest.mark.parametrize(
    ("text", "sentence", "place", "hint"),
    [
        ("", "there is no SQL", (1, 1), "sql("),
        ("select", "has no columns", (1, 1), ""),
        ("select 1 +", "an operand or a name is missing", (1, 10), ""),
        ("select (1", "expecting )", (1, 9), ""),
        ("select a a a from t", "unexpected word", (1, 12), ""),
        ("select 'abc", "not closed", (1, 7), ""),
        ("drop table t", "cannot begin with 'drop'", (1, 1), "write_parquet"),
        ("select 1; drop table t", "more than one statement", (1, 9), "once for each"),
        ("select\n  prise from t", "no column 'prise'", (2, 3), "columns: id, a, b, s"),
        ("select itms from l", "no column 'itms'", (1, 8), "did you mean 'items'?"),
        ("select t.idd from t", "no column 'idd'", (1, 8), "did you mean 'id'?"),
        ("select q.a from t", "no table 'q'", (1, 8), "tables: t"),
        ("select a from tt", "no table tt", (1, 15), "did you mean 't'?"),
        ("select a from t, u", "ambiguous: 't.a' and 'u.a'", (1, 8), "t.a"),
        ("select a from t where s > 1", "t.s > 1: string and int64", (1, 23), ""),
        ("select a from t where sum(a) > 1", "aggregate stands in WHERE", (1, 23), "HAVING"),
        ("select s, sum(b) from t group by a", "'s' is neither in GROUP BY", (1, 8), "any_value"),
        ("select sum(sum(a)) from t", "an aggregate stands within an aggregate", (1, 8), "subquery"),
        ("select a from t order by 3", "ORDER BY 3", (1, 26), ""),
        ("select nofunc(a) from t", "nofunc is not supported", (1, 8), "with_columns"),
        ("select * from t tablesample 10 percent", "TABLESAMPLE", (1, 17), "sample()"),
        ("with recursive r as (select 1 union all select * from r) select * from r", "WITH RECURSIVE", (1, 16), "loop in Python"),
        ("select * from t asof join u on t.a >= u.a", "ASOF JOIN", (1, 17), "join_asof"),
        ("select * from read_csv('/etc/passwd')", "functions are not supported in FROM", (1, 15), "read_parquet"),
        ("select * from t join t on true", "two tables are called 't'", (1, 22), "AS"),
        ("select (select a, b from u)", "one column", (1, 8), ""),
        ("select a from t union select a, b from t", "UNION of 1 columns with 2", (1, 17), ""),
        ("select id from l where d > 'yesterday'", "'yesterday' is no date", (1, 28), "1995-03-15"),
        ("select date '2020-13-01'", "no date", (1, 8), ""),
        ("select ?", "placeholder", (1, 8), ""),
        ("select 1 limit -1", "whole numbers", (1, 10), ""),
        ("select current_date", "differs from run to run", (1, 8), ""),
        ("select sum(a), a from t group by s", "'a' is neither in GROUP BY", (1, 16), "any_value"),
        ("select a from t union select a from u\nunion select a, b from t", "UNION of 1 columns with 2", (2, 1), "as many"),
        ("select id, a from t union all select a,\n  s from u", "column 2 (s) of UNION is int32", (2, 3), "CAST"),
        ("select distinct a from t order by a, b", "ORDER BY takes columns of the result", (1, 38), "add it"),
        ("select s,\n grouping(a) from t group by s", "GROUPING takes columns", (2, 2), ""),
        ("select id,\n min() from t", "an argument is missing", (2, 2), ""),
        ("select id from t where a > 1 and\n a", "a condition is needed", (2, 2), "compare"),
        ("select id from t\n left join u using (v)", "the left side has no such column", (2, 2), "ON"),
        ("select id,\n sum(sum(a) over ()) over () from t group by id", "a window function stands within an aggregate", (2, 2), ""),
        ("select id from t order by id\nfetch first 3 rows with ties", "WITH TIES", (2, 1), "QUALIFY"),
        ("select (select sum(x.id) from u) from t x", "columns of the query around alone", (1, 16), "aggregate there"),
        ("select s, (select max(v) from u where u.a > t.a) from t group by s", "'t.a' is neither in GROUP BY", (1, 11), "any_value"),
        ("select 1 from t left join u on exists (select 1 from e where e.a = t.a + u.a)", "reads both tables", (1, 32), "compared"),
        ("select 1 from t, u left join e on t.a = e.a", "names 't.a', which is of neither", (1, 35), "JOIN instead of the comma"),
        (
            "select 1 from t join (u left join e on t.a = e.a) on true",
            "names 't.a', which is of neither",
            (1, 40),
            "outside of the brackets",
        ),
        ("select unnest(items) + 1 from l", "unnest stands alone", (1, 8), "FROM t, unnest"),
        (
            "select i from l, unnest(l.items) as u(i)\nright join t on i = k",
            "RIGHT JOIN after a comma and unnest",
            (2, 1),
            "CROSS JOIN unnest",
        ),
        ("select [items] from l", "a list of lists of columns", (1, 8), "||"),
        ("select [1] || id from t", "with a list, not with int32", (1, 8), "items ||"),
        ("select s & 1 from t", "& takes integers, not string", (1, 8), "AND"),
        ("select id << 1 from t", "<< is not supported", (1, 8), "x * 8"),
        ("select quantile_cont(id, [0.1, 0.2]) from t", "several quantiles", (1, 8), "0.75"),
        ("select make_date(2020, id, 1) from t", "make_date takes constants", (1, 8), "strptime"),
        (
            "select id,\n (select max(q.v) from (select * from u where u.b = t.b) q full join e on q.a = e.a) from t",
            "inside a FULL JOIN",
            (2, 2),
            "LEFT JOIN",
        ),
    ],
)
def test_an_error_names_the_construct_its_place_and_what_to_use(text: str, sentence: str, place: tuple[int, int], hint: str) -> None:
    with pytest.raises(SqlError) as caught:
        plan(text)
    error = caught.value
    assert sentence in error.sentence
    assert hint in error.hint
    assert (error.line, error.column) == place


@pytest.mark.parametrize(
    "text",
    [
        "select " + "(" * 5000 + "1" + ")" * 5000,
        "select " + "- " * 5000 + "1",
        "select " + "case when true then " * 400 + "1" + " end" * 400,
        "select * from " + "(select * from " * 400 + "t" + ")" * 400,
        "select 1 from t a " + "join t b " * 500 + " on true " * 500,
        "select " + "+".join(["a"] * 300) + " from t",
        "select '" + "x" * 1_000_000 + "'",
        "select " + "x" * 400_000 + " from t",
        "select " + "9" * 100_000,
        "(%$#@! " * 40_000,
        "select \x00",
        "select a from t where \u202e",
    ],
    ids=lambda text: text[:20],
)
def test_a_hostile_text_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(SqlError) as caught:
        plan(text)
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    "text",
    [
        "select id from t where " + " and ".join(f"a <> {i}" for i in range(1000)),
        "select id from t where " + " or ".join(f"a = {i}" for i in range(1000)),
        "select id from t where a in (" + ",".join(map(str, range(10_000))) + ")",
        "select " + "||".join(["s"] * 1000) + " from t",
        " union all ".join(["select 1"] * 200),
        "select " + "+".join(["a"] * 100) + " from t",
        "select * from " + "(select * from " * 40 + "t" + ")" * 40,
    ],
    ids=["and", "or", "in", "concat", "union", "plus", "nested"],
)
def test_long_texts_are_no_deep_trees(text: str) -> None:
    assert plan(text).schema  # not run: the reference looks at 10,000 values for every row


def test_texts_cut_and_mixed_give_queries_or_sql_errors() -> None:
    rng = random.Random(7)
    texts = [re.findall(r"\w+|'[^']*'|[^\s\w]|\s+", text) for _, text, _ in CASES]
    words = [word for text in texts for word in text]
    for _ in range(1500):
        text = list(rng.choice(texts))
        for _ in range(rng.choice((1, 2, 4))):
            at = rng.randrange(len(text))
            text[at] = rng.choice(("", rng.choice(words), rng.choice(words)))
        try:
            plan("\n\n  " + "".join(text))
        except SqlError as error:
            assert "fault of ours" not in error.hint, "".join(text)
            assert (error.line, error.column) >= (3, 3), f"no place is known: {error}: {''.join(text)}"


WRONG = {
    "zzq": "no column 'zzq'", "t.zzq": "no column 'zzq'|no table 't'|has no column 'zzq'", "?": "placeholder", "current_date": "differs from run",
    "nofunc(1)": "nofunc", "date 'x'": "'x' is no date", "cast('y' as date)": "'y' is no date", "nth_value(1, 2) over ()": "nth_value",
    "extract(foo from date '2020-01-01')": "extract", "count(1, 2)": "count takes", "sum(max(1))": "aggregate",
    "'a' + 1": "put together", "quantile_cont(1, 3)": "quantile lies", "lag(1, 'x') over (order by 1)": "distance of lag", "mode(1)": "mode",
    "substring('a', 'b')": "substring takes", "sum(1) over (rows between 1 following and 2 preceding)": "ends before",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_points_at_the_wrong_part_wherever_it_stands(wrong: str) -> None:
    """In place of every column of a third of the queries above. Where another error is found first, that is as well."""
    found = 0
    for _, text, _ in CASES[len(wrong) % 3 :: 3]:
        for marks in [[part.meta for part in column.parts] for column in parse(text).find_all(exp.Column)]:
            if not all("start" in mark for mark in marks):
                continue
            start, end = marks[0]["start"], marks[-1]["end"] + 1
            try:
                plan(f"\n  {text[:start]}{wrong}{text[end:]}")
            except SqlError as error:
                if re.search(WRONG[wrong], error.sentence):
                    found += 1
                    assert (error.line, error.column) == (2, start + 3), f"{error}: {text[:start]}{wrong}{text[end:]}"
    assert found > 30


@pytest.mark.parametrize("options", [{}, {"placement": "partitioned", "mode": "in_process"}, {"runner": "reference"}])
def test_what_only_having_reads_does_not_tell_the_parts_of_grouping_sets_apart(options: dict[str, Any]) -> None:
    """A filter that goes into the parts of a union keeps in some the column that it reads, and in others not."""
    p = Pipeline()
    t = p.create([{"f": 1, "s": "b", "g": 2}, {"f": 1, "s": "a", "g": 3}, {"f": 2, "s": "c", "g": 4}])
    inner = "select f, sum(g) as n, grouping(f) as h from t group by grouping sets ((f), (f), ()) having max(s) > 'a'"
    found = p.sql(f"select x.f from ({inner}) x", t=t).collect(progress=False, **options)
    assert sorted(str(record["f"]) for record in found) == ["1", "1", "2", "2", "None"]
    assert p.sql(f"select count(*) as c from ({inner}) x", t=t).collect(progress=False, **options) == [{"c": 5}]


@pytest.mark.parametrize("options", [{}, {"runner": "reference"}])
def test_a_pattern_that_any_text_is_like_may_be_denied_within_a_case(options: dict[str, Any]) -> None:
    p = Pipeline()
    t = p.create([{"g": 1, "s": "x", "b": True}, {"g": 2, "s": None, "b": None}, {"g": 3, "s": "", "b": False}])
    case = "case when b then g > 1 when (s not ilike '%') then g > 2 end"
    text = f"select g, {case} as k, s like '%' as l, s not like '%' as m from t order by g"
    assert p.sql(text, t=t).collect(progress=False, **options) == [
        {"g": 1, "k": False, "l": True, "m": False}, {"g": 2, "k": None, "l": None, "m": None}, {"g": 3, "k": None, "l": True, "m": False},
    ]  # fmt: skip
    assert p.sql("select g from t where case when b then g > 0 else (s not like '%') end", t=t).collect(progress=False, **options) == [
        {"g": 1}
    ]
