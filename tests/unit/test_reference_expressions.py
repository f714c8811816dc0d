"""The reference meanings of expressions and relational nodes, checked against values written by hand: docs/columns.md as tests."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dataflow.expr.expression import Expr, as_node, sort_keys
from dataflow.expr.functions import coalesce, col, lit, max_horizontal, min_horizontal, ntile, rank, row_number, when
from dataflow.expr.nodes import Apply, Column, Window
from dataflow.expr.operations import AGGREGATES, OPERATIONS, RANKINGS
from dataflow.expr.types import INT64, DType, Schema, datetime_of, decimal_of, list_of, parse_type
from dataflow.expr.typing import ExprError, type_of
from dataflow.plan.origin import caller
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    Given,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Relation,
    Union,
    Unnest,
    Unpivot,
    Where,
)
from runners.reference.expressions import AGGREGATE_MEANINGS, MEANINGS, RANKING_MEANINGS, aggregate, evaluate, window_values
from runners.reference.relations import relation_rows

NAN, INF = math.nan, math.inf
BERLIN = ZoneInfo("Europe/Berlin")


def kinds(**types: str) -> dict[str, DType]:
    return {name: parse_type(text) for name, text in types.items()}


def value(expr: Expr, schema: Schema | None = None, **row: Any) -> Any:
    """The value of an expression for one row, whose types are those of ``schema``."""
    return evaluate(expr.node, row, schema or kinds(a="int64", b="int64"))


def whole(expr: Expr, values: list[Any], kind: str = "float64") -> Any:
    return aggregate(expr.node, [{"a": one} for one in values], kinds(a=kind))


def same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and (one == two or (isinstance(one, float) and math.isnan(one) and math.isnan(two)))


def test_every_operation_aggregate_and_ranking_has_a_meaning() -> None:
    assert set(MEANINGS) == set(OPERATIONS)
    assert set(AGGREGATE_MEANINGS) == set(AGGREGATES)
    assert set(RANKING_MEANINGS) == set(RANKINGS)


@pytest.mark.parametrize(
    ("expr", "types", "row", "expected"),
    [
        (col("a") + col("b"), "int8", (127, 1), -128),
        (col("a") * 2, "uint8", (200, None), 144),
        (-col("a"), "int8", (-128, None), -128),
        (col("a") // col("b"), "int64", (-7, 2), -4),
        (col("a") % col("b"), "int64", (-7, 2), 1),
        (col("a") // col("b"), "int64", (7, 0), None),
        (col("a") % col("b"), "int64", (7, 0), None),
        (col("a") / col("b"), "int64", (7, 0), INF),
        (col("a") / col("b"), "int64", (0, 0), NAN),
        (col("a") // col("b"), "float64", (-7.5, 2.0), -4.0),
        (col("a") % col("b"), "float64", (-7.5, 2.0), 0.5),
        (col("a") % col("b"), "float64", (5.0, 0.0), NAN),
        (col("a") ** col("b"), "int64", (2, -1), 0.5),
        (col("a") ** col("b"), "float64", (-8.0, 1 / 3), NAN),
        (col("a") + 1, "float32", (0.1, None), 1.100000023841858),
        (col("a").round(), "float64", (-2.5, None), -3.0),
        (col("a").round(2), "float64", (1.005, None), 1.0),
        (col("a").round(-1), "int64", (15, None), 20),
        (col("a").sqrt(), "float64", (-1.0, None), NAN),
        (col("a").log(), "float64", (0.0, None), -INF),
        (col("a").exp(), "float64", (1000.0, None), INF),
        (col("a") + col("b"), "int64", (1, None), None),
    ],
)
def test_arithmetic(expr: Expr, types: str, row: tuple[Any, Any], expected: Any) -> None:
    assert same(value(expr, kinds(a=types, b=types), a=row[0], b=row[1]), expected)


def test_decimals_keep_all_their_digits() -> None:
    schema = kinds(a="decimal(10, 2)", b="decimal(5, 1)")
    row = {"a": Decimal("-7.50"), "b": Decimal("2.0")}
    found = [value(expr, schema, **row) for expr in (col("a") + col("b"), col("a") * col("b"), col("a") // col("b"), col("a") % col("b"))]
    assert list(map(str, found)) == ["-5.50", "-15.000", "-4.00", "0.50"]
    assert value(col("a") / col("b"), schema, **row) == -3.75
    assert value(col("a") / 0, schema, **row) == -INF
    assert str(value(col("a").round(1), schema, a=Decimal("-1.25"), b=None)) == "-1.30"
    assert str(value(col("a") * (1 - lit(0.05)), schema, **row)) == "-7.125"
    with pytest.raises(OverflowError):
        value(col("a") + col("a"), {"a": decimal_of(38, 0)}, a=Decimal("9" * 38))


@pytest.mark.parametrize(
    ("one", "two", "less", "equal"),
    [(NAN, NAN, False, True), (INF, NAN, True, False), (NAN, 1.0, False, False), (-0.0, 0.0, False, True), (None, NAN, None, None)],
)
def test_nan_equals_nan_and_is_the_largest_number(one: Any, two: Any, less: Any, equal: Any) -> None:
    schema = kinds(a="float64", b="float64")
    assert value(col("a") < col("b"), schema, a=one, b=two) is less
    assert value(col("b") > col("a"), schema, a=one, b=two) is less
    assert value(col("a") == col("b"), schema, a=one, b=two) is equal
    assert value(col("a").eq_missing(col("b")), schema, a=one, b=two) is bool(equal)


def test_text_is_compared_by_code_point() -> None:
    assert value(col("a") < col("b"), kinds(a="string", b="string"), a="B", b="a") is True
    assert value(col("a") < col("b"), kinds(a="string", b="string"), a="\uffff", b="\U00010000") is True


@pytest.mark.parametrize("one", [True, False, None])
@pytest.mark.parametrize("two", [True, False, None])
def test_and_or_xor_are_kleenes(one: bool | None, two: bool | None) -> None:
    schema = kinds(a="bool", b="bool")
    unknown = one is None or two is None
    assert value(col("a") & col("b"), schema, a=one, b=two) is (False if False in (one, two) else None if unknown else True)
    assert value(col("a") | col("b"), schema, a=one, b=two) is (True if True in (one, two) else None if unknown else False)
    assert value(col("a") ^ col("b"), schema, a=one, b=two) is (None if unknown else one != two)


def test_a_null_among_values_leaves_the_others_to_decide() -> None:
    assert [value(col("a").is_in([1, None]), a=one) for one in (1, 2, None)] == [True, None, None]
    assert [value(col("a").is_in([]), a=one) for one in (1, None)] == [False, None]
    assert [value(col("a").is_between(None, 3), a=one) for one in (1, 5, None)] == [None, False, None]
    assert value(col("a").null_if(2), a=2) is None
    assert value(coalesce("a", "b"), a=None, b=3) == 3
    floats = kinds(a="float64", b="float64")
    assert [value(col("a").fill_nan(None), floats, a=one) for one in (NAN, 2.0, None)] == [None, 2.0, None]
    assert value(min_horizontal("a", "b"), floats, a=NAN, b=1.0) == 1.0
    assert same(value(max_horizontal("a", "b"), floats, a=NAN, b=None), NAN)
    assert value(when(col("a") > 2).then(1).otherwise(2.5), a=None) == 2.5


@pytest.mark.parametrize(
    ("expr", "text", "expected"),
    [
        (col("a").str.contains("b$"), "ab\n", False),
        (col("a").str.contains("."), "\n", False),
        (col("a").str.contains(".", literal=True), "a.b", True),
        (col("a").str.replace_all("x*", "-"), "axb", "-a-b-"),
        (col("a").str.replace("b(.)", "<$1>"), "abcbd", "a<c>bd"),
        (col("a").str.replace_all("b(.)", "$1x"), "abc", "a"),
        (col("a").str.replace_all(".", "$1", literal=True), "a.b", "a$1b"),
        (col("a").str.extract("(a)(x)?", 2), "ab", None),
        (col("a").str.like("a%_"), "a\nb", True),
        (col("a").str.like(r"a\%", "\\"), "ab", False),
        (col("a").str.slice(-5, 3), "abcd", "ab"),
        (col("a").str.strip_chars(), "\u2003x\x1c", "x\x1c"),
        (col("a").str.split(""), "ab", ["a", "b"]),
        (col("a").str.to_uppercase(), "ß", "SS"),
        (col("a").str.len_bytes(), "é", 2),
        (col("a").str.concat(None), "a", None),
    ],
)
def test_text(expr: Expr, text: str, expected: Any) -> None:
    assert value(expr, kinds(a="string"), a=text) == expected


def test_a_span_of_the_calendar_moves_the_clock_and_a_duration_the_instant() -> None:
    assert value(col("a").dt.offset_by("1mo"), kinds(a="date"), a=dt.date(2020, 1, 31)) == dt.date(2020, 2, 29)
    assert value(col("a").dt.offset_by("-1mo2d"), kinds(a="date"), a=dt.date(2020, 1, 31)) == dt.date(2019, 12, 29)
    schema = {"a": datetime_of("us", "Europe/Berlin"), "b": parse_type("duration[us]")}
    before = dt.datetime(2020, 3, 28, 12, tzinfo=BERLIN)
    assert value(col("a").dt.offset_by("1d"), schema, a=before).isoformat() == "2020-03-29T12:00:00+02:00"
    assert value(col("a") + col("b"), schema, a=before, b=dt.timedelta(1)).isoformat() == "2020-03-29T13:00:00+02:00"
    left_out = dt.datetime(2020, 3, 28, 2, 30, tzinfo=BERLIN)
    assert value(col("a").dt.offset_by("1d"), schema, a=left_out).isoformat() == "2020-03-29T01:30:00+01:00"
    assert value(col("a").dt.year(), schema, a=dt.datetime(2019, 12, 31, 23, 30, tzinfo=dt.UTC)) == 2020
    dates = kinds(a="date", b="duration[us]")
    assert value(col("a") + col("b"), dates, a=dt.date(2020, 1, 1), b=dt.timedelta(hours=-1)) == dt.date(2019, 12, 31)


def test_of_equal_items_the_first_stays() -> None:
    assert value(col("a").list.unique(), {"a": list_of(INT64)}, a=[3, 1, None, 3, 2, 1, None]) == [3, 1, None, 2]


@pytest.mark.parametrize(
    ("every", "kind", "given", "truncated", "rounded"),
    [
        ("1h", "datetime[us]", dt.datetime(2024, 5, 17, 10, 30), dt.datetime(2024, 5, 17, 10), dt.datetime(2024, 5, 17, 11)),
        ("1w", "datetime[us]", dt.datetime(2024, 5, 16, 11, 59), dt.datetime(2024, 5, 13), dt.datetime(2024, 5, 13)),
        ("1mo", "date", dt.date(2024, 1, 16), dt.date(2024, 1, 1), dt.date(2024, 1, 1)),
        ("1mo", "date", dt.date(2024, 1, 17), dt.date(2024, 1, 1), dt.date(2024, 2, 1)),
        ("1mo", "date", dt.date(2023, 2, 15), dt.date(2023, 2, 1), dt.date(2023, 3, 1)),
        ("1y", "date", dt.date(2023, 7, 2), dt.date(2023, 1, 1), dt.date(2023, 1, 1)),
        ("1y", "date", dt.date(2023, 7, 3), dt.date(2023, 1, 1), dt.date(2024, 1, 1)),
        ("1d", "datetime[us]", dt.datetime(1969, 12, 31, 12), dt.datetime(1969, 12, 31), dt.datetime(1970, 1, 1)),
    ],
)
def test_times_go_down_or_to_the_nearer_end_of_a_span(every: str, kind: str, given: Any, truncated: Any, rounded: Any) -> None:
    assert value(col("a").dt.truncate(every), kinds(a=kind), a=given) == truncated
    assert value(col("a").dt.round(every), kinds(a=kind), a=given) == rounded


def test_a_beginning_that_the_clock_leaves_out_or_shows_twice_keeps_the_offset() -> None:
    schema = {"a": datetime_of("us", "America/Sao_Paulo")}  # its clock went from midnight to one
    day = dt.datetime(2018, 11, 4, 14, tzinfo=dt.UTC)
    assert value(col("a").dt.truncate("1d"), schema, a=day).isoformat() == "2018-11-04T01:00:00-02:00"
    schema = {"a": datetime_of("us", "Europe/Berlin")}
    found = [value(col("a").dt.round("1h"), schema, a=dt.datetime(2024, 10, 27, hour, 20, tzinfo=dt.UTC)) for hour in (0, 1)]
    assert [one.isoformat() for one in found] == ["2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"]


@pytest.mark.parametrize(
    ("every", "kind"), [("7us", "datetime[ms]"), ("36h", "date"), ("7ms", "date"), ("1h", "time"), ("1d", "duration[us]")]
)
def test_a_span_must_fit_the_type(every: str, kind: str) -> None:
    for expr in (col("a").dt.truncate(every), col("a").dt.round(every)):
        with pytest.raises(ExprError):
            type_of(expr.node, kinds(a=kind))
    with pytest.raises(ValueError, match="no span"):
        col("a").dt.round("1 day")


@pytest.mark.parametrize(
    ("given", "source", "to", "expected"),
    [
        ("+12", "string", "int64", 12),
        (" 12", "string", "int64", None),
        ("1e3", "string", "int64", None),
        ("1e3", "string", "float64", 1000.0),
        ("300", "string", "int8", None),
        (-1.9, "float64", "int64", -1),
        (NAN, "float64", "int64", None),
        (300, "int64", "int8", None),
        ("1.245", "string", "decimal(5, 2)", Decimal("1.24")),
        (1.005, "float64", "decimal(5, 2)", Decimal("1.00")),
        (Decimal("1.25"), "decimal(5, 2)", "decimal(5, 1)", Decimal("1.2")),
        (Decimal("-1.75"), "decimal(5, 2)", "int64", -1),
        ("2020-01-02", "string", "date", dt.date(2020, 1, 2)),
        ("2020-02-30", "string", "date", None),
        ("T", "string", "bool", True),
        ("2020-01-02T03:04", "string", "datetime[us]", dt.datetime(2020, 1, 2, 3, 4)),
        (1e-5, "float64", "string", "0.00001"),
        (1.5e-6, "float64", "string", "1.5e-6"),
        (1e16, "float64", "string", "1e+16"),
        (2.0, "float64", "string", "2.0"),
        (True, "bool", "string", "true"),
        (b"\xff", "binary", "string", None),
        (["1", "x"], "list[string]", "list[int64]", [1, None]),
    ],
)
def test_a_cast_of_what_has_no_such_form_fails_or_is_null(given: Any, source: str, to: str, expected: Any) -> None:
    assert same(value(col("a").cast(to, strict=False), kinds(a=source), a=given), expected)
    if expected is None:
        with pytest.raises(ValueError, match="has no form"):
            value(col("a").cast(to), kinds(a=source), a=given)


def test_casts_between_zones_keep_the_instant() -> None:
    plain = dt.datetime(2020, 1, 1, 23, 30)
    zoned = value(col("a").cast("datetime[us, Europe/Berlin]"), kinds(a="datetime[us]"), a=plain)
    assert zoned.isoformat() == "2020-01-02T00:30:00+01:00"
    schema = {"a": datetime_of("us", "Europe/Berlin")}
    assert value(col("a").cast("datetime[us]"), schema, a=zoned) == plain
    assert value(col("a").cast("date"), schema, a=zoned) == dt.date(2020, 1, 1)
    assert value(col("a").dt.date(), schema, a=zoned) == dt.date(2020, 1, 2)


@pytest.mark.parametrize(
    ("expr", "values", "kind", "expected"),
    [
        (col("a").sum(), [], "int8", 0),
        (col("a").sum(), [127, 127, None], "int8", 254),
        (col("a").sum(), [True, None], "bool", 1),
        (col("a").sum(), [Decimal("0.10")] * 3, "decimal(5, 2)", Decimal("0.30")),
        (col("a").sum(), [INF, -INF], "float64", NAN),
        (col("a").mean(), [None], "int64", None),
        (col("a").mean(), [1, 2, None], "int64", 1.5),
        (col("a").min(), [NAN, 1.0, None], "float64", 1.0),
        (col("a").max(), [NAN, 1.0], "float64", 1.0),
        (col("a").max(), [NAN, None], "float64", NAN),
        (col("a").count(), [1.0, None], "float64", 1),
        (col("a").len(), [1.0, None], "float64", 2),
        (col("a").n_unique(), [NAN, NAN, 0.0, -0.0, None], "float64", 2),
        (col("a").any(), [], "bool", False),
        (col("a").all(), [None], "bool", True),
        (col("a").any(), [None, True], "bool", True),
        (col("a").std(), [1.0], "float64", None),
        (col("a").var(ddof=0), [1.0], "float64", 0.0),
        (col("a").var(), [1, 3], "int64", 2.0),
        (col("a").median(), [1.0, NAN, 3.0], "float64", 3.0),
        (col("a").quantile(0.4), [1, 2, 4], "int64", 1.8),
        (col("a").quantile(0.125, "nearest"), [1, 2, 3, 4, 5], "int64", 2.0),
        (col("a").first(order_by="a"), [3, 1, 2], "int64", 1),
        (col("a").last(), [1, None], "int64", None),
        (col("a").collect(order_by=col("a").desc()), [1, None, 2], "int64", [None, 2, 1]),
        (col("a").sum().filter(col("a") > 1), [1, 2, 3, None], "int64", 5),
        (col("a").sum().distinct(), [2, 2, 3, None], "int64", 5),
        (col("a").collect().distinct(), [2.0, NAN, None, 2.0, None, NAN, -0.0, 0.0], "float64", [2.0, NAN, None, -0.0]),
        (col("a").collect().distinct().filter(col("a") > 2), [2, 3, 3], "int64", [3]),
        (col("a").count().distinct(), [2, 2, None], "int64", 1),
        (col("a").approx_n_unique(), [2, 2, None], "int64", 1),
        (col("a").approx_quantile(0.5), [4, 1, None, 2], "int64", 2),
        (col("a").approx_quantile(1), [1.0, NAN], "float64", NAN),
        (col("a").max() - col("a").min(), [1, 5], "int64", 4),
        (col("a").mean(), [dt.timedelta(microseconds=1), dt.timedelta(microseconds=2)], "duration[us]", dt.timedelta(microseconds=1)),
    ],
)
def test_aggregates(expr: Expr, values: list[Any], kind: str, expected: Any) -> None:
    assert same(whole(expr, values, kind), expected)


def test_an_integer_sum_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OverflowError, match="does not fit int64"):
        whole(col("a").sum(), [2**63 - 1, 1], "int64")


def test_a_column_that_is_neither_a_key_nor_aggregated_is_an_error() -> None:
    with pytest.raises(ExprError, match="neither aggregated nor a key"):
        whole(col("a").sum() + col("a"), [1], "int64")


def test_apply_is_given_nulls_too() -> None:
    node = Apply(lambda a: "none" if a is None else str(a), (Column("a"),), parse_type("string"))
    assert [evaluate(node, {"a": one}, {"a": INT64}) for one in (1, None)] == ["1", "none"]


# -- windows

ROWS = [dict(zip("kov", row)) for row in (("x", 2, 1), ("x", 1, 2), ("x", 2, 4), ("y", None, 8), ("x", None, 16))]
SHAPE = kinds(k="string", o="int64", v="int64")


def over(expr: Expr, **how: Any) -> list[Any]:
    node = expr.over("k", **how).node
    assert isinstance(node, Window)
    return window_values(node, [*ROWS], SHAPE)


def test_a_window_without_order_is_the_whole_partition() -> None:
    assert over(col("v").sum()) == [23, 23, 23, 8, 23]


def test_a_window_with_an_order_ends_with_the_peers_of_the_row() -> None:
    assert over(col("v").sum(), order_by="o") == [23, 18, 23, 8, 16]
    assert over(col("v").sum(), order_by=col("o").desc(nulls_last=True)) == [5, 7, 5, 8, 23]


def test_frames_of_rows_and_of_values() -> None:
    order = [col("o"), col("v")]
    assert over(col("v").sum(), order_by=order, rows=(-1, 0)) == [3, 18, 5, 8, 16]
    assert over(col("v").sum(), order_by=order, rows=(-2, -1)) == [18, 16, 3, 0, 0]
    assert over(col("v").max(), order_by=order, rows=(1, 1)) == [4, 1, None, None, 2]
    assert over(col("v").sum(), order_by="o", range=(-1, 0)) == [7, 2, 7, 8, 16]
    assert over(col("v").sum(), order_by="o", range=(1, None)) == [0, 5, 0, 8, 23]


def test_rankings() -> None:
    assert over(rank(), order_by="o") == [3, 2, 3, 1, 1]
    assert over(row_number(), order_by=["o", "v"]) == [3, 2, 4, 1, 1]
    assert over(ntile(3), order_by=["o", "v"]) == [2, 1, 3, 1, 1]
    assert over(col("v").lag(1), order_by=["o", "v"]) == [2, 16, 1, None, None]
    assert over(col("v").lead(1, 0), order_by=["o", "v"]) == [4, 1, 0, 0, 2]


# -- relations


def node(kind: Any, inputs: int, **fields: Any) -> Relation:
    leaves = [Given(label=f"in{at}", origin=caller(), index=at) for at in range(inputs)]
    names: dict[str, Any] = {"left": leaves[0], "right": leaves[-1]} if kind in (Join, AsOfJoin) else {"input": leaves[0]}
    found: Relation = kind(label="step", origin=caller(), **({"parts": tuple(leaves)} if kind is Union else names), **fields)
    return found


def run(kind: Any, *inputs: list[dict[str, Any]], **fields: Any) -> list[tuple[Any, ...]]:
    """The values of the records that come out, types taken from the records."""
    rows = relation_rows(node(kind, len(inputs), **fields), list(inputs), [None] * len(inputs))
    return [tuple(row.values()) for row in rows]


def nodes(*values: Any) -> tuple[Any, ...]:
    return tuple(Column(one) if isinstance(one, str) else as_node(one) for one in values)


def test_select_and_filter() -> None:
    rows = [{"a": 1, "b": 2.5}, {"a": None, "b": 1}]
    assert run(Project, rows, exprs=nodes((col("a") + 1).alias("c"), "b")) == [(2, 2.5), (None, 1.0)]
    assert run(Project, rows, exprs=nodes((col("a") * 2).alias("a"), lit("x").alias("n")), keep=True) == [(2, 2.5, "x"), (None, 1.0, "x")]
    assert run(Where, rows, predicate=as_node(col("a") > 0)) == [(1, 2.5)]


def test_null_and_nan_keys_form_groups_and_sets_leave_keys_out() -> None:
    rows = [{"k": None, "f": NAN, "x": 1}, {"k": None, "f": NAN, "x": 2}, {"k": 1, "f": 0.0, "x": 4}, {"k": 1, "f": -0.0, "x": 8}]
    aggs = nodes(col("x").sum(), (col("x").max() + col("k")).alias("y"))
    assert run(GroupAggregate, rows, keys=nodes("k"), aggs=aggs) == [(None, 3, None), (1, 12, 9)]
    assert len(run(GroupAggregate, rows, keys=nodes("f"), aggs=())) == 2
    found = run(GroupAggregate, rows, keys=nodes("k", "f"), aggs=aggs[:1], sets=((0,), ()))
    assert found == [(None, None, 3), (1, None, 12), (None, None, 15)]
    assert run(GroupAggregate, [], keys=(), aggs=nodes(col("x").sum(), col("x").mean().alias("m"))) == [(0, None)]


LEFT = [{"k": 1, "x": 1}, {"k": None, "x": 2}, {"k": 3, "x": 3}]
RIGHT = [{"k": 1.0, "x": 5}, {"k": None, "x": 6}, {"k": 1.0, "x": 0}, {"k": 9.0, "x": 7}]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", [(1, 1, 5), (1, 1, 0)]),
        ("left", [(1, 1, 5), (1, 1, 0), (None, 2, None), (3, 3, None)]),
        ("right", [(1.0, 1, 5), (1.0, 1, 0), (None, None, 6), (9.0, None, 7)]),
        ("full", [(1.0, 1, 5), (1.0, 1, 0), (None, 2, None), (3.0, 3, None), (None, None, 6), (9.0, None, 7)]),
        ("semi", [(1, 1)]),
        ("anti", [(None, 2), (3, 3)]),
    ],
)
def test_joins(how: str, expected: list[Any]) -> None:
    assert run(Join, LEFT, RIGHT, how=how, left_on=nodes("k"), right_on=nodes("k")) == expected


def test_join_with_null_equal_condition_mark_and_single() -> None:
    keys = {"left_on": nodes("k"), "right_on": nodes("k")}
    assert run(Join, LEFT, RIGHT, how="semi", null_equal=True, **keys) == [(1, 1), (None, 2)]
    less = as_node(col("x") < col("x_right"))
    assert run(Join, LEFT, RIGHT, how="left", residual=less, **keys) == [(1, 1, 5), (None, 2, None), (3, 3, None)]
    assert run(Join, LEFT, RIGHT, how="mark", suffix="m", **keys) == [(1, 1, True), (None, 2, False), (3, 3, False)]
    assert len(run(Join, LEFT, RIGHT, how="cross")) == 12
    with pytest.raises(ValueError, match="2 partners"):
        run(Join, LEFT, RIGHT, how="single", **keys)
    assert run(Join, LEFT, RIGHT[1:], how="single", **keys) == [(1, 1, 0), (None, 2, None), (3, 3, None)]


@pytest.mark.parametrize(("strategy", "expected"), [("backward", [None, 5, 8]), ("forward", [2, 5, None]), ("nearest", [2, 5, 8])])
def test_as_of_joins(strategy: Any, expected: list[Any]) -> None:
    left, right = [{"t": 1}, {"t": 6}, {"t": 9}], [{"u": 2}, {"u": 5}, {"u": 8}, {"u": None}]
    if strategy == "forward":
        left[1] = {"t": 5}
    assert [row[1] for row in run(AsOfJoin, left, right, left_on="t", right_on="u", strategy=strategy)] == expected
    tight = run(AsOfJoin, [{"t": 1}], right, left_on="t", right_on="u", strategy="forward", tolerance=0)
    assert tight == [(1, None)]


def test_order_limit_distinct() -> None:
    rows = [{"f": one, "i": at} for at, one in enumerate([1.0, None, NAN, -INF, 1.0])]
    assert [row[1] for row in run(OrderBy, rows, keys=sort_keys("f"))] == [1, 3, 0, 4, 2]
    assert [row[1] for row in run(OrderBy, rows, keys=sort_keys("f", descending=True, nulls_last=True))] == [2, 0, 4, 3, 1]
    assert [row[1] for row in run(OrderBy, rows, keys=sort_keys("f"), limit=2)] == [1, 3]
    assert run(Limit, [{"a": one} for one in range(5)], count=2, offset=1) == [(1,), (2,)]
    assert len(run(Distinct, rows, columns=("f",))) == 4


def test_lists_structs_and_columns_to_rows() -> None:
    rows = [{"a": [1, 2], "b": ["x", "y"], "i": 0}, {"a": [], "b": None, "i": 1}]
    assert run(Explode, rows, columns=("a", "b")) == [(1, "x", 0), (2, "y", 0), (None, None, 1)]
    with pytest.raises(ValueError, match="not equally long"):
        run(Explode, [{"a": [1], "b": [1, 2]}], columns=("a", "b"))
    assert run(Unnest, [{"s": {"x": 1, "y": 2}, "i": 0}, {"s": None, "i": 1}], columns=("s",)) == [(1, 2, 0), (None, None, 1)]
    assert run(Unpivot, [{"k": 1, "a": 2, "b": 2.5}], on=("a", "b"), index=("k",)) == [(1, "a", 2.0), (1, "b", 2.5)]


def test_union_matches_columns_by_name() -> None:
    assert run(Union, [{"a": 1, "b": 2}], [{"b": 1.5, "a": 3}]) == [(1, 2.0), (3, 1.5)]
    assert run(Union, [{"a": 1}], [{"b": 2}], fill=True) == [(1, None), (None, 2)]
    with pytest.raises(ExprError, match="in one part and not in another"):
        run(Union, [{"a": 1}], [{"b": 2}])


def test_values_come_out_as_their_types_say() -> None:
    schema = {"a": DType("int8"), "l": list_of(DType("float32"))}
    step = node(Project, 1, exprs=nodes((col("a") + 100).alias("a"), "l"))
    assert relation_rows(step, [[{"a": 100, "l": [0.1]}]], [schema]) == [{"a": -56, "l": [0.10000000149011612]}]
