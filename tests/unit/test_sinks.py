"""Writers: what is written is read back equal, in every format, mode, layout and place."""

from __future__ import annotations

import datetime as dt
import glob
import json
import os
import random
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pandas
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from dataflow import DataflowError, Pipeline
from dataflow.errors import PreflightError, SchemaError

HERE = {"mode": "in_process", "progress": False}
RECORD_FORMATS = ("parquet", "csv", "jsonl", "ipc", "avro")
ENDINGS = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "text": "txt", "ipc": "arrow", "avro": "avro"}

BROKEN = {}


@pytest.fixture(autouse=True)
def known_bugs(request):
    """Marks the cases of a test that fail while the others pass."""
    name, bracket, case = request.node.name.partition("[")
    reason, cases = BROKEN.get(name, ("", ()))
    if bracket + case in cases:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


def write(items, form, path, source=None, **options):
    p = Pipeline()
    getattr(p.create(items) if source is None else source(p), f"write_{form}")(str(path), **options)
    return p.run(**HERE)


def read(form, path, **options):
    return getattr(Pipeline(), f"read_{form}")(str(path), **options).collect(**HERE)


def in_order(rows):
    return sorted(rows, key=repr)


def data_files(path):
    return sorted(f for f in glob.glob(f"{path}/**/*", recursive=True) if os.path.isfile(f) and not os.path.basename(f).startswith("_"))


def shown(folder):
    """The names in a folder without the manifests of the targets in it."""
    return sorted(name for name in os.listdir(folder) if not name.endswith(".manifest.json"))


def manifest(path):
    return json.loads((Path(path).parent / f".{Path(path).name}.manifest.json").read_text())


def error_of(*args, **options):
    with pytest.raises(DataflowError) as caught:
        write(*args, **options)
    assert len(str(caught.value).splitlines()) <= 20
    return caught.value


RECORDS = [{"n": i, "f": i / 4, "s": f"ü{i}", "b": i % 2 == 0} for i in range(100)]


# -- round trips


@pytest.mark.parametrize("form", RECORD_FORMATS)
def test_plain_records_come_back_equal(tmp_path, form):
    result = write(RECORDS, form, tmp_path / "out")
    assert in_order(read(form, tmp_path / "out")) == in_order(RECORDS)
    output = result.outputs[0]
    files = data_files(tmp_path / "out")
    assert (output.rows, output.files, output.bytes) == (100, len(files), sum(map(os.path.getsize, files)))
    assert all(name.endswith("." + ENDINGS[form]) for name in files)


@pytest.mark.parametrize("form", RECORD_FORMATS)
def test_nulls_and_empty_strings_come_back_apart(tmp_path, form):
    rows = [{"n": 1, "s": ""}, {"n": None, "s": None}, {"n": 3, "s": "x"}, {"n": 4, "s": "NA"}, {"n": 5, "s": "null"}, {"n": 6, "s": "nan"}]
    write(rows, form, tmp_path / "out")
    assert in_order(read(form, tmp_path / "out")) == in_order(rows)


WILD = [
    "",
    " ",
    '"',
    '""',
    ",",
    "a,b",
    "line\nbreak",
    "\r\n",
    "\r",
    "tab\t",
    "\x00",
    "ü",
    "\u2028",
    "日本",
    "'",
    "\\",
    "\\n",
    "#",
    "NaN",
    "\ufeff",
    "😀",
]


@pytest.mark.parametrize("form", RECORD_FORMATS)
def test_wild_strings_come_back_equal(tmp_path, form):
    rows = [{"i": i, "s": text} for i, text in enumerate(WILD)]
    write(rows, form, tmp_path / "out")
    assert sorted(read(form, tmp_path / "out"), key=lambda r: r["i"]) == rows


@pytest.mark.parametrize("form", ["parquet", "ipc"])
def test_arrow_types_come_back_as_they_were(tmp_path, form):
    table = pa.table({
        "i8": pa.array([1, None], pa.int8()), "u64": pa.array([2**64 - 1, 0], pa.uint64()), "f32": pa.array([0.5, None], pa.float32()),
        "dec": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)), "date": pa.array([dt.date(2026, 1, 1), None]),
        "ts": pa.array([dt.datetime(2026, 1, 1, 1, 1, 1, 5), None], pa.timestamp("us")),
        "tz": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None], pa.timestamp("us", "Europe/Berlin")),
        "bin": pa.array([b"\x00\xff", None]), "list": pa.array([[1, None], None], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None]), "dict": pa.array(["x", "y"]).dictionary_encode(),
        "time": pa.array([dt.time(1, 2, 3), None], pa.time64("us")), "large": pa.array(["x", None], pa.large_string()),
    })  # fmt: skip
    write(None, form, tmp_path / "out", lambda p: p.from_arrow(table))
    found = getattr(Pipeline(), f"read_{form}")(str(tmp_path / "out")).to_arrow(**HERE)
    assert found.to_pylist() == table.to_pylist()
    assert found.schema.remove_metadata() == table.schema


