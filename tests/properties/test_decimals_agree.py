"""Sums, differences and products of decimals in the kernel are exact, or an error where 38 digits do not hold them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dataflow import Pipeline, col, lit
from dataflow.errors import DataflowError

pytest.importorskip("polars")
RELAXED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = [(1, 0), (3, 3), (15, 2), (18, 18), (31, 4), (38, 0), (38, 6), (38, 30)]
WIDE = Context(prec=200)
INTEGERS = [1, -3, None, 2**62]


@st.composite
def numbers(draw: Any) -> tuple[int, int, list[Decimal | None]]:
    """Digits and scale of a type, and four values of it: of any number of digits up to the most."""
    digits, scale = draw(st.sampled_from(KINDS))
    stored = st.integers(0, digits).flatmap(lambda n: st.integers(-(10**n) + 1, 10**n - 1))
    found = draw(st.lists(st.one_of(st.none(), stored), min_size=4, max_size=4))
    return digits, scale, [None if one is None else WIDE.scaleb(Decimal(one), -scale) for one in found]


@RELAXED
@given(numbers(), numbers(), st.sampled_from("+-*qicz"))
def test_arithmetic(one: Any, two: Any, operation: str) -> None:
    (p1, s1, left), (p2, s2, right) = one, two
    assume(s1 + s2 <= 36 or operation in "+-")
    a, b = col("a"), col("b")
    both = list(zip(left, right, strict=True))
    expr, wanted = {
        "+": lambda: (a + b, [held(WIDE.add, max(s1, s2), x, y) for x, y in both]),
        "-": lambda: (a - b, [held(WIDE.subtract, max(s1, s2), x, y) for x, y in both]),
        "*": lambda: (a * b, [held(WIDE.multiply, s1 + s2, x, y) for x, y in both]),
        "q": lambda: (a * lit(Decimal("0.25")), [held(WIDE.multiply, s1 + 2, x, Decimal("0.25")) for x in left]),
        "i": lambda: (a * col("i"), [held(WIDE.multiply, s1, x, y) for x, y in zip(left, INTEGERS, strict=True)]),
        "c": lambda: (a * (1 - b), [held(WIDE.multiply, s1 + s2, x, held(WIDE.subtract, s2, 1, y)) for x, y in both]),
        "z": lambda: (0 - a * b * 3, [held(WIDE.multiply, s1 + s2, held(WIDE.multiply, s1 + s2, x, y), -3) for x, y in both]),
    }[operation]()
    table = pa.table({"a": pa.array(left, pa.decimal128(p1, s1)), "b": pa.array(right, pa.decimal128(p2, s2)), "i": pa.array(INTEGERS)})
    try:
        made = [row["value"] for row in Pipeline().from_arrow(table).select(value=expr).collect(mode="in_process", progress=False)]
    except DataflowError:
        assert "refused" in wanted or "null or refused" in wanted
    else:
        assert made == [None if one == "null or refused" else one for one in wanted]


def held(operation: Callable[[Any, Any], Decimal], scale: int, x: Any, y: Any) -> Any:
    """The exact result, if a decimal of 38 digits at this scale holds it."""
    if "refused" in (x, y):
        return "refused"
    if x is None or y is None or "null or refused" in (x, y):
        # the one that is there is brought to the result's scale first, and may not fit it
        known = [one for one in (x, y) if isinstance(one, (Decimal, int))]
        return "null or refused" if any(abs(WIDE.scaleb(Decimal(one), scale)) >= 10**38 for one in known) else None
    value = operation(Decimal(x), Decimal(y))
    return value if abs(WIDE.scaleb(value, scale)) < 10**38 else "refused"
