"""The first half of an aggregation is left out where it finds nothing to put together, and the second half makes the same of either."""

from __future__ import annotations

from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col
from dataflow.execution import first_halves

ROWS = 40_000


def grouped(source, key, placement="partitioned"):
    numbers = source.group_by(key).agg(
        total=col("x").sum(), most=col("x").max(), some=col("x").count(), all=col("x").len(), mean=col("x").mean(),
        above=col("x").sum().filter(col("x") > 3), any=(col("x") > 8).any(),
    )  # fmt: skip
    found = numbers.collect(mode="in_process", progress=False, placement=placement)
    return sorted(found, key=lambda row: row[key])


@pytest.fixture
def path(tmp_path):
    column = [None if at % 5 == 0 else at % 10 for at in range(ROWS)]
    pq.write_table(pa.table({"each": range(ROWS), "few": [at % 3 for at in range(ROWS)], "x": column}), tmp_path / "t.parquet")
    return str(tmp_path / "t.parquet")


@pytest.mark.parametrize(("key", "left_out"), [("each", True), ("few", False)])
@pytest.mark.parametrize("scanned", [True, False])
def test_groups_of_one_record_are_not_made_twice(path, key, left_out, scanned):
    seen = []
    real = first_halves.pays

    def pays(*given):
        seen.append(real(*given))
        return seen[-1]

    source = Pipeline().read_parquet(path) if scanned else Pipeline().from_arrow(pq.read_table(path))
    with patch("dataflow.execution.queries.pays", pays), patch("dataflow.execution.query_steps.pays", pays):
        found = grouped(source, key)
    assert seen
    assert not any(seen) if left_out else all(seen)
    assert found == grouped(Pipeline().read_parquet(path), key, "whole")


def test_a_group_that_is_large_is_always_put_together(tmp_path):
    keys = [0 if at % 50 == 0 else at for at in range(ROWS)]
    pq.write_table(pa.table({"k": keys, "x": range(ROWS)}), tmp_path / "t.parquet")
    seen = []
    real = first_halves.pays
    with patch("dataflow.execution.queries.pays", lambda *given: seen.append(real(*given)) or seen[-1]):
        grouped(Pipeline().read_parquet(str(tmp_path / "t.parquet")), "k")
    assert all(seen)