def test_python_values_of_many_kinds_come_back_from_parquet(tmp_path):
    rows = [
        {"d": dt.date(2026, 1, i + 1), "t": dt.datetime(2026, 1, 1, i), "x": Decimal(f"{i}.5"), "b": bytes([i]), "l": [i, i], "m": {"k": i}}
        for i in range(3)
    ]
    write(rows, "parquet", tmp_path / "out")
    assert in_order(read("parquet", tmp_path / "out")) == in_order(rows)


def test_avro_keeps_dates_instants_lists_and_bytes(tmp_path):
    rows = [
        {"d": dt.date(2026, 1, 1), "t": dt.datetime(2026, 1, 1, 5, tzinfo=dt.UTC), "b": b"\x00\xff", "l": [1, None, 3]},
        {"d": None, "t": None, "b": None, "l": None},
    ]
    write(rows, "avro", tmp_path / "out")
    assert in_order(read("avro", tmp_path / "out")) == in_order(rows)


def test_avro_gives_a_time_without_zone_back_without_zone(tmp_path):
    rows = [{"t": dt.datetime(2026, 1, 1, 5)}]
    write(rows, "avro", tmp_path / "out")
    assert read("avro", tmp_path / "out") == rows


@pytest.mark.parametrize("name", ["a b", "ü", "1x", "a-b", "a.b"])
def test_avro_column_names_that_avro_has_not_are_a_clear_error_or_come_back(tmp_path, name):
    try:
        write([{name: 1}], "avro", tmp_path / "out")
    except SchemaError as error:
        assert name in str(error)
    else:
        assert read("avro", tmp_path / "out") == [{name: 1}]


class Named(NamedTuple):
    a: int
    b: str


@dataclass
class Data:
    a: int
    b: str


@pytest.mark.parametrize("items,expected", [
    ([Named(1, "x")], [{"a": 1, "b": "x"}]), ([Data(1, "x")], [{"a": 1, "b": "x"}]),
    ([(1, "x"), (2, "y")], [{"key": 1, "value": "x"}, {"key": 2, "value": "y"}]),
    ([1, 2], [{"value": 1}, {"value": 2}]), (["x"], [{"value": "x"}]), ([(1, 2, 3)], [{"value": [1, 2, 3]}]), ([None], [{"value": None}]),
    ([[1], [2, 3]], [{"value": [1]}, {"value": [2, 3]}]), ([("k", {"a": 1})], [{"key": "k", "value": {"a": 1}}]),
])  # fmt: skip
@pytest.mark.parametrize("form", ["parquet", "ipc"])
def test_elements_that_are_no_records_have_defined_columns(tmp_path, form, items, expected):
    write(items, form, tmp_path / "out")
    assert in_order(read(form, tmp_path / "out")) == in_order(expected)


def test_records_with_different_keys_are_filled_with_null(tmp_path):
    write([{"a": 1}, {"b": "x"}, {"a": 2, "b": "y"}], "parquet", tmp_path / "out")
    assert in_order(read("parquet", tmp_path / "out")) == in_order([{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 2, "b": "y"}])


@pytest.mark.parametrize("form", ["parquet", "ipc", "jsonl"])
def test_records_without_any_column_are_counted_or_refused_never_dropped(tmp_path, form):
    try:
        result = write([{}, {}, {}], form, tmp_path / "out")
    except DataflowError:
        return
    assert result.outputs[0].rows == 3
    assert len(read(form, tmp_path / "out")) == 3


def test_text_lines_come_back_and_others_are_refused(tmp_path):
    lines = ["", "a", "ü", " x ", "\u2028", "\x85", "😀", "last"]
    write(lines, "text", tmp_path / "out")
    assert in_order(read("text", tmp_path / "out")) == in_order(lines)
    for wrong in (1, None, b"x", ["x"]):
        text = str(error_of(["x", wrong], "text", tmp_path / "wrong"))
        assert type(wrong).__name__ in text and "map(str)" in text
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("line", ["two\nlines", "carriage\r", "a\r\nb"])
def test_a_string_with_a_line_break_is_refused_or_comes_back_as_one_line(tmp_path, line):
    try:
        write(["x", line], "text", tmp_path / "out")
    except DataflowError as error:
        assert "line" in str(error)
    else:
        assert in_order(read("text", tmp_path / "out")) == in_order(["x", line])


def test_text_that_is_copied_from_file_to_file_is_the_same_bytes(tmp_path):
    data = "one\n\nthree ü\nfour\rhalf\nlast".encode()
    (tmp_path / "in.txt").write_bytes(data)
    write(None, "text", tmp_path / "out", lambda p: p.read_text(str(tmp_path / "in.txt")))
    assert b"".join(Path(f).read_bytes() for f in data_files(tmp_path / "out")) == data + b"\n"


