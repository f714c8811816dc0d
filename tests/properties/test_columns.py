"""Generated expressions over generated columns: the kernel gives what the reference gives."""

from __future__ import annotations

import datetime as dt
import math
import os
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dataflow.expr.nodes import Aggregate, Alias, Call, Cast, Column, Frame, SortKey, Window, show
from dataflow.expr.types import BOOL, FLOAT64, INT64, DType, Schema, parse_type
from dataflow.expr.typing import ExprError, type_of
from dataflow.kernels.expressions import KERNELS, lower
from dataflow.kernels.lowered import series
from dataflow.kernels.types import to_polars
from runners.reference.expressions import aggregate, column, evaluate
from runners.reference.values import fit, identity
from tests.properties.column_strategies import SCHEMA, SPANS, aggregates, expressions, rows, windows

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def sized(examples: int) -> settings:
    return settings(
        max_examples=examples * 20 if LARGE else examples, deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much,
                               HealthCheck.large_base_example],
    )  # fmt: skip


def frame(records: list[dict[str, Any]], schema: Schema) -> pl.DataFrame:
    return pl.DataFrame([series([row[name] for row in records], kind).alias(name) for name, kind in schema.items()])


def close(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        if math.isnan(one) or math.isnan(two):
            return math.isnan(one) and math.isnan(two)
        return one == two or math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(close, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(close(one[key], two[key]) for key in one)
    if isinstance(one, Decimal) and isinstance(two, Decimal):
        return one == two
    return type(one) is type(two) and identity(one) == identity(two)


def judged(run: Any) -> Any:
    """The reference's result, or the error that it says is the meaning."""
    try:
        return run()
    except (ArithmeticError, ValueError, OverflowError) as error:
        return error


def compared(node: Any, wanted: Any, run: Any, kind: DType) -> None:
    try:
        found: pl.Series = run()
    except pl.exceptions.PolarsError as error:
        if isinstance(wanted, Exception):
            return
        raise AssertionError(f"{show(node)}: {error}") from error
    if isinstance(wanted, Exception):
        event("only the reference fails")
        return
    assert found.dtype == to_polars(kind), f"{show(node)} is {found.dtype}, and {kind} was said"
    made = [fit(value, kind) for value in found.to_list()]
    for at, (one, two) in enumerate(zip(made, wanted, strict=True)):
        assert close(one, two), f"{show(node)}: row {at} is {one!r}, and {two!r} is right"


@sized(150)
@given(expressions(SCHEMA), rows(SCHEMA, 4))
def test_expressions(node: Any, records: list[dict[str, Any]]) -> None:
    event(type(node).__name__)
    kind = type_of(node, SCHEMA)
    wanted = judged(lambda: column(node, records, SCHEMA))
    compared(node, wanted, lambda: frame(records, SCHEMA).lazy().select(lower(node, SCHEMA).alias("r")).collect()["r"], kind)


AROUND = [dt.datetime(2024, 3, 31), dt.datetime(2024, 10, 27), dt.datetime(2018, 11, 4, 3), dt.datetime(2024, 2, 15, 12)]


@sized(60)
@given(
    st.sampled_from(["dt.truncate", "dt.round"]), st.sampled_from([*SPANS, "2w", "5mo", "12h"]),
    st.sampled_from(["date", "datetime[us]", "datetime[ms]", "datetime[us, Europe/Berlin]", "datetime[us, America/Sao_Paulo]"]),
    st.lists(st.tuples(st.sampled_from([*AROUND, dt.datetime(1970, 1, 1)]), st.integers(-2000, 2000), st.integers(0, 99)), max_size=20),
)  # fmt: skip
def test_spans_of_time_near_where_clocks_change(operation: str, every: str, kind: str, places: list[tuple[Any, ...]]) -> None:
    schema = {"t": parse_type(kind)}
    node = Call(operation, (Column("t"),), (("every", every),))
    try:
        type_of(node, schema)
    except ExprError:
        return
    clocks = [start + dt.timedelta(minutes=10 * minutes, days=7 * days, milliseconds=days) for start, minutes, days in places]
    zone = schema["t"].args[1] if kind != "date" else None
    records = [
        {"t": one.date() if kind == "date" else one.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)) if zone else one} for one in clocks
    ]
    wanted = judged(lambda: column(node, records, schema))
    compared(node, wanted, lambda: frame(records, schema).lazy().select(lower(node, schema).alias("r")).collect()["r"], schema["t"])


NUMBERED: Schema = {**SCHEMA, "n": DType("int64")}
UNIQUE = SortKey(Column("n"))


def numbered(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "n": at} for at, row in enumerate(records)]


