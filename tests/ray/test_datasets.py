"""Ray Data's datasets as sources and results."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.errors import InputError, PlanError, PreflightError, SchemaError
from tests.properties.test_runners_agree import bag

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

TABLE = pa.table(
    {
        "n": np.arange(3000),
        "text": [f"text {n % 11}" for n in range(3000)],
        "day": pa.array([dt.date(2026, 1, 1 + n % 28) for n in range(3000)]),
        "maybe": pa.array([None if n % 3 else n / 2 for n in range(3000)]),
        "many": pa.array([[n, n + 1] for n in range(3000)]),
    }
)


# one run each way goes to the cluster: its agents take seconds
HERE: dict[str, Any] = {"runner": "local", "mode": "in_process", "progress": False}


@pytest.fixture
def data(machines: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ray Data on the cluster, with no bars."""
    pytest.importorskip("pandas", reason="Ray Data needs pandas")
    import ray

    from runners.ray.cluster import Cluster

    monkeypatch.setattr(Cluster, "idle", Cluster.idle)  # making a dataset gives all cores back from then on

    if not ray.is_initialized():
        ray.init(machines.address, log_to_driver=False, configure_logging=False)
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data


def in_parts(data: Any, table: pa.Table = TABLE, parts: int = 4) -> Any:
    rows = -(-table.num_rows // parts)
    return data.from_arrow([table.slice(at, rows) for at in range(0, table.num_rows, rows)])


def test_rows_of_a_dataset_are_read_on_the_cluster(data: Any, options: dict[str, Any]) -> None:
    p = Pipeline()
    rows = p.from_ray(in_parts(data))
    assert list(rows.schema or ()) == TABLE.column_names
    found = rows.map(lambda row: {**row, "n": row["n"] + 1}).collect(**options)
    assert bag(found) == bag([{**row, "n": row["n"] + 1} for row in TABLE.to_pylist()])


@pytest.mark.parametrize("local", [{"mode": "in_process"}, {"mode": "processes", "workers": 1}])
def test_rows_of_a_dataset_are_read_on_this_machine(data: Any, local: dict[str, Any]) -> None:
    found = Pipeline().from_ray(in_parts(data)).map(lambda row: row["n"]).collect(**local, progress=False)
    assert sorted(found) == list(range(3000))


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_queries_over_a_dataset(data: Any, placement: str) -> None:
    query = Pipeline().from_ray(in_parts(data)).filter(col("n") >= 10).group_by("text").agg(total=col("n").sum(), last=col("day").max())
    judged = Pipeline().from_arrow(TABLE).filter(col("n") >= 10).group_by("text").agg(total=col("n").sum(), last=col("day").max())
    assert bag(query.collect(**HERE, placement=placement)) == bag(judged.collect(runner="reference"))


def test_a_dataset_that_is_not_computed_yet_is_computed_once(data: Any, tmp_path: Path) -> None:
    log = str(tmp_path)

    def double(batch: dict[str, Any]) -> dict[str, Any]:
        import os

        with open(f"{log}/{os.urandom(8).hex()}", "w"):
            return {"n": batch["id"] * 2}

    dataset = data.range(1000, override_num_blocks=4).map_batches(double, batch_size=None)
    rows = Pipeline().from_ray(dataset)
    assert sorted(row["n"] for row in rows.collect(**HERE)) == list(range(0, 2000, 2))
    ran = len(list(tmp_path.iterdir()))
    assert len(rows.filter(col("n") < 100).collect(**HERE)) == 50
    assert len(list(tmp_path.iterdir())) == ran


def test_limited_and_pandas_datasets(data: Any) -> None:
    assert len(Pipeline().from_ray(in_parts(data).limit(1234)).collect(**HERE)) == 1234
    found = Pipeline().from_ray(data.from_pandas([TABLE.select(["n", "text"]).to_pandas()])).collect(**HERE)
    assert bag(found) == bag(TABLE.select(["n", "text"]).to_pylist())
    assert Pipeline().from_ray(data.from_arrow(TABLE.slice(0, 0))).collect(**HERE) == []


def test_blocks_are_read_without_a_copy(data: Any) -> None:
    import pickle

    import ray

    table = pa.table({"n": np.arange(1_000_000)})
    node: Any = Pipeline().from_ray(data.from_arrow_refs([ray.put(table)])).node
    source = node.source
    (split,) = source.splits(1 << 30)
    here = split.extra.table()["n"].chunk(0).buffers()[1]
    sent = pickle.dumps(split)
    there = pickle.loads(sent).extra.table()["n"].chunk(0).buffers()[1]
    assert len(sent) < 2000 and here.address == there.address and not there.is_mutable
    (half, other) = source.splits(table.nbytes // 2)
    assert (len(half.extra.table()), len(other.extra.table())) == (500_000, 500_000)


def test_only_datasets_come_from_ray(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlanError, match="needs a ray.data.Dataset, not Table"):
        Pipeline().from_ray(TABLE)
    monkeypatch.setitem(sys.modules, "runners.ray.datasets", None)
    with pytest.raises(PlanError, match="cannot be used"):
        Pipeline().from_ray(TABLE)


def test_pickled_objects_are_refused(data: Any) -> None:
    dataset = data.from_items([{"x": object()}, {"x": object()}])
    with pytest.raises(PreflightError, match="holds pickled objects"):
        Pipeline().from_ray(dataset).collect(progress=False)


def test_a_dataset_that_cannot_be_computed_is_an_error_before_any_work(data: Any) -> None:
    from runners.ray.datasets import source_of

    def fail(batch: Any) -> Any:
        raise ValueError("no such thing")

    dataset = data.range(10).map_batches(fail)
    with pytest.raises(InputError, match="cannot be computed: ValueError: no such thing") as told:
        source_of(dataset).columns()
    assert "UserCodeException" in type(told.value.__cause__).__name__
    with pytest.raises(PreflightError, match="cannot be computed: ValueError: no such thing") as caught:
        Pipeline().from_ray(dataset).collect(progress=False)
    assert 'in fail: raise ValueError("no such thing")' in str(caught.value) and "UDF failed" not in str(caught.value)


def test_a_collection_becomes_a_dataset(data: Any, options: dict[str, Any]) -> None:
    made = Pipeline().from_arrow(TABLE).redistribute(4).to_ray(**{name: value for name, value in options.items() if name != "runner"})
    assert made.count() == 3000 and made.num_blocks() == 4
    assert made.schema().base_schema.types == TABLE.schema.types
    assert bag(made.take_all()) == bag(TABLE.to_pylist())
    assert made.map_batches(lambda batch: {"n": batch["n"] + 1}).sum("n") == sum(range(1, 3001))


def test_columns_of_a_dataset_are_those_of_all_parts(data: Any) -> None:
    def odd(n: int) -> dict[str, Any]:
        return {"n": n} if n < 500 else {"n": n + 0.5, "more": "x"}

    made = Pipeline().create(range(1000)).redistribute(3).map(odd).to_ray(**HERE)
    assert made.columns() == ["n", "more"] and made.sum("n") == sum(range(1000)) + 250
    pairs = Pipeline().create([(1, "a"), (2, "b")]).to_ray(**HERE).sort("key").take_all()
    assert pairs == [
        {"key": 1, "value": "a"},
        {"key": 2, "value": "b"},
    ]
    nothing = Pipeline().from_arrow(TABLE).filter(col("n") < 0).to_ray(**HERE)
    assert nothing.count() == 0
    with pytest.raises(SchemaError):
        Pipeline().create([1, "a"]).to_ray(**HERE)


def test_a_small_collection_of_this_process_becomes_a_dataset(data: Any) -> None:
    assert Pipeline().create([{"n": 1}, {"n": 2}]).to_ray(progress=False).sum("n") == 3
    assert Pipeline().create([{"n": 1}, {"n": 2}]).to_ray(runner="local", progress=False).sum("n") == 3


def test_there_and_back(data: Any) -> None:
    made = Pipeline().from_ray(in_parts(data)).select("n", "day").to_ray(**HERE)
    again = Pipeline().from_ray(made).sort("n").collect(**HERE)
    assert again == TABLE.select(["n", "day"]).to_pylist()