@pytest.mark.parametrize("value", [1, 1.5, True, None, "x", [1, "a"], {"a": {"b": None}}, 2**70, "\ud800"])
def test_json_values_come_back_equal(tmp_path, value):
    write([value], "jsonl", tmp_path / "out")
    assert read("jsonl", tmp_path / "out") == [value]


def test_json_refuses_what_it_has_no_word_for_and_shows_it(tmp_path):
    for wrong, word in ((b"x", "bytes"), (object(), "object"), (1j, "complex")):
        assert word in str(error_of([{"a": wrong}], "jsonl", tmp_path / "out"))


def test_json_of_dates_decimals_and_dataclasses_is_text_other_tools_read(tmp_path):
    write([{"d": dt.date(2026, 1, 1), "x": Decimal("1.5"), "p": Data(1, "x"), "t": (1, 2), "s": {3, 1}}], "jsonl", tmp_path / "out")
    assert read("jsonl", tmp_path / "out") == [{"d": "2026-01-01", "x": "1.5", "p": {"a": 1, "b": "x"}, "t": [1, 2], "s": [1, 3]}]


@pytest.mark.parametrize("form", ["csv", "avro"])
def test_types_a_format_cannot_hold_are_a_clear_error_not_a_crash_of_the_library(tmp_path, form):
    error = error_of([{"a": {"b": 1}}], form, tmp_path / "out")
    assert isinstance(error, SchemaError) and "'a'" in str(error), str(error)
    assert not (tmp_path / "out").exists()


def test_csv_lists_are_a_clear_error_that_names_the_column(tmp_path):
    error = error_of([{"tags": [1, 2]}], "csv", tmp_path / "out")
    assert isinstance(error, SchemaError) and "tags" in str(error), str(error)


# -- modes


@pytest.mark.parametrize("form", ["text", "jsonl", "parquet"])
def test_modes_error_overwrite_and_append(tmp_path, form):
    old, new = (["a", "b"], ["c"]) if form == "text" else ([{"s": "a"}, {"s": "b"}], [{"s": "c"}])
    out = tmp_path / "out"
    write(old, form, out)
    error = error_of(new, form, out)
    assert isinstance(error, PreflightError) and str(out) in str(error) and "overwrite" in str(error)
    assert in_order(read(form, out)) == in_order(old)
    write(new, form, out, mode="append")
    assert in_order(read(form, out)) == in_order(old + new)
    write(new, form, out, mode="append")
    assert in_order(read(form, out)) == in_order(old + new + new)
    assert sorted(e["path"] for e in manifest(out)["files"]) == [os.path.relpath(f, out) for f in data_files(out)]
    write(new, form, out, mode="overwrite")
    assert in_order(read(form, out)) == in_order(new)
    assert len(data_files(out)) == len(manifest(out)["files"])
    assert shown(tmp_path) == ["out"]


def test_overwrite_removes_the_folders_of_old_partitions(tmp_path):
    write([{"k": "a", "n": 1}], "parquet", tmp_path / "out", partition_by="k")
    write([{"k": "b", "n": 2}], "parquet", tmp_path / "out", partition_by="k", mode="overwrite")
    assert sorted(n for n in os.listdir(tmp_path / "out") if n[0] != "_") == ["k=b"]


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_a_failed_run_leaves_the_old_data_and_no_trace(tmp_path, mode):
    write(["old"], "text", tmp_path / "out")
    before = {f: Path(f).read_bytes() for f in glob.glob(f"{tmp_path}/**", recursive=True) if os.path.isfile(f)}
    p = Pipeline()
    p.create(["x", "0"]).map(lambda s: str(1 / int(s))).write_text(str(tmp_path / "out"), mode=mode)
    with pytest.raises(DataflowError):
        p.run(**HERE)
    assert {f: Path(f).read_bytes() for f in glob.glob(f"{tmp_path}/**", recursive=True) if os.path.isfile(f)} == before
    assert shown(tmp_path) == ["out"]


def test_appending_another_type_to_a_column_is_an_error_and_the_folder_stays_readable(tmp_path):
    write([{"n": 1}], "parquet", tmp_path / "out")
    try:
        write([{"n": "word"}], "parquet", tmp_path / "out", mode="append")
    except DataflowError as error:
        assert "n" in str(error)
    assert read("parquet", tmp_path / "out") == [{"n": 1}]


def test_appending_a_narrower_schema_leaves_a_folder_that_can_be_read(tmp_path):
    write([{"n": 1.5}], "parquet", tmp_path / "out")
    write([{"n": 2}], "parquet", tmp_path / "out", mode="append")
    assert in_order(read("parquet", tmp_path / "out")) == [{"n": 1.5}, {"n": 2.0}]


