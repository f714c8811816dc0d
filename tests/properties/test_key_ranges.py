"""Tables that are read in ranges of a key give what any others do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.errors import InputError
from dataflow.expr.functions import row_number
from dataflow.io.key_ranges import Group, RangedParquet, key_ranges
from dataflow.io.parquet import ParquetSource
from tests.properties.test_relations import bag

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
IN_PIECES: dict[str, Any] = {"placement": "partitioned", "memory": "64MiB", "mode": "in_process", "progress": False}


def tried(count: int) -> settings:
    """So many examples, or a hundred."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=100 if LARGE else count, deadline=None, suppress_health_check=slow)


def small(a: PCollection[Any]) -> PCollection[Any]:
    """A table that goes whole to every part of another."""
    return a.pipeline.from_arrow(pa.table({"s": [1, 2], "t": [10, 20]}))


QUERIES = {
    "group": lambda a, b: a.group_by("k", "x").agg(n=col("y").sum(), m=col("y").median()),
    "group of selected": lambda a, b: a.filter(col("x") > 0).select(z="k", y=col("y") + 1).group_by("z").agg(n=col("y").sum()),
    "distinct": lambda a, b: a.select("k", "x").distinct(),
    "window": lambda a, b: a.with_columns(r=row_number().over("k", order_by=["x", "y", "i"]), s=col("y").sum().over("k")),
    "inner": lambda a, b: a.join(b, left_on="k", right_on="b"),
    "left": lambda a, b: a.join(b, left_on="k", right_on="b", how="left"),
    "semi": lambda a, b: a.join(b.filter(col("v") > 2), left_on="k", right_on="b", how="semi"),
    "anti": lambda a, b: a.join(b.filter(col("v") > 2), left_on="k", right_on="b", how="anti"),
    "right": lambda a, b: a.join(b, left_on="k", right_on="b", how="right"),
    "full": lambda a, b: a.join(b, left_on="k", right_on="b", how="full"),
    "join and group": lambda a, b: a.join(b, left_on="k", right_on="b").group_by("k").agg(n=col("v").sum()),
    "join, another join and group": lambda a, b: (
        a.join(b, left_on="k", right_on="b")
        .join(b.select(x="v", w=col("v") * 2).distinct(["x"]), "x", how="left")
        .group_by("k", "w")
        .agg(n=col("v").sum())
    ),
    "three": lambda a, b: a.join(b, left_on="k", right_on="b").join(b.select(c="b", w="v"), left_on="k", right_on="c", how="left"),
    "with itself": lambda a, b: a.filter(col("y") > 0).join(a.select(l="k", j="i"), left_on="k", right_on="l", where=col("i") < col("j")),
    "others of the key": lambda a, b: (
        a.join(b.filter(col("v") > 1), left_on="k", right_on="b", how="semi")
        .join(a.select(l="k", j="i"), left_on="k", right_on="l", how="semi", where=col("i") != col("j"))
        .join(a.filter(col("y") < 0).select(l="k", j="i"), left_on="k", right_on="l", how="anti", where=col("i") != col("j"))
    ),
    "a small one first": lambda a, b: (
        small(a).join(a, left_on="s", right_on="x").join(b, left_on="k", right_on="b", how="left").group_by("k", "t").agg(n=col("v").sum())
    ),
    "small ones on both sides": lambda a, b: (
        a.join(small(a), left_on="x", right_on="s", how="left")
        .join(b.join(small(b).select(v="s", u="t"), "v"), left_on="k", right_on="b")
        .join(b.select(c="b"), left_on="k", right_on="c", how="anti", where=col("t") > 10)
    ),
    "by the key of the right": lambda a, b: (
        a.join(b, left_on="k", right_on="b", how="inner").select("x", "i", "v", l="k").rename({"l": "m"})
        .join(b.select(c="b", w="v"), left_on="m", right_on="c").join(a.select(n="k", j="i"), left_on="c", right_on="n", how="semi")
    ),
    "another join first": lambda a, b: (
        a.select(q="y", h="i").join(a, left_on="q", right_on="y").join(b, left_on="k", right_on="b")
        .group_by("k", "q").agg(n=col("v").sum())
    ),
    "another join first, by the left": lambda a, b: (
        a.join(a.select(q="y", h="i"), left_on="y", right_on="q", where=col("h") <= col("i")).join(b, left_on="k", right_on="b")
    ),
    "another join first, then a small one and a group": lambda a, b: (
        a.select(q="y", h="i").join(a, left_on="q", right_on="y").join(b, left_on="k", right_on="b")
        .join(small(a), left_on="x", right_on="s").group_by("q", "y", "t").agg(n=col("v").sum())
    ),
    "shuffled, with a small one, and grouped": lambda a, b: (
        a.select(q="y", h="i").join(a.filter(col("x") > 0), left_on="q", right_on="y").join(small(a), left_on="x", right_on="s")
        .group_by("q", "t").agg(n=col("k").sum())
    ),
    "another join first, on the right": lambda a, b: (
        b.join(a.select(q="y", h="i").join(a, left_on="q", right_on="y"), left_on="b", right_on="k")
    ),
    "grouped and joined": lambda a, b: a.join(b.group_by("b").agg(n=col("v").sum()).filter(col("n") > 3), left_on="k", right_on="b"),
}  # fmt: skip