@sized(100)
@given(aggregates(NUMBERED, (SortKey(Column("f")), UNIQUE)), rows(SCHEMA).map(numbered), st.booleans())
def test_aggregates(node: Any, records: list[dict[str, Any]], grouped: bool) -> None:
    kind = type_of(node, NUMBERED)
    expr = lower(Alias(node, "r"), NUMBERED)
    if not grouped:
        wanted = judged(lambda: [aggregate(node, records, NUMBERED)])
        compared(node, wanted, lambda: frame(records, NUMBERED).lazy().select(expr).collect()["r"], kind)
        return
    groups = {flag: [row for row in records if row["flag"] is flag] for flag in (None, False, True)}
    wanted = judged(lambda: [aggregate(node, group, NUMBERED) for group in groups.values() if group])
    compared(node, wanted, lambda: frame(records, NUMBERED).lazy().group_by("flag").agg(expr).sort("flag").collect()["r"], kind)


@sized(100)
@given(windows(NUMBERED, UNIQUE), rows(SCHEMA).map(numbered))
def test_windows(node: Window, records: list[dict[str, Any]]) -> None:
    try:
        kind = type_of(node, NUMBERED)
    except ExprError:
        return
    wanted = judged(lambda: column(node, records, NUMBERED))
    compared(node, wanted, lambda: frame(records, NUMBERED).lazy().select(lower(node, NUMBERED).alias("r")).collect()["r"], kind)


@pytest.mark.parametrize("rows", [None, (-1, 1)])
@pytest.mark.parametrize("function", ["all", "any", "min", "max", "sum", "mean", "count", "first", "n_unique"])
def test_windows_of_nothing_but_nulls(function: str, rows: Any) -> None:
    from dataflow import Pipeline, col, lit

    query = Pipeline().create([{"a": n} for n in range(3)]).select(r=getattr(lit(None), function)().over(order_by=col("a"), rows=rows))
    assert query.collect() == query.collect(runner="reference")


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("function", ["std", "var"])
def test_the_spread_of_one_nan_in_a_window_is_nan(function: str, distinct: bool) -> None:
    node = Window(
        Aggregate(function, (Column("f"),), options=(("ddof", 0),), distinct=distinct),
        (), (SortKey(Column("n")),), Frame("rows", 0, None),
    )  # fmt: skip
    records = numbered([{"f": value} for value in (1.0, None, math.nan, None)])
    wanted = column(node, records, {"f": FLOAT64, "n": INT64})
    found = frame(records, {"f": FLOAT64, "n": INT64}).select(lower(node, {"f": FLOAT64, "n": INT64}))
    assert close(found.to_series().to_list(), wanted)


def test_the_spread_of_a_group_of_nulls_is_null() -> None:
    node = Aggregate("std", (Column("flag"),), options=(("ddof", 0),), distinct=True)
    found = frame([{"n": 1, "flag": None}], {"n": INT64, "flag": BOOL}).group_by("n").agg(lower(node, {"n": INT64, "flag": BOOL}))
    assert found["flag"].to_list() == [None]


@pytest.mark.parametrize("kind", ["decimal(20, 3)", "decimal(5, 5)", "decimal(38, 0)"])
def test_a_float_that_a_decimal_has_no_digits_for_is_null_where_it_may_be(kind: str) -> None:
    values = [1.8446744073709552e19, 1e17, 99999.9999, 0.999994, 0.999996, -1e39, math.nan, math.inf, None, -0.5]
    node = Cast(Column("f"), parse_type(kind), strict=False)
    wanted = [evaluate(node, {"f": value}, {"f": FLOAT64}) for value in values]
    assert frame([{"f": value} for value in values], {"f": FLOAT64}).select(lower(node, {"f": FLOAT64}))["f"].to_list() == wanted


def test_every_operation_has_a_kernel() -> None:
    from dataflow.expr.operations import AGGREGATES, OPERATIONS, RANKINGS
    from dataflow.kernels.aggregates import AGGREGATE_KERNELS
    from dataflow.kernels.windows import RANKING_KERNELS

    assert set(KERNELS) == set(OPERATIONS)
    assert set(AGGREGATE_KERNELS) == set(AGGREGATES)
    assert set(RANKING_KERNELS) == set(RANKINGS)


@pytest.mark.parametrize("operation", ["and", "or"])
def test_a_chain_of_thousands_is_one_node(operation: str) -> None:
    from dataflow import col
    from dataflow.expr.expression import Expr

    expr: Expr = col("x") == -1
    for n in range(5000):
        expr = expr | (col("x") == n) if operation == "or" else expr & (col("x") != n)
    schema = {"x": DType("int64")}
    assert type_of(expr.node, schema) == DType("bool")
    found = pl.LazyFrame({"x": [1, 9999]}).select(lower(expr.node, schema).alias("r")).collect()["r"].to_list()
    assert found == ([True, False] if operation == "or" else [False, False])