def test_no_rows_give_a_folder_with_a_manifest_that_a_reader_of_ours_understands(tmp_path):
    write([], "parquet", tmp_path / "out")
    assert manifest(tmp_path / "out")["files"] == []


def test_a_target_with_a_trailing_slash_is_the_same_target(tmp_path):
    write(["a"], "text", f"{tmp_path}/out/")
    assert read("text", tmp_path / "out") == ["a"]
    assert isinstance(error_of(["b"], "text", tmp_path / "out"), PreflightError)


def test_two_outputs_of_one_run_into_one_folder_are_refused_however_spelled(tmp_path):
    p = Pipeline()
    c = p.create(["a"])
    c.write_text(f"{tmp_path}/out")
    c.write_text(f"{tmp_path}/x/../out/")
    with pytest.raises(PreflightError, match="two outputs"):
        p.run(**HERE)


def test_one_output_inside_another_is_refused_or_both_are_whole(tmp_path):
    p = Pipeline()
    p.create(["a"]).write_text(f"{tmp_path}/out")
    p.create(["b"]).write_text(f"{tmp_path}/out/inner")
    try:
        p.run(**HERE)
    except PreflightError:
        return
    assert read("text", tmp_path / "out" / "inner") == ["b"]
    assert "a" in read("text", tmp_path / "out")


def test_a_relative_path_and_a_user_folder_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write(["a"], "text", "out")
    write(["b"], "text", "~/home-out")
    write(["c"], "text", f"file://{tmp_path}/file-out")
    write(["d"], "text", "./deep/er/out")
    assert [read("text", tmp_path / name) for name in ("out", "home-out", "file-out", "deep/er/out")] == [["a"], ["b"], ["c"], ["d"]]


# -- how many files


@pytest.mark.parametrize("files", [1, 3, 7])
def test_files_deals_the_rows_over_that_many_files(tmp_path, files):
    write(RECORDS, "jsonl", tmp_path / "out", files=files)
    found = data_files(tmp_path / "out")
    assert len(found) == files
    sizes = [sum(1 for _ in open(f)) for f in found]
    assert sum(sizes) == 100 and max(sizes) - min(sizes) <= 2


@pytest.mark.parametrize("form", ["parquet", "jsonl", "text", "csv"])
def test_rows_per_file_begins_a_new_file_when_one_has_that_many(tmp_path, form):
    items = [f"{i}" for i in range(100)] if form == "text" else RECORDS
    write(items, form, tmp_path / "out", rows_per_file=30)
    assert sorted(e["rows"] for e in manifest(tmp_path / "out")["files"]) == [10, 30, 30, 30]
    assert in_order(read(form, tmp_path / "out")) == in_order(items)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_bytes_per_file_bounds_the_files(tmp_path, form):
    draw = random.Random(1)
    items = [{"s": draw.randbytes(500).hex()} for _ in range(3000)]
    write(items, form, tmp_path / "out", bytes_per_file=300_000)
    sizes = [os.path.getsize(f) for f in data_files(tmp_path / "out")]
    assert len(sizes) >= 5 and max(sizes) < 900_000, sizes
    assert len(read(form, tmp_path / "out")) == 3000


def test_manifest_sums_and_counts_are_those_of_the_files(tmp_path):
    import zlib

    write(RECORDS, "parquet", tmp_path / "out", files=2)
    for entry in manifest(tmp_path / "out")["files"]:
        data = (tmp_path / "out" / entry["path"]).read_bytes()
        assert (entry["bytes"], entry["crc32"]) == (len(data), zlib.crc32(data))
        assert entry["rows"] == pq.read_metadata(tmp_path / "out" / entry["path"]).num_rows


# -- partitions


HOSTILE = [
    "../x",
    "a/b",
    "",
    None,
    "ü",
    "..",
    ".",
    "a=b",
    "x y",
    "%2F",
    "_hidden",
    ".dot",
    "C:\\x",
    "a\nb",
    "*",
    "nul\x00",
    "\u202e",
    "NULL",
    "日本語",
]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "ipc"])
def test_hostile_partition_values_stay_in_the_folder_and_lose_no_row(tmp_path, form):
    rows = [{"k": key, "n": i} for i, key in enumerate(HOSTILE)]
    out = tmp_path / "deep" / "out"
    write(rows, form, out, partition_by=["k"])
    folders = [f for f in os.listdir(out) if not f.startswith("_")]
    assert len(folders) == len(HOSTILE)
    assert shown(tmp_path) == ["deep"] and shown(tmp_path / "deep") == ["out"]
    assert sorted(row["n"] for row in read(form, out)) == list(range(len(HOSTILE)))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "ipc"])
