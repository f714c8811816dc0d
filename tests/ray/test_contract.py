"""Pipelines of every kind give on a cluster what the reference runner gives."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.jobs.tpch import columns, columns_2
from benchmarks.jobs.tpch.data import generator, made
from benchmarks.jobs.tpch.tables import Tables
from dataflow import PCollection, Pipeline, col, counter
from dataflow.aggregators import AllOf, Count, Max, Mean, Sum, Top
from tests.properties.test_runners_agree import bag
from tests.ray.conftest import whole

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

LINES = [f"line {n} of {n % 7} and {n % 13} {'é' * (n % 3)}" for n in range(2000)]
PAIRS = [((n * 7919) % 101, n) for n in range(3000)]
ITEMS = [(n * 7919) % 1009 for n in range(4000)]

Build = Callable[[Pipeline], PCollection[Any]]


def numbers(p: Pipeline) -> PCollection[int]:
    """Numbers that lie in several files of the run, so that many tasks read them."""
    return p.create(ITEMS).redistribute(6)


def records(p: Pipeline) -> PCollection[Any]:
    return p.create([{"k": n % 17, "v": n, "s": str(n % 5)} for n in range(3000)])


BAGS: dict[str, Build] = {
    "word count": lambda p: p.create(LINES).redistribute(6).flat_map(str.split).count(),
    "group": lambda p: p.create(PAIRS).redistribute(5).as_table().group_by_key().map_groups(lambda k, vs: sorted(vs)),
    "aggregates": lambda p: p.create(PAIRS).redistribute(5).as_table().combine_per_key(AllOf(Sum(), Max(), Mean(), Count(), Top(2))),
    "distinct": lambda p: numbers(p).distinct(),
    "join": lambda p: numbers(p).key_by(lambda n: n % 50).join(p.create(PAIRS[:300]).as_table()),
    "full join": lambda p: numbers(p).key_by(lambda n: n % 50).join(p.create(PAIRS[:300]).as_table(), "full"),
    "cogroup": lambda p: (
        p.create(PAIRS)
        .as_table()
        .cogroup(p.create(PAIRS[:500]).as_table().map_values(str))
        .map(lambda pair: (pair[0], [sorted(side) for side in pair[1]]))
    ),
    "top": lambda p: numbers(p).top(10),
    "side inputs": lambda p: numbers(p).map(
        lambda n, total, few: (n / total, n in few), numbers(p).combine(Sum()), p.create([1, 2, 3]).as_list()
    ),
    "partition": lambda p: numbers(p).partition(3, lambda n: n % 3)[1],
    "union of branches": lambda p: numbers(p).map(str).union(numbers(p).filter(lambda n: n % 2 == 0).map(lambda n: "x" * (n % 9))),
    "aggregated records": lambda p: records(p).group_by("k").agg(total=col("v").sum(), kinds=col("s").n_unique(), n=col("v").count()),
    "joined records": lambda p: records(p).join(records(p).filter(col("v") < 40), on="k", how="left").select("k", "v", "v_right"),
    "window": lambda p: records(p).with_columns(share=col("v") / col("v").sum().over("k")),
    "nothing": lambda p: p.create([]).as_table().group_by_key().map(lambda pair: pair),
}


@pytest.mark.parametrize("name", BAGS)
def test_a_pipeline_gives_what_the_reference_gives(name: str, options: dict[str, Any]) -> None:
    judged = BAGS[name](Pipeline()).collect(runner="reference")
    found = BAGS[name](Pipeline()).collect(**options, placement="partitioned")
    assert bag(found) == bag(judged)


@pytest.mark.parametrize("descending", [False, True])
def test_a_sort_gives_the_order(descending: bool, options: dict[str, Any]) -> None:
    by_key = numbers(Pipeline()).sort(descending=descending).collect(**options)
    assert by_key == sorted(ITEMS, reverse=descending)
    by_function = numbers(Pipeline()).sort(key=lambda n: str(n), descending=descending).collect(**options)
    assert [str(n) for n in by_function] == sorted(map(str, ITEMS), reverse=descending)
    rows = records(Pipeline()).sort(["s", "v"], descending=descending).collect(**options, placement="partitioned")
    assert [(row["s"], row["v"]) for row in rows] == sorted(((str(n % 5), n) for n in range(3000)), reverse=descending)


def test_a_sort_of_much_data_comes_from_several_machines_in_order(options: dict[str, Any]) -> None:
    items = [f"{(n * 2654435761) % 1_000_003:08d}" + "x" * 100 for n in range(120_000)]
    assert Pipeline().create(items).redistribute(6).sort().collect(**{**options, "memory": "16MiB"}) == sorted(items)


def test_tagged_outputs_counters_and_skipped_records(tmp_path: Path, options: dict[str, Any]) -> None:
    def parse(text: str) -> int:
        counter("seen").inc()
        return int(text)

    p = Pipeline()
    texts = [str(n) if n % 50 else f"no number {n}" for n in range(1000)]
    parsed = p.create(texts).redistribute(4).map(parse, on_error="skip", label="parse")
    even, odd = parsed.partition(2, lambda n: n % 2)
    odd.write_jsonl(str(tmp_path / "odd"))
    even.write_jsonl(str(tmp_path / "even"))
    result = p.run(**options)
    assert whole(tmp_path / "even") == [n for n in range(0, 1000, 2) if n % 50] and whole(tmp_path / "odd") == list(range(1, 1000, 2))
    assert result.counters["seen"] == 1000 and result.skipped == 20
    skipped = list(result.skipped_records())
    assert sorted(record.record for record in skipped) == sorted(repr(text) for text in texts if text.startswith("no"))
    assert {record.step for record in skipped} == {"parse"} and "ValueError" in skipped[0].error
    step = next(step for step in result.steps if step.label == "parse")
    assert (step.rows_in, step.rows_out, step.skipped) == (1000, 980, 20)


def test_sinks_of_every_kind(tmp_path: Path, options: dict[str, Any]) -> None:
    p = Pipeline()
    rows = records(p)
    rows.write_parquet(str(tmp_path / "parquet"))
    rows.write_csv(str(tmp_path / "csv"))
    rows.write_parquet(str(tmp_path / "hive"), partition_by=["s"])
    result = p.run(**options)
    assert [output.rows for output in result.outputs] == [3000] * 3
    assert sorted(pq.read_table(tmp_path / "parquet")["v"].to_pylist()) == list(range(3000))
    found = [row for path in (tmp_path / "csv").glob("*.csv") for row in csv.DictReader(path.read_text().splitlines())]
    assert sorted(int(row["v"]) for row in found) == list(range(3000))
    assert sorted(path.name for path in (tmp_path / "hive").iterdir() if path.is_dir()) == [f"s={n}" for n in range(5)]
    assert sorted(pq.read_table(tmp_path / "hive")["v"].to_pylist()) == list(range(3000))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = generator()
    if program is None:
        pytest.skip("the tables are made by tpchgen-cli, which is not installed")
    return made(tmp_path_factory.mktemp("tables"), 0.01, program)


@pytest.mark.parametrize("number", [1, 3, 5, 9, 18, 21])
def test_queries_of_tpch(number: int, tables: Path, options: dict[str, Any]) -> None:
    query = getattr(columns, f"q{number}", None) or getattr(columns_2, f"q{number}")
    judged = query(Tables.read(Pipeline(), tables)).collect(mode="in_process", progress=False)
    found = query(Tables.read(Pipeline(), tables)).collect(**options, placement="partitioned")
    assert len(found) == len(judged) > 0
    assert bag(found) == bag(judged)
