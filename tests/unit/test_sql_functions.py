"""Functions of SQL against DuckDB itself, over the tables of `test_sql`; and what must be refused rather than half understood."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
import pytest

from dataflow import Pipeline
from dataflow.sql import SqlError
from tests.unit.test_sql import COLUMNS, ROWS, plan, run
from tests.unit.test_sql import plain as bag

VALUES = """
list_sort([3, null, 1]) | list_sort([3, null, 1], 'DESC') | list_distinct([1, null, 1]) | list_slice([1, 2, 3, 4], 2, 3)
list_slice([1, 2, 3, 4], -2, -1) | list_slice([1, 2, 3], 0, 2) | [1, 2, 3][2:] | [1, 2, 3][:2] | [1, 2, 3][-2:] | [1, 2, 3][3:2]
[1, 2, 3][2:9] | 'abcd'[2:3] | 'abcd'[-2:] | [1, 2][1] | list_concat([1], [2, 3]) | list_max([1, 3, null]) | list_sum([1, null])
list_avg([1, 2]) | list_unique([1, 1, null]) | list_bool_or([true, null]) | array_to_string(['a', 'b'], '-') | list_reverse([1, 2])
{'a': 1, 'b': 'x'} | struct_pack(a := 1).a | struct_extract({'a': 1}, 'a') | len([1, 2]) | list_contains([1, 2], 2)
split_part('a-b', '-', 1) | split_part('a-b', '-', 3) | split_part('a-b', '-', -1) | split_part(null, '-', 1) | lpad('abc', 2, 'x')
lpad('7', 3, '0') | rpad('a', 4, ' ') | strpos('abc', 'c') | strpos('abc', 'z') | strpos('abc', '') | strpos(null, 'a')
position('c' in 'abc') | repeat('ab', 2) | reverse('abc') | 'abc' similar to 'b' | 'abc' similar to 'a.c'
regexp_matches('ABC', 'b', 'i') | regexp_full_match('abc', 'b') | regexp_extract('abc', 'b(.)', 1)
regexp_replace('aba', 'a', 'x', 'g') | regexp_replace('abc', '(b)', '<\\1$>') | regexp_replace('a-b', '(a)-(b)', '\\2\\1')
substring('abcd' from 2 for 2) | left('abc', 2) | right('abc', 2) | trim(both 'x' from 'xax')
ltrim(' a') | concat('a', null, 'b') | concat_ws('-', 'a', 'b') | to_base64('abc'::blob) | from_base64('YWJj') | strlen('é')
length('é') | contains('abc', 'b') | starts_with('abc', 'a') | suffix('abc', 'c') | json_extract_string('{"a": {"b": 1}}', '$.a.b')
json_extract_string('{"c": [1, 2]}', '$.c[1]') | json_extract_string('{"e": null}', '$.e') | '{"d": "x"}' ->> 'd'
extract(epoch from timestamp '2020-01-01 00:00:01.5') | epoch_ms(timestamp '2020-01-01 00:00:01.5') | epoch_us(timestamp '2020-01-01')
extract(dow from date '2020-01-05') | extract(millisecond from timestamp '2020-01-01 00:00:01.5')
extract(microseconds from timestamp '2020-01-01 00:00:01.5') | dayofweek(date '2020-01-05') | weekday(date '2020-01-05')
isodow(date '2020-01-05') | dayofyear(date '2020-02-05') | week(date '2020-01-05') | dayname(date '2020-01-05')
monthname(date '2020-01-05') | strftime(timestamp '2020-01-05 01:02:03', '%Y %H:%M:%S') | strptime('05.01.2020', '%d.%m.%Y')
timestamp '2024-07-01 10:00:00' at time zone 'Europe/Berlin' at time zone 'America/New_York'
timestamp '2024-01-01 10:00:00' at time zone 'Asia/Kolkata' at time zone 'UTC'
last_day(date '2020-02-03') | date_trunc('hour', timestamp '2020-01-05 01:02:03') | make_date(2020, 1, 2)
datediff('month', date '2020-01-31', date '2020-02-01') | trunc(-1.75) | trunc(1.75, 1) | trunc(1.75e0) | round(2.345, 2) | abs(-2)
sign(-3) | pow(2, 3) | ln(1) | log(100) | mod(5, 3) | greatest(1, null, 2) | nullif(1, 1) | ifnull(null, 1) | if(true, 1, 2)
try_cast('x' as int) | isnan(1e0) | mod(-5, 3) | mod(-5.5, 3.0) | -7 // 2 | 7 // -2 | -6 // 2 | -5.5 // 2 | 7.5e0 // -2
1.0 // 0.1e0 | -5 % 3 | 5 % (-3) | -5.5 % 3 | -5.5e0 % 3 | 1e0 % 0.1e0 | 5e0 % 0 | -6 % 3 | 5 // null | null % 2.5 | -9007199254740993 % 2
(-127)::tinyint // 2::tinyint | (5)::utinyint % (-3)::tinyint | concat_ws('-', 'a', null, 'b')
concat_ws(null, 'a', 'b') | concat_ws('-', null, null)
concat_ws(', ', 1, 2.5, true, date '2020-01-01') | log10(1000) | log(1000) | log10(0) | log10(-1) | log2(536870912) | log(2, 8)
regexp_replace('aXbX', 'x', '-', 'i') | regexp_replace('aXbX', 'x', '-', 'gi') | log(3, 243)
[10, 20, 30][-1] | [10, 20, 30][-3] | [10, 20, 30][-4] | [10, 20, 30][0] | [10, 20, 30][4] | [10, 20, 30][-1:]
timestamp '2020-01-02 03:04:05'::date | date '2000-02-29'::timestamp | date '2000-02-29'::varchar | timestamp '2020-01-02 03:04:05'::time
'2000-02-29 01:02:03'::timestamp::date | date ('2000-02-29'::timestamp)::varchar
[1] || [2] | [1] || null | null || [1] | ['x'] || ['y'] || ['z'] | list_concat([1], null) | list_concat([1], [2], null)
list_sum([]::int[]) | list_sum([null]::int[]) | list_bool_and([]::bool[]) | list_bool_or([null]::bool[]) | list_bool_and([true, null])
right('abc', 0) | right('abc', -1) | right('abc', -5) | left('abc', -1) | left('abc', 0) | right(null, 0) | 'abc'[1] | 'abc'[-1] | 'abc'[-3]
'abc'[0] | 'abc'[9] | 'abc'[-4] | null::varchar[1] | 5 & 3 | ~5 | xor(5, 3) | 5 & null
datediff('hour', timestamp '2020-01-01 10:59:00', timestamp '2020-01-01 11:01:00')
datediff('week', date '2020-01-05', date '2020-01-13') | datediff('week', date '2020-01-09', date '2020-01-01')
datediff('quarter', date '2019-12-31', date '2020-04-08') | datediff('minute', date '2020-01-02', date '2020-01-01')
datediff('second', timestamp '2019-12-31 23:59:59.9', timestamp '2020-01-01 00:00:00.1')
strftime(timestamp '2020-01-02 03:04:05.6', '%S.%f %g %%f') | strptime('03:04:05.6 2020-01-02', '%H:%M:%S.%f %Y-%m-%d')
"""
AGGREGATES = """
string_agg(s, '-' order by id) | string_agg(distinct s, '-' order by s) | string_agg(s, ',') filter (where id > 100)
group_concat(s order by id) | product(a) | product(a) filter (where a > 100) | product(distinct a) | quantile_disc(a, 0.5)
quantile_disc(a, 0.9) | median(b) | percentile_disc(0.25) within group (order by a)
percentile_cont(0.5) within group (order by a desc) | quantile_cont(b, 0.3) | list(s order by id) | array_agg(distinct s order by s)
first(s order by id desc) | arg_max(s, b) | arg_min(s, b) | bool_and(a > 0) | count_if(a > 1) | stddev_pop(a) | var_samp(a)
stddev(distinct a) | any_value(s) filter (where id = 2) | avg(distinct b) | sum(distinct a) filter (where b > 10)
sum(1) | sum(1) filter (where id > 100) | count(1 + 1) | max(2) filter (where id > 100) | list(7 order by id) | product(2) | avg(3)
list(a) filter (where id > 100) | array_agg(a order by id) filter (where id > 100) | sum(a order by s) | count(a order by s)
sum(distinct a order by a) | count(distinct a order by a)
bool_or(true) filter (where id > 100) | count(distinct 5) | max((a + 1)::varchar) | max((a + 1.0)::varchar) | stddev_pop(1)
"""


def each(table: str) -> list[str]:
    return [one.strip() for line in table.strip().splitlines() for one in line.split(" | ")]


@cache
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    spelled = {"string": "varchar", "list[int32]": "int[]"}
    for name, columns in COLUMNS.items():
        connection.execute(f"create table {name} ({', '.join(f'{one} {spelled.get(kind, kind)}' for one, kind in columns.items())})")
        for row in ROWS[name]:
            connection.execute(f"insert into {name} values ({', '.join('?' * len(row))})", list(row))
    return connection


@pytest.mark.parametrize("text", [f"select {one}" for one in each(VALUES)] + [f"select {one} from t" for one in each(AGGREGATES)])
def test_a_function_gives_what_duckdb_gives(text: str) -> None:
    assert bag(run(text)[1]) == bag(database().execute(text).fetchall())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select listagg(s, '+') within group (order by id desc) from t", [("x+z+y+x",)]),  # DuckDB has it without WITHIN GROUP
        (
            "select s, string_agg(id::varchar, ',' order by id) from t group by s order by s",
            [("x", "1,5"), ("y", "2"), ("z", "3"), (None, "4")],
        ),
        ("select id, concat_ws('-', s, a, null, s) from t where id in (1, 4) order by id", [(1, "x-1-x"), (4, "4")]),
        (
            "select id, (id - 3) % 2, (id - 4) // 2, mod(id - 6, 3), (id - 4.5) // 2, 5 // (id - 1) from t where id < 3 order by id",
            [(1, 0, -1, -2, -1.75, None), (2, -1, -1, -1, -1.25, 5)],
        ),
        ("select id, repeat(s, a), strpos(s, 'y') from t where id < 3 order by id", [(1, "x", 0), (2, "yy", 1)]),
        ("select id, repeat(s, 2) from t where id > 2 order by id", [(3, "zz"), (4, None), (5, "xx")]),
    ],
)
def test_functions_of_columns(text: str, rows: list[Any]) -> None:
    assert run(text)[1] == rows


@pytest.mark.parametrize(
    ("text", "sentence", "place"),
    [
        ("select max(a, 2) from t", "max takes one argument", 15),
        ("select lpad(s, 3, 'ab') from t", "one character", 8),
        ("select regexp_matches(s, 'a', 'g') from t", "options are among", 8),
        ("select split_part(s, '-', 0) from t", "not 0", 8),
        ("select items[1:-1] from l", "counted from the same end", 8),
        ("select bit_count(a) from t", "bit_count is not supported", 8),
        ("select instr(a) from t", "is missing", 15),
        ("select {'a': 1, 'A': 2}", "one name", 8),
        ("select percentile_disc(0.5) within group (order by a desc) from t", "descending", 8),
        ("select upper(s, 1) from t", "number of provided arguments", 18),
        ("select contains(s, s) from t", "must be a constant", 20),
        ("select concat_ws(s, 'a', 'b') from t", "must be a constant", 18),
        ("select weekday(a) from t", "", 8),
        ("select extract(foo from d) from l", "extract(FOO)", 8),
    ],
)
def test_what_is_half_understood_is_refused(text: str, sentence: str, place: int) -> None:
    with pytest.raises(SqlError) as caught:
        plan(text)
    assert sentence in caught.value.sentence
    assert (caught.value.line, caught.value.column) == (1, place)
    assert "fault of ours" not in caught.value.hint


@pytest.mark.parametrize("text", ["select repeat('x', 1000000000) r", "select repeat(s, 100000000 * n) r from t"])
@pytest.mark.parametrize("runner", ["local", "reference"])
def test_a_text_is_not_repeated_until_the_memory_is_full(text: str, runner: str) -> None:
    p = Pipeline()
    query = p.sql(text, t=p.create([{"s": "xy", "n": 0}, {"s": "ab", "n": 1}]))
    with pytest.raises(Exception, match="texts of at most 67,108,864 bytes"):
        query.collect(runner=runner)