def test_partition_values_come_back_as_they_went(tmp_path, form):
    rows = [{"k": key, "n": i} for i, key in enumerate(HOSTILE)]
    write(rows, form, tmp_path / "out", partition_by="k")
    found = {row["n"]: row["k"] for row in read(form, tmp_path / "out")}
    assert found == dict(enumerate(HOSTILE))


def test_a_partitioned_folder_is_read_by_arrow_polars_and_pandas(tmp_path):
    rows = [{"k": f"v{i % 3}", "day": i % 2, "n": i} for i in range(30)]
    write(rows, "parquet", tmp_path / "out", partition_by=["k", "day"])
    expected = sorted((r["k"], r["day"], r["n"]) for r in rows)
    table = ds.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert sorted((r["k"], r["day"], r["n"]) for r in table.to_pylist()) == expected
    frame = polars.read_parquet(f"{tmp_path}/out/**/*.parquet", hive_partitioning=True)
    assert sorted((r["k"], r["day"], r["n"]) for r in frame.to_dicts()) == expected
    frame = polars.read_parquet(f"{tmp_path}/out", hive_partitioning=True)
    assert sorted((r["k"], r["day"], r["n"]) for r in frame.to_dicts()) == expected
    frame = pandas.read_parquet(tmp_path / "out")
    assert sorted((str(r["k"]), int(r["day"]), r["n"]) for r in frame.to_dict("records")) == expected


def test_partition_values_that_are_no_strings_come_back_of_their_type(tmp_path):
    write([{"day": 1, "n": 1}, {"day": 2, "n": 2}], "parquet", tmp_path / "out", partition_by="day")
    assert in_order(read("parquet", tmp_path / "out")) == in_order([{"day": 1, "n": 1}, {"day": 2, "n": 2}])


def test_a_partition_column_that_is_not_there_is_an_error(tmp_path):
    assert "'nope'" in str(error_of([{"n": 1}], "parquet", tmp_path / "out", partition_by="nope"))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "ipc"])
def test_partition_by_every_column_keeps_the_rows_or_is_refused(tmp_path, form):
    rows = [{"a": "x", "b": "y"}, {"a": "x", "b": "y"}, {"a": "z", "b": "y"}]
    try:
        result = write(rows, form, tmp_path / "out", partition_by=["a", "b"])
    except DataflowError as error:
        assert "partition_by" in str(error)
        return
    assert result.outputs[0].rows == 3
    assert in_order(read(form, tmp_path / "out")) == in_order(rows)


def test_more_partitions_than_open_files_lose_no_row(tmp_path):
    rows = [{"k": i % 61, "n": i} for i in range(5000)]
    write(rows, "parquet", tmp_path / "out", partition_by="k")
    assert sorted(r["n"] for r in read("parquet", tmp_path / "out")) == list(range(5000))


def test_a_partition_value_that_is_too_long_is_a_clear_error(tmp_path):
    text = str(error_of([{"k": "x" * 5000, "n": 1}], "parquet", tmp_path / "out", partition_by="k"))
    assert "too long" in text
    assert not (tmp_path / "out").exists()


# -- schemas that differ between tasks


def parts(p, *lists):
    first, *rest = [p.create(items) for items in lists]
    return first.flatten(*rest)


@pytest.mark.parametrize("form", ["parquet", "csv", "ipc", "avro"])
def test_a_task_whose_column_is_all_null_takes_the_others_type(tmp_path, form):
    lists = [{"a": 1, "s": None}], [{"a": 2, "s": "x"}], [{"a": None, "s": None}]
    write(None, form, tmp_path / "out", lambda p: parts(p, *lists))
    assert in_order(read(form, tmp_path / "out")) == in_order([r for part in lists for r in part])


@pytest.mark.parametrize("form", ["parquet", "csv", "ipc", "avro"])
def test_ints_in_one_task_and_floats_in_another_are_floats(tmp_path, form):
    write(None, form, tmp_path / "out", lambda p: parts(p, [{"a": 1}], [{"a": 2.5}], [{"a": 3}]))
    found = sorted(r["a"] for r in read(form, tmp_path / "out"))
    assert found == [1, 2.5, 3]
    if form in ("parquet", "ipc"):
        assert ds.dataset(tmp_path / "out", format=form).to_table().schema.field("a").type == pa.float64()
        assert len({ds.dataset(f, format=form).schema for f in data_files(tmp_path / "out")}) == 1


def test_an_integer_that_no_float_holds_is_an_error_not_another_integer(tmp_path):
    error = error_of(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"a": 2**53 + 1}], [{"a": 2.5}]))
    assert isinstance(error, SchemaError) and "'a'" in str(error) and str(2**53 + 1) in str(error)
    assert os.listdir(tmp_path) == []


