"""Outputs to which nothing came: one file without rows, the same from every runner, as far as the columns are known."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline, col

RUNS = [
    {"runner": "reference"},
    {"mode": "in_process", "placement": "whole", "progress": False},
    {"mode": "in_process", "placement": "partitioned", "progress": False},
    {"mode": "processes", "workers": 2, "progress": False},
]
HERE = RUNS[1]
TABLE = pa.table({"n": pa.array([1, 2], pa.int32()), "s": ["x", None], "day": [dt.date(2026, 11, 20)] * 2})
everywhere = pytest.mark.parametrize("options", RUNS, ids=["reference", "whole", "partitioned", "processes"])


@dataclass
class Person:
    name: str
    age: int


def nothing(p):
    return p.from_arrow(TABLE).filter(col("n") > 5)


def write(form, path, make=nothing, options=HERE, **how):
    p = Pipeline()
    getattr(make(p), f"write_{form}")(str(path), **how)
    (output,) = p.run(**options).outputs
    return output


def files(path):
    return sorted(name for _, _, names in os.walk(path) for name in names if not name.startswith("_"))


def listed(path):
    return json.loads((path.parent / f".{path.name}.manifest.json").read_text())


def grown(p):
    return p.create([{"n": 7, "s": "y", "day": dt.date(2026, 11, 21)}])


@everywhere
@pytest.mark.parametrize("form", ["parquet", "ipc", "csv", "avro", "jsonl", "text"])
def test_an_output_of_no_rows_is_one_file_that_can_be_read(tmp_path, form, options):
    make = nothing if form != "text" else lambda p: p.create(["a"]).filter(lambda line: line == "b")
    output = write(form, tmp_path / "out", make, options)
    (name,) = files(tmp_path / "out")
    (entry,) = listed(tmp_path / "out")["files"]
    assert (entry["path"], entry["rows"], output.rows, output.files) == (name, 0, 0, 1)
    assert getattr(Pipeline(), f"read_{form}")(str(tmp_path / "out")).collect(**options) == []


@everywhere
def test_its_columns_and_types_are_known(tmp_path, options):
    for form in ("parquet", "ipc"):
        write(form, tmp_path / form, options=options)
        found = getattr(Pipeline(), f"read_{form}")(str(tmp_path / form))
        assert {name: str(kind) for name, kind in found.schema.items()} == {"n": "int32", "s": "string", "day": "date"}
        assert found.filter(col("n") > 0).group_by().agg(col("n").sum()).collect(**options) == [{"n": 0}]
        assert found.group_by("s").agg(col("n").sum()).collect(**options) == []


def test_csv_has_its_header(tmp_path):
    write("csv", tmp_path / "out")
    assert (tmp_path / "out" / "part-00000.csv").read_text() == '"n","s","day"\n'


@pytest.mark.parametrize("by", [["day"], ["s", "n"]])
def test_columns_of_folders_are_in_the_file_with_their_types(tmp_path, by):
    write("parquet", tmp_path / "out", partition_by=by)
    rest = [name for name in TABLE.column_names if name not in by]
    found = Pipeline().read_parquet(str(tmp_path / "out"))
    assert list(found.schema) == [*rest, *by]
    assert found.filter(col("day") == dt.date(2026, 11, 20)).collect(**HERE) == []


def test_rows_appended_later_take_its_place(tmp_path):
    out = tmp_path / "out"
    write("parquet", out, partition_by=["day"], mode="append")
    write("parquet", out, grown, partition_by=["day"], mode="append")
    (entry,) = listed(out)["files"]
    assert entry["rows"] == 1 and files(out) == [entry["path"].rpartition("/")[2]]
    expected = [{"n": 7, "s": "y", "day": dt.date(2026, 11, 21)}]
    assert Pipeline().read_parquet(str(out)).collect(**HERE) == expected
    assert pl.read_parquet(out).to_dicts() == expected


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_nothing_appended_adds_nothing(tmp_path, form):
    out = tmp_path / "out"
    write(form, out, grown)
    before = files(out)
    assert write(form, out, mode="append").files == 0
    assert files(out) == before
    write(form, tmp_path / "twice", mode="append")
    write(form, tmp_path / "twice", mode="append")
    assert len(files(tmp_path / "twice")) == 1


def test_nothing_appended_to_what_others_wrote_adds_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "out" / "theirs.parquet")
    write("parquet", tmp_path / "out", mode="append")
    assert files(tmp_path / "out") == ["theirs.parquet"]


def test_a_file_that_others_put_in_its_place_stays(tmp_path):
    write("parquet", tmp_path / "out")
    (name,) = files(tmp_path / "out")
    pl.DataFrame({"n": [1], "s": ["a"], "day": [dt.date(2026, 1, 1)]}).write_parquet(tmp_path / "out" / name)
    write("parquet", tmp_path / "out", lambda p: p.read_parquet(str(tmp_path / "out")), mode="append")
    assert [row["n"] for row in Pipeline().read_parquet(str(tmp_path / "out")).collect(**HERE)] == [1, 1]


def test_nothing_replaces_what_was_there(tmp_path):
    write("parquet", tmp_path / "out", grown)
    write("parquet", tmp_path / "out", mode="overwrite")
    assert Pipeline().read_parquet(str(tmp_path / "out")).collect(**HERE) == []
    with pytest.raises(DataflowError, match="exist"):
        write("parquet", tmp_path / "out", grown)


def test_on_object_stores_too():
    target = "memory://empty-outputs/appended"
    for make in (nothing, grown):
        write("parquet", target, make, mode="append")
        rows = Pipeline().read_parquet(target).collect(**HERE)
    assert [row["n"] for row in rows] == [7]


@everywhere
def test_annotations_tell_the_columns(tmp_path, options):
    def person(name: str) -> Person:
        return Person(name, 1)

    def length(name: str) -> int:
        return len(name)

    cases = {
        "records": (lambda p: p.create(["a"]).map(person).filter(lambda one: one.age > 5), {"name": "string", "age": "int64"}),
        "values": (lambda p: p.create(["a"]).map(length).filter(lambda n: n > 5), {"value": "int64"}),
        "lines": (lambda p: p.create(["a"]).map(str).filter(lambda text: text == "b"), {"value": "string"}),
        "pairs": (lambda p: p.create(["a"]).map(str).key_by(length).filter(lambda pair: pair[0] > 5), {"key": "int64", "value": "string"}),
        "a pair of a record": (
            lambda p: p.create(["a"]).map(person).key_by(lambda one: one.name).filter(lambda pair: pair[0] == "b"),
            {"key": "null", "value": "struct{name: string, age: int64}"},
        ),
    }
    for name, (make, columns) in cases.items():
        write("parquet", tmp_path / name, make, options)
        found = Pipeline().read_parquet(str(tmp_path / name))
        assert {column: str(kind) for column, kind in found.schema.items()} == columns, name
        assert found.collect(**options) == []


@everywhere
@pytest.mark.parametrize("form", ["parquet", "ipc", "csv", "avro"])
def test_columns_that_nobody_knows_leave_no_file_and_reading_says_so(tmp_path, form, options):
    write(form, tmp_path / "out", lambda p: p.create([1]).map(lambda n: {"n": n}).filter(lambda row: row["n"] > 5), options)
    assert files(tmp_path / "out") == []
    with pytest.raises(DataflowError, match=r"no rows and no known columns; give the write schema="):
        getattr(Pipeline(), f"read_{form}")(str(tmp_path / "out")).collect(**HERE)


def test_the_write_can_say_the_columns(tmp_path):
    def unknown(p):
        return p.create([1]).map(lambda n: {"n": n}).filter(lambda row: row["n"] > 5)

    for name, schema in {"mapping": {"n": pa.int8(), "d": pa.decimal128(5, 2)}, "schema": pa.schema([("n", pa.int8())])}.items():
        write("parquet", tmp_path / name, unknown, schema=schema)
        assert str(Pipeline().read_parquet(str(tmp_path / name)).schema["n"]) == "int8"
    write("parquet", tmp_path / "one", schema={"n": pa.float64(), "other": pa.int8()})  # as of rows: those that are there change
    assert {name: str(kind) for name, kind in Pipeline().read_parquet(str(tmp_path / "one")).schema.items()} == {
        "n": "float64", "s": "string", "day": "date",
    }  # fmt: skip


def test_what_a_format_cannot_hold_is_an_error_without_rows_too(tmp_path):
    with pytest.raises(DataflowError, match="CSV has no form for column 'l'") as caught:
        write("csv", tmp_path / "out", lambda p: p.from_arrow(pa.table({"l": [[1]]})).filter(col("l").list.len() > 5))
    assert "write csv" in str(caught.value)
    with pytest.raises(DataflowError, match="partition_by names 'nay'"):
        write("parquet", tmp_path / "out", partition_by=["nay"])
    assert not (tmp_path / "out").exists()


def test_an_empty_output_beside_a_full_one(tmp_path):
    p = Pipeline()
    table = p.from_arrow(pa.table({"d": [Decimal("1.50")], "t": [dt.datetime(2026, 1, 1)]}))
    table.filter(col("d") > 1).write_parquet(str(tmp_path / "full"))
    table.filter(col("d") < 1).write_parquet(str(tmp_path / "empty"))
    assert [(output.rows, output.files) for output in p.run(**HERE).outputs] == [(1, 1), (0, 1)]
    assert pl.read_parquet(tmp_path / "full").schema == pl.read_parquet(tmp_path / "empty").schema
