"""The laws of aggregators: merge is associative and commutative, create is its identity, add is merge with one value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.aggregators import (
    Aggregator,
    AllOf,
    ApproxDistinct,
    ApproxQuantiles,
    Collect,
    CollectSet,
    Count,
    First,
    Max,
    Mean,
    Min,
    Sum,
    Top,
    Variance,
    combine,
)  # fmt: skip
from dataflow.algebra.aggregator import as_aggregator, reducing

EXACT: dict[str, Any] = {
    "sum": Sum, "count": Count, "min": Min, "max": Max, "mean": Mean, "set": CollectSet, "top": lambda: Top(3),
    "smallest": lambda: Top(2, smallest=True), "all": lambda: AllOf(Sum(), Count(), Max()), "fold": lambda: reducing(lambda a, b: a * b),
    "distinct": ApproxDistinct, "of_iterable": lambda: as_aggregator(lambda values: sum(values)),
}  # fmt: skip
parts = st.lists(st.lists(st.integers(-50, 50), max_size=6), min_size=3, max_size=3)


def accumulated(aggregator: Aggregator[Any, Any, Any], values: list[Any]) -> Any:
    acc = aggregator.create()
    for value in values:
        acc = aggregator.add(acc, value)
    return acc


@pytest.mark.parametrize("name", sorted(EXACT))
@given(parts)
def test_any_grouping_and_order_gives_the_same(name: str, three: list[list[int]]) -> None:
    def fresh(index: int) -> Any:
        return accumulated(EXACT[name](), three[index])

    one = EXACT[name]()
    expected = one.present(accumulated(one, three[0] + three[1] + three[2]))
    assert one.present(one.merge(one.merge(fresh(0), fresh(1)), fresh(2))) == expected
    assert one.present(one.merge(fresh(0), one.merge(fresh(1), fresh(2)))) == expected
    assert one.present(one.merge(one.merge(fresh(2), fresh(0)), fresh(1))) == expected
    assert one.present(one.merge(one.create(), accumulated(one, three[0]))) == one.present(fresh(0))
    assert one.present(one.add_all(one.create(), three[0])) == one.present(fresh(0))


@given(parts)
def test_variance_merges(three: list[list[int]]) -> None:
    one = Variance()
    flat = [value for part in three for value in part]
    merged = one.present(one.merge(one.merge(*(accumulated(one, part) for part in three[:2])), accumulated(one, three[2])))
    if len(flat) < 2:
        assert merged is None
    else:
        mean = sum(flat) / len(flat)
        assert merged is not None
        assert math.isclose(merged, sum((x - mean) ** 2 for x in flat) / (len(flat) - 1), rel_tol=1e-9, abs_tol=1e-9)


@given(parts)
def test_collect_and_first_are_of_the_values(three: list[list[int]]) -> None:
    flat = [value for part in three for value in part]
    assert sorted(combine(Collect(), flat)) == sorted(flat)
    assert combine(First(), flat) in (flat or [None])


def test_sketches_are_near() -> None:
    assert abs(combine(ApproxDistinct(), range(50_000)) - 50_000) < 2_500
    low, middle, high = combine(ApproxQuantiles([0.05, 0.5, 0.95]), list(range(10_000)))
    assert abs(low - 500) < 300 and abs(middle - 5_000) < 300 and abs(high - 9_500) < 300


def test_beams_shape_is_an_aggregator() -> None:
    class MeanFn:
        def create_accumulator(self) -> Any:
            return (0, 0)

        def add_input(self, accumulator: Any, element: Any) -> Any:
            return accumulator[0] + element, accumulator[1] + 1

        def merge_accumulators(self, accumulators: Any) -> Any:
            return tuple(map(sum, zip(*accumulators)))

        def extract_output(self, accumulator: Any) -> Any:
            return accumulator[0] / accumulator[1]

    from dataflow import Pipeline

    table = Pipeline().create([("a", 1), ("a", 2), ("b", 5)]).as_table()
    assert sorted(table.combine_per_key(MeanFn()).collect(progress=False)) == [("a", 1.5), ("b", 5.0)]
