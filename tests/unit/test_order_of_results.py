"""Records of a query that has no order come in the same order each time, where tasks tell rows by their number."""

import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dataflow import Pipeline, col, len_
from dataflow.api.collection import PCollection
from dataflow.execution.leaves import leaf_of_table, results
from dataflow.optimizer.optimize import optimize
from dataflow.optimizer.rule import Remarks
from dataflow.physical.program import QueryRoot
from dataflow.physical.stages import plan_phases
from tests.faults.test_workers import poisonous, tally

COUNT = 300_000
DRAW = np.random.default_rng(7)
LEFT = pa.table({"k": DRAW.integers(0, 90_000, COUNT), "n": np.arange(COUNT)})
RIGHT = pa.table({"k": DRAW.integers(0, 90_000, COUNT // 2), "m": np.arange(COUNT // 2)})


def ordered(query: PCollection) -> pa.Table:
    (phase,) = plan_phases(optimize((query.node,), Remarks())).phases
    root = phase.program.root
    assert isinstance(root, QueryRoot)
    leaves = [leaf_of_table(source.table) for source in root.inputs]  # type: ignore[union-attr]
    return pa.concat_tables(results(root.relation, leaves, ordered=True))


def firsts(keys: np.ndarray) -> np.ndarray:
    """Different keys in the order in which they first come."""
    _, at = np.unique(keys, return_index=True)
    return keys[np.sort(at)]


def test_groups_and_different_records_come_as_their_first_ones_do() -> None:
    left = Pipeline().from_arrow(LEFT)
    keys = firsts(LEFT["k"].to_numpy())
    assert np.array_equal(ordered(left.group_by("k").agg(count=len_()))["k"].to_numpy(), keys)
    assert np.array_equal(ordered(left.select("k").distinct())["k"].to_numpy(), keys)


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_joined_records_come_as_those_of_the_left_do_and_then_those_of_the_right(how: str) -> None:
    p = Pipeline()
    joined = p.from_arrow(LEFT).join(p.from_arrow(RIGHT), on="k", how=how)
    found = ordered(joined.with_columns(m=col("m").fill_null(-1)) if how in ("inner", "left") else joined)
    pairs = list(zip(found["n"].to_pylist(), found["m"].to_pylist())) if "m" in found.column_names else found["n"].to_pylist()
    assert pairs and pairs == sorted(pairs)


def test_fault_07_a_deadly_record_behind_a_grouping_costs_itself_alone(tmp_path: Path) -> None:
    """The parts of its task run the grouping again, each by itself, and take rows of its result by their numbers."""
    note = tally(tmp_path / "deaths")
    deadly = poisonous(note, 777)
    keys = list(range(3_000))
    random.Random(3).shuffle(keys)
    p = Pipeline()
    table = pa.table({"k": keys * 2, "x": [1] * 6_000})
    grouped = p.from_arrow(table).group_by("k").agg(x=col("x").sum())
    found = grouped.map(lambda row: (deadly(row["k"]), row["x"]), on_error="skip").collect(
        workers=2, mode="processes", placement="partitioned"
    )
    assert sorted(found) == [(k, 2) for k in range(3_000) if k != 777]
    assert os.path.exists(tmp_path / "deaths")
