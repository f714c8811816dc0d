"""The verbs as a user meets them, those that the doctests do not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dataflow import DoFn, Pipeline, Tagged, col, counter
from dataflow.errors import PlanError, PreflightError, StepError

QUIET: dict[str, Any] = {"progress": False}
BOTH = pytest.mark.parametrize("mode", ["in_process", "processes"])


class Life(DoFn[int, str]):
    """Says when each part of its life was."""

    def setup(self) -> None:
        self.words = ["setup"]

    def start_bundle(self) -> Iterable[str]:
        return ["start"]

    def process(self, element: int, *sides: Any) -> Iterator[Any]:
        yield f"{self.words[0]} {element}"
        yield Tagged("odd" if element % 2 else "even", element)

    def finish_bundle(self) -> Iterable[str]:
        return ["finish"]


@BOTH
def test_a_dofn_lives_and_gives_tagged_outputs(mode: str) -> None:
    outputs = Pipeline(mode=mode, **QUIET).create([1, 2, 3]).parallel_do(Life(), tags=["odd", "even"])
    assert outputs.main.collect() == ["start", "setup 1", "setup 2", "setup 3", "finish"]
    assert outputs["odd"].collect() == [1, 3]
    with pytest.raises(KeyError, match="the tags are odd, even"):
        outputs["other"]


def test_beams_dofn_by_its_shape() -> None:
    class TaggedOutput:
        def __init__(self, tag: str, value: Any) -> None:
            self.tag, self.value = tag, value

    class Beamish:
        def process(self, element: int) -> Iterator[Any]:
            yield element
            yield TaggedOutput("twice", element * 2)

    outputs = Pipeline(**QUIET).create([1, 2]).parallel_do(Beamish(), tags=["twice"])
    assert (outputs.main.collect(), outputs["twice"].collect()) == ([1, 2], [2, 4])


def test_a_tag_nobody_declared_is_an_error() -> None:
    with pytest.raises(StepError, match="tagged 'odd'"):
        Pipeline(**QUIET).create([1]).parallel_do(Life()).collect()


@BOTH
def test_side_inputs_of_every_kind(mode: str) -> None:
    p = Pipeline(mode=mode, **QUIET)
    c = p.create([1, 2, 3])
    pairs = c.map(lambda x: (x, x * x))
    assert c.map(lambda x, all_: x * len(all_), c.as_list()).collect() == [3, 6, 9]
    assert c.map(lambda x, squares: squares[x], pairs.as_dict()).collect() == [1, 4, 9]
    assert c.map(lambda x, all_: x + sum(all_) + sum(all_), c.as_iterable()).collect() == [13, 14, 15]
    assert c.map(lambda x, one: x + one, p.create([10]).as_singleton()).collect() == [11, 12, 13]
    with pytest.raises(Exception, match="a single value was expected, and there are 3"):
        c.map(lambda x, one: x, c.as_singleton()).collect()


def test_operate_runs_once_inside() -> None:
    c = Pipeline(**QUIET).create([1, 2, 3])
    largest = c.combine(max).operate(lambda top, n: top * n, c.size())
    assert c.map(lambda x, y: x * y, largest).collect() == [9, 18, 27]


@BOTH
def test_counters_count_each_record_once(mode: str, tmp_path: Any) -> None:
    def seen(x: int) -> int:
        counter("seen").inc()
        counter("sum").inc(x)
        return x

    p = Pipeline(mode=mode, **QUIET)
    p.create(range(1000)).redistribute(4).map(seen).write_jsonl(str(tmp_path / "out"))
    result = p.run()
    assert result.counters == {"seen": 1000, "sum": 499500}
    assert {step.label: step.rows_out for step in result.steps}["map seen"] == 1000
    assert result.outputs[0].rows == 1000


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "numpy"])
def test_batches_in_every_format(kind: str) -> None:
    values = Pipeline(**QUIET).create([1, 2, 3, 4, 5]).map_batches(lambda batch: batch, format=kind, batch_size=2)
    assert values.collect() == [1, 2, 3, 4, 5]
    records = Pipeline(**QUIET).create([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]).map_batches(lambda batch: batch, format=kind)
    assert records.collect() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_the_format_is_taken_from_the_annotation() -> None:
    def frames(batch: pd.Series) -> pd.Series:
        assert isinstance(batch, pd.Series)
        return batch * 2

    def arrays(batch: np.ndarray) -> np.ndarray:
        assert isinstance(batch, np.ndarray)
        return batch + 1

    assert Pipeline(**QUIET).create([1, 2]).map_batches(frames).map_batches(arrays).collect() == [3, 5]


def test_arrow_streams_in_and_out() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    c = Pipeline(**QUIET).from_arrow(frame).map(lambda r: {**r, "c": r["a"] * 2})
    assert pa.table(c).to_pylist() == [{"a": 1, "b": "x", "c": 2}, {"a": 2, "b": None, "c": 4}]
    assert c.to_polars().equals(frame.with_columns(c=pl.col("a") * 2))
    assert list(c.to_pandas()["c"]) == [2, 4]
    assert Pipeline(**QUIET).create(pd.DataFrame({"a": [1]})).collect() == [{"a": 1}]


@BOTH
def test_a_partitioner_chooses_the_file(mode: str, tmp_path: Any) -> None:
    p = Pipeline(mode=mode, **QUIET)
    table = p.create(range(10)).key_by(lambda x: x % 5).group_by_key(partitioner=lambda key, n: key % n, partitions=2)
    table.map(lambda pair: {"key": pair[0]}).write_jsonl(str(tmp_path / "out"))
    p.run()
    files = sorted((tmp_path / "out").glob("part-*"))
    found = [sorted(int(line.split(":")[1].rstrip("}\n")) for line in open(f)) for f in files]
    assert found == [[0, 2, 4], [1, 3]]


def test_labels_are_unique_by_themselves() -> None:
    p = Pipeline(**QUIET)
    c = p.create([1])
    for _ in range(3):
        c = c.map(str)
    text = c.explain()
    assert "map str-2" in text and "map str-3" in text


def test_an_async_function_is_refused_by_every_verb() -> None:
    async def fetch(value: int) -> int:
        return value

    numbers = Pipeline().create([1])
    for verb in ("map", "filter", "flat_map", "map_batches"):
        with pytest.raises(PlanError, match=f"{verb} needs a function that gives its result, and .*fetch is async"):
            getattr(numbers, verb)(fetch)


def test_errors_where_they_are_written() -> None:
    p = Pipeline(**QUIET)
    with pytest.raises(PlanError, match="map needs a function"):
        p.create([1]).map(3)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="use key_by"):
        p.read_text("x").as_table()

    def double(x: int) -> int:
        return x * 2

    with pytest.raises(PlanError, match="double takes int, and the elements are str") as error:
        p.read_text("x").map(double)
    assert "test_api.py" in str(error.value) and "p.read_text" in str(error.value)
    with pytest.raises(PlanError, match="side input"):
        p.create([1]).map(lambda x, y: x, p.create([2]))  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="belong to different pipelines"):
        p.create([1]).union(Pipeline().create([1]))
    with pytest.raises(PlanError, match="there is no 'outer' join"):
        p.create([(1, 2)]).as_table().join(p.create([(1, 2)]).as_table(), "outer")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="writes nothing"):
        p.run()
    with pytest.raises(PlanError, match="there is no runner 'spark'"):
        p.create([1]).collect(runner="spark")
    with pytest.raises(PlanError, match="cannot take these options"):
        p.create([1]).collect(speed=3)


def test_all_problems_at_once(tmp_path: Any) -> None:
    import threading

    lock = threading.Lock()
    (tmp_path / "file").write_text("")
    p = Pipeline(**QUIET)

    def locked(line: str) -> str:
        with lock:
            return line

    p.read_text(str(tmp_path / "missing.txt")).map(locked).write_text(str(tmp_path / "out"))
    p.create(["a"]).write_text(str(tmp_path / "out"))
    p.create(["a"]).write_text(str(tmp_path / "file"))
    with pytest.raises(PreflightError) as error:
        p.run()
    sentences = [problem.sentence for problem in error.value.problems]
    assert len(sentences) == 4
    assert "no file matches" in sentences[0]
    assert "it uses 'lock', a lock" in sentences[1]
    assert "two outputs go to" in sentences[2]
    assert "is a file, and outputs are folders" in sentences[3]
    assert not (tmp_path / "out").exists()


def test_a_notebook_sees_type_plan_and_rows() -> None:
    c = Pipeline(**QUIET).create([{"a": "<b>"}])
    html = c._repr_html_()
    assert "PCollection" in html and "<svg" in html and "&lt;b&gt;" in html and "<b>" not in html.replace("<b>PCollection</b>", "")
    assert set(c._repr_mimebundle_()) == {"text/plain", "text/html", "text/vnd.mermaid"}


def test_head_runs_only_the_first_tasks() -> None:
    p = Pipeline(mode="in_process", **QUIET)
    seen = []
    c = p.create([bytes(1_000_000) for _ in range(100)]).map(lambda x: seen.append(1) or len(x))
    assert c.head(2) == [1_000_000, 1_000_000]
    assert 2 <= len(seen) < 60
    assert len(p.create([1]).head(0)) == 0


def test_sample_is_the_same_in_every_run_and_even() -> None:
    c = Pipeline(**QUIET).create(range(2000))
    first, second = c.sample(50).collect(), c.sample(50).collect()
    assert first == second and len(set(first)) == 50
    part = c.sample(fraction=0.25).collect()
    assert 400 < len(part) < 600 and set(part) <= set(range(2000))


@pytest.mark.parametrize("make", [lambda p: p.create([{"a": 1, "b": "x"}]), lambda p: p.create([("k", 1)]), lambda p: p.create(["x", "y"])])
def test_the_reference_runner_gives_arrow_too(make):
    found = make(Pipeline()).to_arrow(runner="reference")
    assert found.to_pylist() == make(Pipeline()).to_arrow().to_pylist()
    records = Pipeline().create([{"a": 1}, {"a": 2}])
    assert records.filter(col("a") > 5).to_arrow(runner="reference").schema.names == ["a"]
    assert records.filter(col("a") > 1).to_arrow(runner="reference").to_pylist() == [{"a": 2}]


def test_a_query_that_runs_whole_says_what_it_read(tmp_path):
    p = Pipeline()
    p.from_arrow(pa.table({"a": range(1000), "b": ["x"] * 1000})).write_parquet(str(tmp_path / "in"))
    p.run(progress=False)
    p = Pipeline()
    p.read_parquet(str(tmp_path / "in")).filter(col("a") > 10).select("a").write_parquet(str(tmp_path / "out"))
    assert p.run(progress=False).bytes_read >= 1000
