"""Only what a query needs of a file is read: columns, and fields of structs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.io.parquet import ParquetSource


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...] | None]:
    """The columns of every split that `ParquetSource` reads itself."""
    found: list[tuple[str, ...] | None] = []
    read = ParquetSource.read

    def recorded(self: ParquetSource, split: Any) -> Iterator[Any]:
        found.append(self.only)
        return read(self, split)

    monkeypatch.setattr(ParquetSource, "read", recorded)
    return found


@pytest.fixture
def shops(tmp_path: Path) -> PCollection[Any]:
    """Files in folders that name a column, in one that seems to, so that the kernel does not read them itself."""
    for shop in ("north", "south"):
        folder = tmp_path / "run=1" / f"shop={shop}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"k": range(5), "x": [at * 2 for at in range(5)], "unread": ["x" * 100] * 5}), folder / "part.parquet")
    return Pipeline().read_parquet(str(tmp_path / "run=1"))


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_columns_nobody_uses_are_not_read_by_a_query(shops: PCollection[Any], asked: list[Any], placement: str) -> None:
    query = shops.filter(col("k") > 2).select("x")
    rows = query.collect(progress=False, mode="in_process", placement=placement)
    assert sorted(row["x"] for row in rows) == [6, 6, 8, 8]
    assert [sorted(names) for names in asked] == [["k", "x"]] * 2


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_a_column_of_folder_names_alone_keeps_its_rows(shops: PCollection[Any], asked: list[Any], placement: str) -> None:
    rows = shops.group_by("shop").agg(n=col("shop").count()).collect(progress=False, mode="in_process", placement=placement)
    assert sorted((row["shop"], row["n"]) for row in rows) == [("north", 5), ("south", 5)]
    assert asked == [("shop",)] * 2


NESTED = pa.struct([("a", pa.int64()), ("b", pa.string()), ("c", pa.struct([("x", pa.int32()), ("y", pa.string())]))])
EVENTS = [
    {"k": 0, "s": {"a": 1, "b": "long" * 2000, "c": {"x": 5, "y": "long" * 50}}},
    {"k": 1, "s": None},
    {"k": 2, "s": {"a": None, "b": None, "c": None}},
    {"k": 3, "s": {"a": 4, "b": "lang" * 2000, "c": {"x": None, "y": "long" * 50}}},
]


@pytest.fixture
def leaves(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """The leaves that are asked of every Parquet file."""
    found: list[list[str] | None] = []
    batches = pq.ParquetFile.iter_batches

    def recorded(self: Any, *args: Any, columns: list[str] | None = None, **options: Any) -> Any:
        found.append(columns)
        return batches(self, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", recorded)
    return found


def events(folder: Path) -> PCollection[Any]:
    pq.write_table(pa.Table.from_pylist(EVENTS, schema=pa.schema([("k", pa.int64()), ("s", NESTED)])), folder / "events.parquet")
    return Pipeline().read_parquet(str(folder / "events.parquet"))


STEPS: dict[str, tuple[list[str] | None, Callable[[PCollection[Any]], PCollection[Any]]]] = {
    "a field": (["s.a"], lambda e: e.select(v=col("s").struct.field("a"))),
    "a field of a field": (["s.c.y"], lambda e: e.select(v=col("s").struct.field("c").struct.field("y").str.len_chars())),
    "a field under another name": (["s.a"], lambda e: e.select(t=col("s")).select(v=col("t").struct.field("a") + 1)),
    "two fields": (
        ["s.a", "s.c.x"],
        lambda e: e.select(v=col("s").struct.field("a"), w=col("s").struct.field("c").struct.field("x")),
    ),
    "where the struct is null": (["s.a"], lambda e: e.select(v=col("s").is_null(), w=col("s").struct.field("a").is_null())),
    "only where it is null": (["s.a"], lambda e: e.select(v=col("s").is_null())),
    "a group": (["k", "s.a"], lambda e: e.group_by(v=col("s").struct.field("a")).agg(n=col("k").sum())),
    "a join": (
        ["k", "s.a"],
        lambda e: e.join(e.pipeline.create([{"k": 0, "z": 1}, {"k": 2, "z": 2}]), "k").select("z", v=col("s").struct.field("a")),
    ),
    "fields as columns": (["k", "s.c.x", "s.c.y"], lambda e: e.unnest("s").select("k", "c")),
    "once a key": (["k", "s.a"], lambda e: e.distinct(["k"]).select(v=col("s").struct.field("a"))),
    "a field, and all of it": (None, lambda e: e.select("s", v=col("s").struct.field("a"))),
    "all of a field": (["s.c.x", "s.c.y"], lambda e: e.select(v=col("s").struct.field("c"))),
    "all of it in a distinct": (None, lambda e: e.distinct().select("k", v=col("s").struct.field("a"))),
    "a union": (None, lambda e: e.union(e).select(v=col("s").struct.field("a"))),
}  # fmt: skip


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
@pytest.mark.parametrize("name", STEPS)
def test_only_fields_that_are_used_are_read(tmp_path: Path, leaves: list[Any], name: str, placement: str) -> None:
    wanted, step = STEPS[name]
    judged = step(events(tmp_path)).collect(runner="reference")
    leaves.clear()
    found = step(events(tmp_path)).collect(progress=False, mode="in_process", placement=placement)
    assert sorted(map(repr, found)) == sorted(map(repr, judged))
    assert [one and sorted(one) for one in leaves] == [wanted] * len(leaves)
    assert leaves or wanted is None


def test_a_scan_that_skips_rows_is_not_given_up_for_fields(tmp_path: Path, leaves: list[Any]) -> None:
    query = events(tmp_path).filter(col("k") == 3).select(v=col("s").struct.field("a"))
    assert query.collect(progress=False, mode="in_process") == [{"v": 4}]
    assert leaves == []


def test_a_struct_of_which_most_is_used_is_scanned_by_the_kernel(tmp_path: Path, leaves: list[Any]) -> None:
    query = events(tmp_path).select(v=col("s").struct.field("b"), w=col("s").struct.field("c"))
    assert len(query.collect(progress=False, mode="in_process")) == 4
    assert leaves == []


def test_files_that_the_kernel_does_not_scan_are_read_by_fields_always(tmp_path: Path, leaves: list[Any]) -> None:
    table = tmp_path / "run=1"  # above the table, where the kernel would find a column
    (table / "day=1").mkdir(parents=True)
    events(table / "day=1")
    query = Pipeline().read_parquet(str(table)).filter(col("k") > 1).select("day", v=col("s").struct.field("b"))
    assert sorted(map(repr, query.collect(progress=False, mode="in_process"))) == sorted(
        map(repr, [{"day": 1, "v": None}, {"day": 1, "v": "lang" * 2000}])
    )
    assert [sorted(one) for one in leaves] == [["day", "k", "s.b"]]


def test_a_name_with_a_dot_is_no_path(tmp_path: Path) -> None:
    table = pa.table({"s": [{"a": 1, "b": "x" * 500}], "s.a": [2]})
    pq.write_table(table, tmp_path / "t.parquet")
    rows = Pipeline().read_parquet(str(tmp_path / "t.parquet"))
    assert rows.select(v=col("s").struct.field("a")).collect(progress=False) == [{"v": 1}]


def test_a_column_that_is_made_anew_without_the_old_one_keeps_its_place(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "t.parquet")
    query = Pipeline().read_parquet(str(tmp_path / "t.parquet")).with_columns(a=col("c") + 1, d=col("b"))
    assert [list(row.items()) for row in query.collect(progress=False)] == [[("a", 4), ("b", 2), ("c", 3), ("d", 2)]]
    assert [*query.to_arrow(progress=False).column_names] == ["a", "b", "c", "d"]