def in_order(folder: Path, name: str, keys: list[int], group: int, files: int, **more: list[int]) -> str:
    """A table in the order of its keys, in some files with row groups of so many rows."""
    order = sorted(range(len(keys)), key=lambda at: keys[at])
    columns = {name: keys, **more}
    table = pa.table({n: pa.array([values[at] for at in order], pa.int64()) for n, values in columns.items()})
    (folder / name).mkdir(exist_ok=True)
    step = -(-len(keys) // files) or 1
    for number in range(files):
        pq.write_table(table.slice(number * step, step), folder / name / f"{number}.parquet", row_group_size=group)
    return str(folder / name)


@pytest.fixture
def any_range_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ParquetSource.in_ranges
    monkeypatch.setattr(ParquetSource, "in_ranges", lambda self, key, beside, target, most: found(self, key, beside, 1, 1 << 40))
    monkeypatch.setattr("dataflow.io.key_ranges.at_least_eight", lambda total, target: 1)
    monkeypatch.setattr("dataflow.optimizer.cutting_joins.BROADCAST_SHARE", 40 / (64 << 20))


@pytest.mark.usefixtures("any_range_pays")
@pytest.mark.parametrize("name", QUERIES)
@tried(8)
@given(data=st.data())
def test_queries_over_tables_in_order(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("tables")
    left = data.draw(st.lists(st.tuples(st.integers(-3, 12), st.integers(0, 2), st.integers(-5, 5)), min_size=1, max_size=60))
    right = data.draw(st.lists(st.tuples(st.integers(-5, 14), st.integers(0, 5)), min_size=1, max_size=40))
    groups, files = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9))), data.draw(st.integers(1, 2))
    numbered = {"x": [row[1] for row in left], "y": [row[2] for row in left], "i": list(range(len(left)))}
    a = in_order(folder, "k", [row[0] for row in left], groups[0], files, **numbered)
    b = in_order(folder, "b", [row[0] for row in right], groups[1], 1, v=[row[1] for row in right])

    def build() -> PCollection[Any]:
        p = Pipeline()
        return QUERIES[name](p.read_parquet(a), p.read_parquet(b))

    assert bag(build().collect(**IN_PIECES)) == bag(build().collect(runner="reference"))


