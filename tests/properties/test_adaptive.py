"""Generated relational plans, cut wherever they can be: what sizes decide while they run changes nothing of their results.

Ranges of a few hundred bytes, heavy from a hundred on, so that keys are split and buckets cut among a handful of records; and a join's
side that is made first is taken whole always, never, or by turns, whatever its size; first halves of aggregations are left out likewise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.execution import hashed_run, queries, query_steps, shuffle
from dataflow.optimizer import cutting_joins
from dataflow.physical import whole_sides
from dataflow.scheduling import inputs
from dataflow.shard import narrow, repeats
from tests.properties.column_strategies import rows
from tests.properties.test_relations import TABLE, Step, bag, endings, steps, table

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def deciding(how: str) -> ExitStack:
    """The engine with small sizes, which takes sides whole as ``how`` says."""
    asked = iter(range(1 << 30))
    real = whole_sides.undecided

    def undecided(*given: Any) -> Iterator[tuple[str, int, int]]:
        for shuffle_, side, _ in real(*given):
            yield shuffle_, side, 1 << 40 if how == "always" or (how == "by turns" and next(asked) % 2) else -1

    def pays(*_: Any) -> bool:
        return how == "never" or (how == "by turns" and bool(next(asked) % 2))

    stack = ExitStack()
    for owner, name, value in (
        (inputs, "LEAST_BYTES", 300), (shuffle, "BLOCK_BYTES", 500), (hashed_run, "HEAVY_BYTES", 100), (hashed_run, "HEAVY_SHARE", 0),
        (cutting_joins, "BROADCAST_SHARE", 0), (whole_sides, "undecided", undecided),
        (queries, "pays", pays), (query_steps, "pays", pays),
        (repeats, "LEAST", 1), (repeats, "SHARE", 1), (repeats, "FEW", 2), (narrow, "ROOM", 1),
    ):  # fmt: skip
        stack.enter_context(patch.object(owner, name, value))
    return stack


@pytest.mark.parametrize("how", ["never", "always", "by turns"])
@settings(
    max_examples=400 if LARGE else 20, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(rows(TABLE), rows(TABLE, 5), st.lists(steps(), min_size=1, max_size=4), endings(), st.integers(1, 40))
def test_plans(how: str, left: list[Any], right: list[Any], some: list[tuple[str, Step]], end: tuple[str, Step], times: int) -> None:
    assume(left and right)

    def build() -> PCollection[Any]:
        pipeline = Pipeline()
        a, b = table(pipeline, left[:-1] + left[-1:] * times), table(pipeline, right)
        b = b.filter(col("i8").is_null() | (col("i8") > -1000))  # all of them; how many, only running it can say
        for _, step in (*some, end):
            a = step(a, b)
        return a

    text = " > ".join(text for text, _ in (*some, end))
    try:
        judged = build().collect(runner="reference")
    except Exception:
        assume(False)
    with deciding(how):
        found = build().collect(mode="in_process", progress=False, placement="partitioned", memory="1KiB")
    found, judged = ([dict(sorted(row.items())) for row in records] for records in (found, judged))
    left_over, missing = [row for row in bag(found) if row not in bag(judged)], [row for row in bag(judged) if row not in bag(found)]
    assert bag(found) == bag(judged), f"{text}: {left_over[:2]} came, and {missing[:2]} did not"