def test_an_integer_that_no_float_holds_within_one_batch_is_an_error_too(tmp_path):
    error = error_of([{"a": 2**53 + 1}, {"a": 2.5}], "parquet", tmp_path / "out")
    assert "'a'" in str(error)


def test_lists_of_integers_that_no_float_holds_are_a_schema_error(tmp_path):
    error = error_of(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"a": [2**53 + 1]}], [{"a": [2.5]}]))
    assert isinstance(error, SchemaError) and "'a'" in str(error), str(error)


def test_big_unsigned_beside_signed_integers_are_an_error_that_names_the_column(tmp_path):
    def source(p):
        tables = [pa.table({"a": pa.array([2**64 - 1], pa.uint64())}), pa.table({"a": pa.array([-1], pa.int64())})]
        return p.from_arrow(tables[0]).flatten(p.from_arrow(tables[1]))

    error = error_of(None, "parquet", tmp_path / "out", source)
    assert isinstance(error, SchemaError) and "'a'" in str(error), str(error)


@pytest.mark.parametrize(
    "one,two,words",
    [
        (1, "x", ("int64", "string")),
        (True, 1, ("bool", "int64")),
        ("x", b"x", ("string", "binary")),
        ([1], 1, ("list", "int64")),
        (dt.date(2026, 1, 1), "x", ("date", "string")),
        ({"a": 1}, "x", ("struct", "string")),
    ],
)
def test_types_that_conflict_are_an_error_that_names_column_types_and_the_users_line(tmp_path, one, two, words):
    error = error_of(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"col": one}], [{"col": two}]))
    text = str(error)
    assert isinstance(error, SchemaError) and "'col'" in text and all(word in text for word in words), text
    assert os.listdir(tmp_path) == []
    error = error_of([{"col": one}, {"col": two}], "parquet", tmp_path / "out")
    assert isinstance(error, SchemaError) and "'col'" in str(error), str(error)


def test_a_type_conflict_names_the_write_and_its_line(tmp_path):
    text = str(error_of(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"col": 1}], [{"col": "x"}])))
    assert "write parquet" in text and "test_sinks.py" in text, text


def test_a_value_that_fits_no_column_names_the_write_its_line_and_the_record(tmp_path):
    text = str(error_of([{"col": 1}, {"col": "x"}], "parquet", tmp_path / "out"))
    assert "write parquet" in text and "test_sinks.py" in text and "'x'" in text, text


def test_columns_that_only_some_tasks_have_are_null_in_the_others(tmp_path):
    write(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"a": 1}], [{"b": "x"}], [{"a": 2, "b": "y"}]))
    expected = in_order([{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 2, "b": "y"}])
    assert in_order(read("parquet", tmp_path / "out")) == expected
    assert in_order(polars.read_parquet(f"{tmp_path}/out/*.parquet").to_dicts()) == expected


def test_structs_with_different_fields_become_one_struct(tmp_path):
    write(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"a": {"x": 1}}], [{"a": {"y": "s"}}], [{"a": None}]))
    expected = [{"a": {"x": 1, "y": None}}, {"a": {"x": None, "y": "s"}}, {"a": None}]
    assert in_order(read("parquet", tmp_path / "out")) == in_order(expected)


def test_structs_within_lists_with_different_fields_become_one_struct(tmp_path):
    write(None, "parquet", tmp_path / "out", lambda p: parts(p, [{"a": [{"x": 1}]}], [{"a": [{"x": 2, "y": "s"}]}], [{"a": []}]))
    expected = [{"a": [{"x": 1, "y": None}]}, {"a": [{"x": 2, "y": "s"}]}, {"a": []}]
    assert in_order(read("parquet", tmp_path / "out")) == in_order(expected)


@pytest.mark.parametrize("form", ["parquet", "csv", "ipc"])
def test_partitioned_parts_with_different_schemas_keep_folder_and_rows(tmp_path, form):
    write(
        None,
        form,
        tmp_path / "out",
        lambda p: parts(p, [{"k": "p", "v": None}], [{"k": "q", "v": 1}], [{"k": "p", "v": 2.5}]),
        partition_by="k",
    )
    assert in_order(read(form, tmp_path / "out")) == in_order([{"v": None, "k": "p"}, {"v": 1.0, "k": "q"}, {"v": 2.5, "k": "p"}])


def test_a_declared_schema_is_used_and_a_value_against_it_is_an_error(tmp_path):
    schema = pa.schema([("a", pa.int16()), ("s", pa.string())])
    write([{"a": 1, "s": None}], "parquet", tmp_path / "out", schema=schema)
    (file,) = data_files(tmp_path / "out")
    assert pq.read_schema(file).remove_metadata() == schema
    assert "'a'" in str(error_of([{"a": 10**6, "s": None}], "parquet", tmp_path / "big", schema=schema))
    assert "'a'" in str(error_of([{"a": "x", "s": None}], "parquet", tmp_path / "word", schema={"a": pa.int16()}))


