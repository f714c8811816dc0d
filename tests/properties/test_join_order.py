"""Joins in any order give what they give as written: generated trees of joins, put in an order that is drawn, against the reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.optimizer.join_order import Tree
from dataflow.optimizer.rules import reorder_joins
from tests.properties.test_relations import bag

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
TYPES = {
    "i": (pa.int64(), [None, 0, 1, 2, 3]), "j": (pa.int32(), [None, 0, 1, 2]), "f": (pa.float64(), [None, float("nan"), 0.0, -0.0, 1.0]),
    "s": (pa.string(), [None, "", "a", "b"]), "d": (pa.decimal128(9, 2), [None, Decimal("1.00"), Decimal("2.50")]),
}  # fmt: skip
Table = dict[str, list[Any]]


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[pa.Table, dict[str, str]]]:
    """Some tables, and of each the kind of its columns. Names may come in several."""
    found = []
    for at in range(draw(st.integers(3, 5))):
        own = draw(st.sampled_from(["", str(at)]))
        kinds = {f"{kind}{own}": kind for kind in TYPES}
        rows = draw(st.integers(0, 6))
        columns = {
            name: pa.array(draw(st.lists(st.sampled_from(TYPES[kind][1]), min_size=rows, max_size=rows)), TYPES[kind][0])
            for name, kind in kinds.items()
        }
        found.append((pa.table(columns), kinds))
    return found


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[list[tuple[pa.Table, dict[str, str]]], list[tuple[Any, ...]]]:
    """Tables, and steps that join the next one to what there is, with filters and choices of columns between."""
    given = draw(tables())
    have = dict(given[0][1])
    steps: list[tuple[Any, ...]] = []
    for at, (_, kinds) in enumerate(given[1:], 1):
        meets = [(one, two) for one, a in have.items() for two, b in kinds.items() if a == b or {a, b} == {"i", "j"}]
        keys = draw(st.lists(st.sampled_from(meets), min_size=0, max_size=2, unique=True)) if meets else []
        keys = [pair for n, pair in enumerate(keys) if pair[0] not in [k[0] for k in keys[:n]] and pair[1] not in [k[1] for k in keys[:n]]]
        suffix = f"_{at}"
        steps.append(("join", at, keys, suffix))
        shared = [two for one, two in keys if one == two]
        have |= {(name + suffix if name in have else name): kind for name, kind in kinds.items() if name not in shared}
        numbers = [name for name, kind in have.items() if kind in ("i", "j")]
        for kind in draw(st.lists(st.sampled_from(["less", "equal", "either", "select", "rename"]), max_size=2)):
            pair = (draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers)))
            if kind == "select":
                kept = draw(st.lists(st.sampled_from(sorted(have)), min_size=4, unique=True))
                kept += [name for name in numbers[:1] if name not in kept]
                have = {name: have[name] for name in kept}
                numbers = [name for name in numbers if name in have]
                steps.append((kind, kept))
            elif kind == "rename":
                new = f"{pair[0]}_new{at}"
                if new not in have:
                    have = {**have, new: have[pair[0]]}
                    steps.append((kind, pair[0], new))
            else:
                steps.append((kind, *pair))
    return given, steps


def built(given: Sequence[tuple[pa.Table, dict[str, str]]], steps: Sequence[tuple[Any, ...]]) -> PCollection[Any]:
    pipeline = Pipeline()
    made = [pipeline.from_arrow(table, label=f"t{at}") for at, (table, _) in enumerate(given)]
    whole: PCollection[Any] = made[0]
    for step in steps:
        match step:
            case ("join", at, [], suffix):
                whole = whole.join(made[at], how="cross", suffix=suffix)
            case ("join", at, keys, suffix):
                whole = whole.join(made[at], left_on=[one for one, _ in keys], right_on=[two for _, two in keys], suffix=suffix)
            case ("less", one, two):
                whole = whole.filter(col(one) <= col(two))
            case ("equal", one, two):
                whole = whole.filter(col(one) == col(two))
            case ("either", one, two):
                whole = whole.filter((col(one) == 1) | col(two).is_null() | (col(two) > 0))
            case ("select", names):
                whole = whole.select(*names)
            case ("rename", old, new):
                whole = whole.with_columns(**{new: col(old)})
    return whole


@st.composite
def orders(draw: st.DrawFn) -> list[int]:
    return draw(st.lists(st.integers(0, 1000), min_size=20, max_size=20))


def drawn(numbers: list[int]) -> Any:
    """In the place of `cheapest`: a tree that the numbers choose, of any tables, also of such as have nothing in common."""

    def tree(neighbours: Sequence[int], rows: Any) -> Tree:
        left: list[Tree] = list(range(len(neighbours)))
        for at in range(len(neighbours) - 1):
            one = left.pop(numbers[2 * at] % len(left))
            two = left.pop(numbers[2 * at + 1] % len(left))
            left.append((one, two))
        return left[0]

    return tree


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@settings(
    max_examples=400 if LARGE else 40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(pipelines(), orders())
def test_any_order_of_joins_gives_the_same(placement: str, made: Any, numbers: list[int]) -> None:
    judged = built(*made).collect(runner="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reorder_joins, "cheapest", drawn(numbers))
        patch.setattr(reorder_joins, "GAIN", float("inf"))
        ordered = built(*made)
        found = ordered.collect(mode="in_process", progress=False, placement=placement, memory="64MiB")
        assert bag(found) == bag(judged)
        assert [list(row) for row in found[:1]] == [list(row) for row in judged[:1]]