@pytest.mark.usefixtures("any_range_pays")
@pytest.mark.parametrize("name", QUERIES)
@tried(4)
@given(data=st.data())
def test_ranges_may_be_cut_again(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """As if each task had run out of memory, until nothing is left to cut."""
    folder = tmp_path_factory.mktemp("tables")
    keys = data.draw(st.lists(st.integers(-3, 12), min_size=1, max_size=60))
    right = data.draw(st.lists(st.integers(-5, 14), min_size=1, max_size=40))
    a = in_order(folder, "k", keys, data.draw(st.integers(1, 9)), 1, x=[n % 3 for n in keys], y=keys[::-1], i=list(range(len(keys))))
    b = in_order(folder, "b", right, data.draw(st.integers(1, 9)), 1, v=[n % 4 for n in right])

    def build() -> PCollection[Any]:
        p = Pipeline()
        return QUERIES[name](p.read_parquet(a), p.read_parquet(b))

    splits = RangedParquet.splits

    def cut(self: RangedParquet, one: Any) -> list[Any]:
        parts = self.smaller(one)
        return [inner for part in parts for inner in cut(self, part)] if parts else [one]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dataflow.io.key_ranges.at_least_eight", lambda total, target: 1 << 40)
        patched.setattr(RangedParquet, "splits", lambda self, target: [part for one in splits(self, target) for part in cut(self, one)])
        assert bag(build().collect(**IN_PIECES)) == bag(build().collect(runner="reference"))


@pytest.mark.usefixtures("any_range_pays")
def test_fault_21_a_range_that_runs_out_of_memory_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code that cannot take many rows at once."""
    keys = [at // 3 for at in range(900)]
    a = in_order(tmp_path, "k", keys, 30, 1, x=[at % 3 for at in range(900)], y=keys[::-1], i=keys)
    b = in_order(tmp_path, "b", keys[::3], 50, 1, v=keys[::3])
    died = tmp_path / "died"

    def greedy(batch: Any) -> Any:
        if len(batch) > 200:
            open(died, "a").write("1")
            raise MemoryError
        return batch

    def build() -> PCollection[Any]:
        p = Pipeline()
        return p.read_parquet(a).join(p.read_parquet(b), left_on="k", right_on="b")

    monkeypatch.setattr("dataflow.io.key_ranges.at_least_eight", lambda total, target: 1 << 40)
    found = build().map_batches(greedy).collect(**{**IN_PIECES, "mode": "processes", "workers": 2})
    assert died.exists(), "it never had too many rows"
    assert bag(found) == bag(build().collect(runner="reference"))


@pytest.mark.usefixtures("any_range_pays")
@pytest.mark.parametrize("name", [name for name in QUERIES if name not in ("right", "full", "shuffled, with a small one, and grouped")])
def test_they_need_no_shuffle(name: str, tmp_path: Path) -> None:
    keys = [at // 3 for at in range(90)]
    a = in_order(tmp_path, "k", keys, 7, 1, x=[at % 3 for at in range(90)], y=keys[::-1], i=keys)
    b = in_order(tmp_path, "b", keys[::3], 5, 1, v=keys[::3])
    p = Pipeline()
    text = QUERIES[name](p.read_parquet(a), p.read_parquet(b)).explain(placement="partitioned", memory="64MiB")
    assert "no shuffle: " in text and " in ranges of k" in text
    assert ("turned: " in text) == (name == "another join first, by the left")  # of the others the order was chosen before


@pytest.mark.usefixtures("any_range_pays")
def test_a_join_that_leaves_little_of_a_table_comes_first(tmp_path: Path) -> None:
    keys = [at // 3 for at in range(90)]
    a = in_order(tmp_path, "k", keys, 7, 1, x=[at % 3 for at in range(90)], y=keys[::-1], i=keys)
    b = in_order(tmp_path, "b", keys[::3], 5, 1, v=keys[::3])
    p = Pipeline()
    some = p.read_parquet(a).select(q="y", h="i").filter(col("q") == 3)
    joined = some.join(p.read_parquet(a), left_on="q", right_on="y").join(p.read_parquet(b), left_on="k", right_on="b")
    text = joined.explain(placement="partitioned", memory="64MiB")
    assert "join inner-2" in text and "turned: " not in text


@pytest.mark.usefixtures("any_range_pays")
def test_conditions_between_joins_keep_their_order_and_functions_their_place(tmp_path: Path) -> None:
    keys = [at // 3 for at in range(90)]
    a = in_order(tmp_path, "k", keys, 7, 1, x=[at % 3 for at in range(90)], y=keys[::-1], i=keys)
    b = in_order(tmp_path, "b", keys[::3] * 2, 5, 1, v=keys[::3] * 2)
    called: list[int] = []

    def once(number: int) -> bool:
        called.append(number)
        return number > 3

    def built(guarded: bool) -> tuple[PCollection[Any], PCollection[Any]]:
        p = Pipeline()
        joined = p.read_parquet(a).join(p.read_parquet(a).select(q="y", h="i"), left_on="y", right_on="q")
        if guarded:
            some = joined.filter(col("x") > 0).select("k", "x", "h").filter(col("h") / col("x") > 0)
        else:
            some = joined.filter(col("h").apply(once, bool))
        return some.join(p.read_parquet(b), left_on="k", right_on="b"), some

    for guarded in (True, False):
        query, _ = built(guarded)
        assert ("turned: " in query.explain(placement="partitioned", memory="64MiB")) == guarded
        assert bag(query.collect(**IN_PIECES)) == bag(built(guarded)[0].collect(runner="reference"))


def test_tables_in_no_order_or_with_null_keys_are_shuffled(tmp_path: Path) -> None:
    for number, keys in enumerate(([3, 1, 2, 5, 4, 6], [1, 2, 3, None, 5, 6])):
        pq.write_table(pa.table({"k": keys, "x": range(6)}), tmp_path / f"{number}.parquet", row_group_size=2)
        source = ParquetSource((str(tmp_path / f"{number}.parquet"),))
        assert source.in_ranges("k", [], 1, 1 << 40) is None


def test_a_key_in_two_files_is_in_no_range() -> None:
    one, two = Group(0, 0, 0, 9, 100, 1, 5), Group(1, 0, 0, 9, 100, 5, 9)
    assert key_ranges([[one, two]], 1) is None
    (first, second) = key_ranges([[one, Group(1, 0, 0, 9, 100, 6, 9)]], 1) or ()
    assert (first.high, second.low) == (6, 6) and first.groups == ((one,),)


def test_a_key_of_many_row_groups_is_one_range_and_one_that_is_too_large_is_none() -> None:
    groups = [Group(0, at, at, 1, 100, low, high) for at, (low, high) in enumerate([(1, 4), (4, 4), (4, 4), (4, 9), (10, 12)])]
    ranges = key_ranges([groups], 100) or []
    assert [(one.low, one.high, len(one.groups[0])) for one in ranges] == [(None, 4, 1), (4, 10, 4), (10, None, 1)]
    assert key_ranges([groups], 100, 300) is None


@pytest.mark.usefixtures("any_range_pays")
def test_files_that_change_between_plan_and_run_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = list(range(60))
    a = in_order(tmp_path, "k", keys, 7, 1, x=keys, y=keys, i=keys)
    found = ParquetSource.scan_splits

    def changed(self: ParquetSource, splits: Any) -> Any:
        monkeypatch.setattr(ParquetSource, "scan_splits", found)
        in_order(tmp_path, "k", [*keys, 60], 7, 1, x=[*keys, 60], y=[*keys, 60], i=[*keys, 60])
        return self.scan_splits(splits)

    monkeypatch.setattr(ParquetSource, "scan_splits", changed)
    with pytest.raises(InputError, match="changed"):
        Pipeline().read_parquet(a).group_by("k").agg(n=col("x").sum()).collect(**IN_PIECES)