@pytest.mark.parametrize("source", ["rows", "arrow"])
def test_a_declared_schema_holds_for_rows_and_for_columns(tmp_path, source):
    table = pa.table({"a": [1, 2]})
    write(
        [{"a": 1}, {"a": 2}],
        "parquet",
        tmp_path / "out",
        (lambda p: p.from_arrow(table)) if source == "arrow" else None,
        schema=pa.schema([("a", pa.int16())]),
    )
    (file,) = data_files(tmp_path / "out")
    assert pq.read_schema(file).field("a").type == pa.int16()


def test_times_with_and_without_zone_in_one_column_are_an_error_not_a_shift(tmp_path):
    rows = [{"t": dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5)))}, {"t": dt.datetime(2026, 1, 1, 12)}]
    for order in (rows, rows[::-1]):
        try:
            write(order, "parquet", tmp_path / "out", mode="overwrite")
        except SchemaError:
            continue
        found = [r["t"] for r in read("parquet", tmp_path / "out")]
        assert sorted(map(str, found)) == sorted(str(r["t"]) for r in order)


# -- other readers


@pytest.mark.parametrize("files", [None, 3])
def test_polars_arrow_and_pandas_read_the_parquet_folder(tmp_path, files):
    write(RECORDS, "parquet", tmp_path / "out", files=files)
    out = tmp_path / "out"
    expected = in_order(RECORDS)
    assert in_order(polars.read_parquet(f"{out}/*.parquet").to_dicts()) == expected
    assert in_order(ds.dataset(out).to_table().to_pylist()) == expected
    assert in_order(pq.read_table(out).to_pylist()) == expected
    assert in_order(pandas.read_parquet(out).to_dict("records")) == expected
    assert in_order(polars.read_parquet(out).to_dicts()) == expected


def test_polars_and_arrow_read_the_ipc_and_csv_folders(tmp_path):
    write(RECORDS, "ipc", tmp_path / "ipc", files=2)
    write(RECORDS, "csv", tmp_path / "csv", files=2)
    assert in_order(ds.dataset(tmp_path / "ipc", format="ipc").to_table().to_pylist()) == in_order(RECORDS)
    assert in_order(polars.read_csv(f"{tmp_path}/csv/*.csv").to_dicts()) == in_order(RECORDS)
    assert in_order(ds.dataset(tmp_path / "csv", format="csv").to_table().to_pylist()) == in_order(RECORDS)


def test_every_column_chunk_of_parquet_has_page_checksums(tmp_path):
    write(RECORDS, "parquet", tmp_path / "out", compression="none")
    (file,) = data_files(tmp_path / "out")
    data = bytearray(Path(file).read_bytes())
    found = pq.ParquetFile(file).metadata
    for column in range(found.num_columns):
        chunk = found.row_group(0).column(column)
        at = (
            chunk.data_page_offset
            + chunk.total_compressed_size
            - (chunk.data_page_offset - (chunk.dictionary_page_offset or chunk.data_page_offset))
            - 1
        )
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(OSError):
            pq.ParquetFile(pa.BufferReader(bytes(broken)), page_checksum_verification=True).read()


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip", "lz4", "brotli"])
def test_compressions_come_back(tmp_path, compression):
    write(RECORDS, "parquet", tmp_path / "out", compression=compression)
    assert in_order(read("parquet", tmp_path / "out")) == in_order(RECORDS)
    found = pq.ParquetFile(data_files(tmp_path / "out")[0]).metadata.row_group(0).column(0).compression
    assert found == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


def test_an_unknown_compression_fails_before_any_work_and_leaves_nothing(tmp_path):
    text = str(error_of(RECORDS, "parquet", tmp_path / "out", compression="middle-out"))
    assert "middle-out" in text.lower() or "compression" in text.lower(), text
    assert os.listdir(tmp_path) == []


def test_an_order_is_kept_in_the_files(tmp_path):
    write(None, "jsonl", tmp_path / "out", lambda p: p.create(list(range(5000, 0, -1))).sort())
    assert [int(line) for f in data_files(tmp_path / "out") for line in open(f)] == list(range(1, 5001))


# -- other places


