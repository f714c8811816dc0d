"""The reference at its edges: decimals of all 38 digits, and membership in many constants, which says what comparing one by one says."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.expr.types import decimal_of, parse_type
from dataflow.expr.typing import fitted, type_of
from runners.reference.expressions import evaluate
from runners.reference.operations import MEANINGS
from runners.reference.values import Site, fit

NINES, LESS = Decimal("9" * 38), Decimal("-" + "9" * 38)  # Python's own minus rounds to 28 digits


@pytest.mark.parametrize("scale", [0, 1, 2, 19, 37, 38])
def test_decimals_of_all_digits_are_held(scale: int) -> None:
    for digits in ("9" * 38, "1" + "0" * 37, "9" * 28 + "5" + "0" * 9, "12345678901234567890123456789012345678"):
        for sign in ("", "-"):
            value = Decimal(f"{sign}{digits}").scaleb(-scale) if len(digits) <= 28 else Decimal(f"{sign}{digits}e-{scale}")
            assert fit(value, decimal_of(38, scale)) == value
    for beyond in (f"1{'0' * 38}e-{scale}", f"-1{'0' * 38}e-{scale}", f"{'9' * 38}.5e-{scale}", "Infinity", "NaN"):
        with pytest.raises(OverflowError):
            fit(Decimal(beyond), decimal_of(38, scale))


def test_a_narrow_decimal_holds_what_rounds_into_it() -> None:
    assert fit(Decimal("99.994"), decimal_of(4, 2)) == Decimal("99.99")
    with pytest.raises(OverflowError):
        fit(Decimal("99.995001"), decimal_of(4, 2))


def test_the_kernel_and_the_reference_agree_on_wide_decimals() -> None:
    table = pa.table({"d": pa.array([NINES, LESS, Decimal(1), None], pa.decimal128(38, 0))})

    def found(**options: Any) -> Any:
        p = Pipeline()
        rows = p.from_arrow(table)
        return (
            rows.select("d", m=-col("d"), a=col("d").abs(), i=col("d").is_in([int(NINES), 1])).collect(**options),
            rows.group_by().agg(low=col("d").min(), high=col("d").max(), s=col("d").sum()).collect(**options),
        )

    assert found(runner="reference") == found(mode="in_process", progress=False)
    assert found(runner="reference")[1] == [{"low": LESS, "high": NINES, "s": Decimal(1)}]


EAST = dt.timezone(dt.timedelta(hours=2))
MEMBERS: dict[str, tuple[str, list[Any], list[Any]]] = {
    "integers": ("int8", [1, -1, 5, None], [1, 300, 2**62, -1]),
    "integers and floats": ("int64", [1, 2, 2**53 + 1, None], [1.0, 2.5, 2.0**53, math.nan]),
    "floats": ("float64", [0.0, -0.0, math.nan, 1.5, math.inf, None], [-0.0, -math.nan, 1]),
    "small floats": ("float32", [0.10000000149011612, 2.0], [0.1, 2]),
    "decimals": ("decimal(15, 2)", [Decimal("1.50"), Decimal("2.00"), Decimal("0.05")], [1.5, 2, 0.05, Decimal("1.500")]),
    "text": ("string", ["a", "", "é", None], ["a", "é", ""]),
    "bools": ("bool", [True, False, None], [True]),
    "dates": ("date", [dt.date(2026, 1, 1), dt.date(2026, 1, 2)], [dt.datetime(2026, 1, 1), dt.date(2026, 1, 3)]),
    "instants": ("datetime[us, UTC]", [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], [dt.datetime(2026, 1, 1, 2, tzinfo=EAST)]),
    "durations": ("duration[ms]", [dt.timedelta(seconds=1), dt.timedelta(0)], [dt.timedelta(seconds=1)]),
    "lists": ("list[int64]", [[1, None], [1], [], None], [[1, None], [2]]),
}  # fmt: skip


@pytest.mark.parametrize("case", MEMBERS)
@pytest.mark.parametrize("some_null", [False, True])
def test_membership_is_what_comparing_one_by_one_says(case: str, some_null: bool) -> None:
    text, values, members = MEMBERS[case]
    schema = {"a": parse_type(text)}
    for count in range(len(members) + 1):
        for chosen in itertools.combinations(members, count):
            node = col("a").is_in([*chosen, *([None] if some_null else [])]).node
            types = fitted(node.args, tuple(type_of(arg, schema) for arg in node.args))  # type: ignore[attr-defined]
            given = [fit(evaluate(arg, {}, schema), kind) for arg, kind in zip(node.args[1:], types[1:], strict=True)]  # type: ignore[attr-defined]
            for value in values:
                expected = MEANINGS["is_in"](Site(types, parse_type("bool"), {}), fit(value, types[0]), *given)
                assert evaluate(node, {"a": value}, schema) is expected, (value, chosen)


def test_membership_in_many_constants_is_looked_up() -> None:
    begun = time.perf_counter()
    rows = Pipeline().create([{"a": n} for n in range(2_000)]).filter(col("a").is_in([*range(0, 40_000, 2), None]))
    assert len(rows.collect(runner="reference")) == 1_000
    assert time.perf_counter() - begun < 10  # a comparison of each with each took more than a minute


def test_membership_in_other_columns_is_compared() -> None:
    rows = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": None}]
    found = Pipeline().create(rows).select(i=col("a").is_in([col("b"), 5])).collect(runner="reference")
    assert found == [{"i": True}, {"i": False}, {"i": None}]