def test_memory_urls_read_write_overwrite_append():
    fsspec = pytest.importorskip("fsspec")
    base = f"memory://sinks-{os.getpid()}"
    write(RECORDS, "parquet", f"{base}/p")
    assert in_order(read("parquet", f"{base}/p")) == in_order(RECORDS)
    assert isinstance(error_of(RECORDS, "parquet", f"{base}/p"), PreflightError)
    write(["a"], "text", f"{base}/t")
    write(["b"], "text", f"{base}/t", mode="append")
    assert in_order(read("text", f"{base}/t")) == ["a", "b"]
    write(["c"], "text", f"{base}/t", mode="overwrite")
    assert read("text", f"{base}/t") == ["c"] == read("text", f"{base}/t/*.txt")
    names = fsspec.filesystem("memory").find(f"/sinks-{os.getpid()}/t")
    assert sorted(n.rpartition("/")[2] for n in names if not n.endswith(".txt")) == ["_MANIFEST.json"]
    fsspec.filesystem("memory").rm(f"/sinks-{os.getpid()}", recursive=True)


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    options = {
        "key": "test",
        "secret": "verysecret",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"},
    }
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "verysecret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="bucket")
    yield options
    started.stop()


def s3_names(s3, path):
    import s3fs

    fs = s3fs.S3FileSystem(**s3)
    fs.invalidate_cache()
    return sorted(fs.find(path))


@pytest.mark.parametrize("form", ["text", "parquet", "jsonl", "csv"])
def test_s3_round_trip_in_every_mode(s3, form):
    items = [f"line {i}" for i in range(50)] if form == "text" else RECORDS
    out = f"s3://bucket/{form}/out"
    result = write(items, form, out, storage_options=s3)
    assert result.outputs[0].rows == len(items)
    assert in_order(read(form, out, storage_options=s3)) == in_order(items)
    assert in_order(read(form, f"{out}/*.{ENDINGS[form]}", storage_options=s3)) == in_order(items)
    assert isinstance(error_of(items, form, out, storage_options=s3), PreflightError)
    write(items, form, out, mode="append", storage_options=s3)
    assert in_order(read(form, out, storage_options=s3)) == in_order(items * 2)
    write(items[:3], form, out, mode="overwrite", storage_options=s3)
    assert in_order(read(form, out, storage_options=s3)) == in_order(items[:3])
    names = [name.rpartition("/")[2] for name in s3_names(s3, f"bucket/{form}/out")]
    assert len(names) == 2 and "_MANIFEST.json" in names


def test_s3_from_worker_processes(s3):
    out = "s3://bucket/workers/out"
    p = Pipeline()
    p.create(list(range(500))).map(lambda i: {"n": i}).write_parquet(out, files=3, storage_options=s3)
    p.run(mode="processes", workers=2, progress=False)
    found = Pipeline().read_parquet(out, storage_options=s3).map(lambda r: r["n"]).collect(mode="processes", workers=2, progress=False)
    assert sorted(found) == list(range(500))


def test_s3_a_failed_run_leaves_the_old_objects_alone(s3):
    out = "s3://bucket/failing/out"
    write(["old"], "text", out, storage_options=s3)
    before = s3_names(s3, "bucket/failing")
    p = Pipeline()
    p.create(["1", "0"]).map(lambda x: str(1 / int(x))).write_text(out, mode="overwrite", storage_options=s3)
    with pytest.raises(DataflowError):
        p.run(**HERE)
    assert s3_names(s3, "bucket/failing") == before
    assert read("text", out, storage_options=s3) == ["old"]


def test_s3_partitions_and_hostile_values(s3):
    rows = [{"k": key, "n": i} for i, key in enumerate(["../x", "a/b", "ü", None, "x y"])]
    write(rows, "parquet", "s3://bucket/parts/out", partition_by="k", storage_options=s3)
    assert sorted(r["n"] for r in read("parquet", "s3://bucket/parts/out", storage_options=s3)) == list(range(5))


def test_s3_reading_a_missing_bucket_or_key_is_a_clear_error_without_secrets(s3):
    for path in ("s3://bucket/nothing/*.txt", "s3://nobucket/x", "s3://bucket/nothing"):
        with pytest.raises(DataflowError) as caught:
            read("text", path, storage_options=s3)
        assert path in str(caught.value) and "verysecret" not in str(caught.value)


def test_s3_writing_into_a_bucket_that_is_not_there_is_a_clear_error_without_secrets(s3):
    error = error_of(["a"], "text", "s3://nobucket/out", storage_options=s3)
    assert "nobucket" in str(error) and "verysecret" not in str(error)


def test_s3_an_object_replaced_between_listing_and_reading_is_an_error(s3):
    import s3fs

    from dataflow.errors import InputError
    from dataflow.io.text import TextSource

    fs = s3fs.S3FileSystem(**s3)
    fs.pipe("bucket/changing/a.txt", b"one\n")
    source = TextSource(("s3://bucket/changing/a.txt",), s3)
    splits = source.splits(1 << 20)
    assert [row for s in splits for piece in source.read(s) for row in piece.batch.rows()] == ["one"]
    fs.pipe("bucket/changing/a.txt", b"two\n")
    with pytest.raises(InputError, match="changed"):
        [piece for s in splits for piece in source.read(s)]
