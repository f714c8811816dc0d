"""Tables that are odd, damaged or changed, read by queries whole and cut into pieces: faults 1, 9, 24, 25, 32, 33, 39, 44, 46, 48, 49."""

from __future__ import annotations

import datetime as dt
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import DataflowError, Pipeline, col
from dataflow.errors import InputError, PlanError, StepError
from dataflow.shard import batch as batches
from dataflow.shard.repeats import plain_bytes
from dataflow.shard.runfile import BLOCK_BYTES, RunWriter

WHOLE = {"mode": "in_process", "progress": False, "placement": "whole"}
CUT = {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "4MiB"}
PLACED = pytest.mark.parametrize("options", [WHOLE, CUT], ids=["whole", "partitioned"])


def error_of(collection, options):
    with pytest.raises(DataflowError) as caught:
        collection.collect(**options)
    assert len(str(caught.value).splitlines()) <= 20
    return caught.value


def rows_of(collection, options):
    return sorted(collection.collect(**options), key=str)


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return str(path)


def run_script(text, folder, timeout=60):
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=timeout, cwd=folder)


# -- 33: flipped bits


@PLACED
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_fault_33_a_query_finds_a_flipped_byte_where_the_file_has_page_checksums(tmp_path, options, compression):
    draw = random.Random(5)
    table = pa.table({"n": range(3000), "s": [f"row {draw.randrange(10**9)}" for _ in range(3000)]})
    path = write(tmp_path / "data.parquet", table, write_page_checksum=True, compression=compression, use_dictionary=False)
    data = (tmp_path / "data.parquet").read_bytes()
    body = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    wrong = []
    for _ in range(20):
        at = draw.randrange(4, body)
        (tmp_path / "data.parquet").write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        try:
            found = Pipeline().read_parquet(path).filter(col("n") >= 0).to_arrow(**options)
        except InputError as error:
            assert path in str(error)
        except StepError:
            pass
        else:
            if found.to_pylist() != table.to_pylist():
                wrong.append(at)
    assert not wrong


def flipped(path, needle):
    data = bytearray(path.read_bytes())
    data[data.index(needle)] ^= 1
    path.write_bytes(data)


def test_fault_33_only_the_columns_that_a_query_uses_are_verified(tmp_path):
    columns = {"n": list(range(2000)), "s": [f"row {i}" for i in range(2000)]}
    path = write(tmp_path / "a.parquet", columns, write_page_checksum=True, compression="none", use_dictionary=False)
    flipped(tmp_path / "a.parquet", b"row 1500")
    assert Pipeline().read_parquet(path).group_by().agg(col("n").sum()).collect(**WHOLE) == [{"n": 1999000}]
    text = str(error_of(Pipeline().read_parquet(path).group_by().agg(col("s").max()), WHOLE))
    assert path in text and "'s'" in text and "row group 0" in text and "test_tables.py" in text


@PLACED
def test_fault_33_a_limit_reads_checked_pages_and_no_more_than_it_needs(tmp_path, options):
    columns = {"n": np.arange(200_000)}
    path = write(tmp_path / "a.parquet", columns, write_page_checksum=True, compression="none", use_dictionary=False, row_group_size=10_000)
    flipped(tmp_path / "a.parquet", (199_500).to_bytes(8, "little"))
    if options is WHOLE:  # it does not get to the damage
        assert len(Pipeline().read_parquet(path).filter(col("n") > 5).limit(3).collect(**options)) == 3
    flipped(tmp_path / "a.parquet", (7).to_bytes(8, "little"))
    assert "checksum" in str(error_of(Pipeline().read_parquet(path).filter(col("n") > 5).limit(3), options))


def test_fault_33_a_damaged_page_without_a_checksum_is_an_error_with_its_file_or_nothing(tmp_path):
    path = write(tmp_path / "a.parquet", {"n": list(range(10_000))}, compression="zstd", use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[20] ^= 4
    (tmp_path / "a.parquet").write_bytes(data)
    assert path in str(error_of(Pipeline().read_parquet(path).group_by().agg(col("n").sum()), WHOLE))


def test_fault_33_what_one_run_wrote_another_verifies(tmp_path):
    p = Pipeline()
    rows = p.from_arrow(pa.table({"s": [f"row {i}" for i in range(3000)]}))
    rows.filter(col("s") != "").write_parquet(str(tmp_path / "out"), compression="none")
    p.run(**WHOLE)
    (path,) = (tmp_path / "out").glob("*.parquet")
    flipped(path, b"row 1500")
    assert str(path) in str(error_of(Pipeline().read_parquet(str(path)).filter(col("s") != "x"), WHOLE))


# -- 32: truncated files, foreign files


@PLACED
@pytest.mark.parametrize("cut", [0.5, 0.99, 0.0])
def test_fault_32_a_truncated_file_under_a_query_is_an_error_that_names_it(tmp_path, options, cut):
    path = write(tmp_path / "a.parquet", {"n": list(range(1000))})
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: int(len(data) * cut)])
    assert path in str(error_of(Pipeline().read_parquet(path).filter(col("n") > 1), options))


@PLACED
def test_fault_32_a_file_of_another_kind_in_the_folder_is_an_error_that_names_it(tmp_path, options):
    write(tmp_path / "a.parquet", {"n": [1]})
    (tmp_path / "notes.txt").write_text("not data")
    assert "notes.txt" in str(error_of(Pipeline().read_parquet(str(tmp_path)).filter(col("n") > 0), options))


@PLACED
def test_fault_47_a_file_listed_twice_is_read_once(tmp_path, options):
    path = write(tmp_path / "a.parquet", {"n": [1, 2]})
    twice = Pipeline().read_parquet([path, path, f"{tmp_path}/./a.parquet", str(tmp_path)])
    assert rows_of(twice.filter(col("n") > 0), options) == [{"n": 1}, {"n": 2}]


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
@PLACED
def test_fault_28_a_file_that_may_not_be_read_is_an_error_that_names_it(tmp_path, options):
    path = write(tmp_path / "a.parquet", {"n": [1]})
    os.chmod(path, 0)
    assert path in str(error_of(Pipeline().read_parquet(path).filter(col("n") > 0), options))


# -- 39: files that disagree, names


@PLACED
@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        ({"a": [1], "b": [2]}, {"a": [1]}, "it lacks b"),
        ({"a": [1]}, {"a": [1], "b": [2]}, "it adds b"),
        ({"a": [1]}, {"a": ["x"]}, "'a' is int64 in one file and string in another"),
    ],
    ids=["lost", "gained", "changed"],
)
def test_fault_39_files_that_disagree_are_an_error_that_names_both(tmp_path, options, one, two, says):
    paths = write(tmp_path / "1.parquet", one), write(tmp_path / "2.parquet", two)
    text = str(error_of(Pipeline().read_parquet(str(tmp_path)).filter(col("a") == 1), options))
    assert says in text and all(path in text for path in paths)


@PLACED
def test_fault_39_union_fills_what_a_file_lacks(tmp_path, options):
    write(tmp_path / "1.parquet", {"a": [1]})
    write(tmp_path / "2.parquet", {"b": ["x"], "a": [2]})
    found = Pipeline().read_parquet(str(tmp_path), schema="union").filter(col("a") > 0)
    assert rows_of(found, options) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


@PLACED
@pytest.mark.parametrize("first", [True, False])
def test_fault_39_a_file_of_only_nulls_takes_the_type_of_the_others(tmp_path, options, first):
    write(tmp_path / f"{2 - first}.parquet", {"a": pa.nulls(2)})
    write(tmp_path / f"{1 + first}.parquet", {"a": ["x"]})
    found = Pipeline().read_parquet(str(tmp_path)).with_columns(b=col("a").str.to_uppercase())
    assert rows_of(found, options) == [{"a": "x", "b": "X"}, {"a": None, "b": None}, {"a": None, "b": None}]


@PLACED
def test_fault_39_columns_in_another_order_are_matched_by_name(tmp_path, options):
    write(tmp_path / "1.parquet", {"a": [1], "b": ["x"]})
    write(tmp_path / "2.parquet", {"b": ["y"], "a": [2]})
    assert rows_of(Pipeline().read_parquet(str(tmp_path)).filter(col("a") > 0), options) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@PLACED
@pytest.mark.parametrize("query", [False, True])
def test_fault_39_two_columns_of_one_name_are_an_error_that_names_them(tmp_path, options, query):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = write(tmp_path / "a.parquet", table)
    sources = [Pipeline().read_parquet(path), Pipeline().from_arrow(table)]
    for source in sources:
        text = str(error_of(source.filter(col("a") > 0) if query else source, options))
        assert "several columns called 'a'" in text


@PLACED
@pytest.mark.parametrize("name", ["", "#", "#0", "a.b", 'q"q', "new\nline", "#on", "k_right", "len", "é", " ", "a{}", "$1", "0"])
def test_columns_of_any_name(tmp_path, options, name):
    table = pa.table({name: [1, 1, 2], "z": [1, 2, 3]})
    path = write(tmp_path / "a.parquet", table)
    for source in (Pipeline().from_arrow(table), Pipeline().read_parquet(path)):
        found = source.filter(col(name) > 0).with_columns(col(name) + 1).group_by(name).agg(m=col("z").mean(), u=col("z").n_unique())
        assert rows_of(found, options) == [{name: 2, "m": 1.5, "u": 2}, {name: 3, "m": 3.0, "u": 1}]
        joined = source.join(source.rename({"z": "#w"}), name).sort(["z", "#w"]).limit(2)
        assert joined.collect(**options) == [{name: 1, "z": 1, "#w": 1}, {name: 1, "z": 1, "#w": 2}]


@PLACED
@pytest.mark.parametrize("name", ["*", "^a$"])
def test_a_name_that_the_kernel_takes_for_a_pattern_is_an_error(options, name):
    text = str(error_of(Pipeline().from_arrow(pa.table({name: [1], "z": [1]})).filter(col("z") > 0), options))
    assert repr(name) in text and "rename" in text


@PLACED
def test_ten_thousand_columns(options):
    wide = pa.table({f"c{i}": [i, -i] for i in range(10_000)})
    found = Pipeline().from_arrow(wide).filter(col("c7") > 0).to_arrow(**options)
    assert found.num_columns == 10_000 and found["c9999"].to_pylist() == [9999]
    assert Pipeline().from_arrow(wide).group_by().agg(col("c3").sum()).collect(**options) == [{"c3": 0}]


def test_dropping_every_column_is_an_error_at_the_line():
    with pytest.raises(PlanError, match="leaves no columns"):
        Pipeline().create([{"a": 1}]).drop("a")


# -- 24: more text than 32 bits count


@PLACED
@pytest.mark.parametrize("verb", ["sort", "sort by another", "group", "key"])
def test_fault_24_no_batch_put_into_a_file_has_more_bytes_than_are_counted(options, verb, monkeypatch):
    """Arrow counts the bytes of most texts in 32 bits: what is put end to end stays below a limit, here one of 20 kB instead of a GiB."""
    written = []
    before = RunWriter.write

    def write(self, batch, *rest, **named):
        written.append(batch.nbytes)
        return before(self, batch, *rest, **named)

    monkeypatch.setattr(RunWriter, "write", write)
    monkeypatch.setattr(batches, "MOST_BYTES", 20_000)
    order = random.Random(2).sample(range(3000), 3000)
    table = pa.table({"s": [f"{at:05}" + "x" * 100 for at in order], "n": order})
    rows = Pipeline().from_arrow(table)
    query = {
        "sort": lambda: rows.sort("s"),
        "sort by another": lambda: rows.sort("n"),
        "group": lambda: rows.group_by("s").agg(n=col("n").max()).sort("n"),
        "key": lambda: rows.map(lambda row: row).sort(key=lambda row: row["n"]),
    }[verb]()
    found = query.to_arrow(**{**options, "memory": "1GiB"})
    assert found.column("n").to_pylist() == list(range(3000))
    if verb != "key":  # a list of Python's values is encoded in texts whose bytes 64 bits count
        assert max(written) < 40_000, max(written)


@pytest.mark.parametrize("verb", ["sort", "join"])
def test_fault_24_texts_that_travel_as_places_are_counted_as_texts(verb, monkeypatch):
    """Ten texts of 300 bytes, 100,000 times: 30 MB that a shuffle carries in 100 kB, and whoever reads a block has again."""
    sizes = []
    before = RunWriter.write

    def write(self, batch, *rest, **named):
        before(self, batch, *rest, **named)
        if "t" in batch.schema.names and pa.types.is_dictionary(batch.schema.field("t").type):
            sizes.append(plain_bytes(batch))
            assert self._blocks[-1].size >= sizes[-1]

    monkeypatch.setattr(RunWriter, "write", write)
    table = pa.table({"t": [str(at % 10) * 300 for at in range(100_000)], "n": [-at for at in range(100_000)]})
    pipeline = Pipeline()
    rows, numbers = pipeline.from_arrow(table), pipeline.from_arrow(table.select(["n"]))
    query = rows.sort("n") if verb == "sort" else rows.join(numbers, on="n").sort("n")
    found = query.select("n", size=col("t").str.len_bytes()).to_arrow(**{**CUT, "memory": "64MiB"})
    assert found.column("n").to_pylist() == list(range(-99_999, 1)) and found.column("size").to_pylist() == [300] * 100_000
    assert sizes and max(sizes) <= 2 * BLOCK_BYTES


# -- folders of values


@PLACED
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_values_in_folder_names_are_integers_and_dates_where_all_of_them_are(tmp_path, options, form):
    none = "__HIVE_DEFAULT_PARTITION__"
    for year, month, day in [("2023", "01", "2023-01-05"), ("2024", "10", "2024-10-31"), (none, "12", "2024-12-01")]:
        folder = tmp_path / f"y={year}" / f"m={month}" / f"d={day}"
        folder.mkdir(parents=True)
        if form == "parquet":
            write(folder / "a.parquet", {"a": [1]})
        else:
            (folder / f"a.{form}").write_text("a\n1\n" if form == "csv" else '{"a": 1}\n')
    source = getattr(Pipeline(), f"read_{form}")(str(tmp_path))
    assert {name: str(kind) for name, kind in source.schema.items()} == {"a": "int64", "y": "int64", "m": "string", "d": "date"}
    assert source.filter(col("y") == 2024).collect(**options) == [{"a": 1, "y": 2024, "m": "10", "d": dt.date(2024, 10, 31)}]
    assert rows_of(source.group_by("y").agg(col("a").sum()), options) == [{"y": 2023, "a": 1}, {"y": 2024, "a": 1}, {"y": None, "a": 1}]
    assert sorted(source.map(lambda row: str(row["y"])).collect(**options)) == ["2023", "2024", "None"]


def test_what_partition_by_wrote_is_read_back_with_its_types(tmp_path):
    rows = [{"n": n, "when": dt.date(2024, 1, 1 + n % 2), "x": n * 0.5} for n in range(-2, 5)]
    p = Pipeline()
    p.create(rows).write_parquet(str(tmp_path / "out"), partition_by=["n", "when"])
    p.run(**WHOLE)
    assert rows_of(Pipeline().read_parquet(str(tmp_path / "out")).select("n", "when", "x"), WHOLE) == sorted(rows, key=str)


CONDITIONS = {
    "a day": (lambda: col("d") == dt.date(2024, 1, 2), "d=2024-01-02", 2),
    "a day and a number": (lambda: (col("d") >= dt.date(2024, 1, 3)) & (col("a") > 1), "d=2024-01-03", 1),
    "one of two": (
        lambda: ((col("d") == dt.date(2024, 1, 1)) & (col("a") == 1)) | (col("d") == dt.date(2024, 1, 2)), "d=2024-01-0[12]", 3,
    ),
    "no day": (lambda: col("d").is_null(), "d=__HIVE.*", 2),
    "none there is": (lambda: col("d") > dt.date(2025, 1, 1), "nothing", 0),
}  # fmt: skip


@PLACED
@pytest.mark.parametrize("form", ["parquet", "ipc", "csv", "jsonl"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_folders_that_a_condition_leaves_out_are_not_read(tmp_path, options, form, name, monkeypatch):
    condition, wanted, count = CONDITIONS[name]
    for day in ("2024-01-01", "2024-01-02", "2024-01-03", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / f"d={day}"
        folder.mkdir()
        if form == "parquet":
            write(folder / "a.parquet", {"a": [1, 2]})
        elif form == "ipc":
            with pa.ipc.new_file(folder / "a.ipc", pa.schema([("a", pa.int64())])) as file:
                file.write_table(pa.table({"a": [1, 2]}))
        else:
            (folder / f"a.{form}").write_text("a\n1\n2\n" if form == "csv" else '{"a": 1}\n{"a": 2}\n')
    query = getattr(Pipeline(), f"read_{form}")(str(tmp_path)).filter(condition())
    assert len(query.collect(runner="reference")) == count
    kind = type(query.node.inputs[0].inputs[0].source)
    read = []
    before = kind.read

    def watched(self, split):
        read.append((self.chosen is not None, split.name))
        return before(self, split)

    monkeypatch.setattr(kind, "read", watched)
    assert len(query.collect(**options)) == count
    # those that are read to know the columns of JSON lines are of all folders
    assert all(re.search(wanted, path) for chosen, path in read if chosen or form != "jsonl"), read
    assert f"reads {(count + 1) // 2} of 4 folders: " in query.explain()


@PLACED
def test_counts_of_some_folders_are_right_beside_folders_with_other_columns(tmp_path, options):
    """What is read of some folders has the columns and types of all."""
    write(tmp_path / "k=1" / "a.parquet", {"a": [1], "b": [2]})
    write(tmp_path / "k=x" / "a.parquet", {"a": [3]})
    source = Pipeline().read_parquet(str(tmp_path), schema="union")
    assert source.filter(col("k") == "x").collect(**options) == [{"a": 3, "b": None, "k": "x"}]
    assert source.filter(col("k") == "1").collect(**options) == [{"a": 1, "b": 2, "k": "1"}]
    assert source.filter(col("k") == "x").group_by().agg(n=col("b").count()).collect(**options) == [{"n": 0}]


@PLACED
def test_a_condition_on_folders_that_fails_fails_in_the_run(tmp_path, options):
    write(tmp_path / "k=1" / "a.parquet", {"a": [1]})
    write(tmp_path / "k=x" / "a.parquet", {"a": [3]})
    assert "x" in str(error_of(Pipeline().read_parquet(str(tmp_path)).filter(col("k").cast("int64") == 1), options))


# -- nothing, one, null


EMPTY = pa.table({"a": pa.array([], pa.int64()), "s": pa.array([], pa.string())})


def verbs(table, other):
    yield "filter", table.filter(col("a") > 0)
    yield "sort", table.sort("a")
    yield "distinct", table.distinct(["a"])
    yield "limit", table.limit(3)
    yield "group", table.group_by("a").agg(n=col("s").count())
    yield "window", table.with_columns(t=col("a").sum().over("s"))
    yield "inner", table.join(other, "a")
    yield "explode", table.with_columns(parts=col("s").str.split(",")).explode("parts")
    yield "unpivot", table.unpivot(["a"], index=["s"])
    yield "concat", table.concat(table)


@PLACED
def test_fault_24_nothing_gives_nothing(tmp_path, options):
    path = write(tmp_path / "empty.parquet", EMPTY)
    full = pa.table({"a": [1, 2], "s": ["x", "y"]})
    p = Pipeline()
    for source in (p.from_arrow(EMPTY), p.read_parquet(path), p.from_arrow(full).filter(col("a") > 5)):
        for name, query in verbs(source, p.from_arrow(full)):
            assert query.collect(**options) == [], name
        whole = source.group_by().agg(t=col("a").sum(), m=col("a").max(), n=col("s").n_unique(), q=col("a").median())
        assert whole.collect(**options) == [{"t": 0, "m": None, "n": 0, "q": None}]
        assert rows_of(p.from_arrow(full).join(source, "a", how="left"), options) == [
            {"a": 1, "s": "x", "s_right": None}, {"a": 2, "s": "y", "s_right": None},
        ]  # fmt: skip
        assert len(source.join(p.from_arrow(full), "a", how="full").collect(**options)) == 2


@PLACED
def test_an_empty_file_among_others(tmp_path, options):
    write(tmp_path / "1.parquet", EMPTY)
    write(tmp_path / "2.parquet", {"a": [1, 5], "s": ["x", "y"]})
    assert Pipeline().read_parquet(str(tmp_path)).filter(col("a") > 1).collect(**options) == [{"a": 5, "s": "y"}]


@PLACED
def test_one_row_and_columns_of_nulls(options):
    p = Pipeline()
    one = p.from_arrow(pa.table({"a": [7], "n": pa.nulls(1)}))
    assert one.group_by("n").agg(col("a").sum()).collect(**options) == [{"n": None, "a": 7}]
    assert one.sort("n").collect(**options) == [{"a": 7, "n": None}]
    assert one.join(p.from_arrow(pa.table({"n": [1, None]})), "n").collect(**options) == []
    assert len(one.join(p.from_arrow(pa.table({"n": [1, None]})), "n", null_equal=True).collect(**options)) == 1
    assert one.with_columns(t=col("a").sum().over("n")).collect(**options) == [{"a": 7, "n": None, "t": 7}]


@PLACED
def test_an_empty_result_keeps_its_columns(options):
    assert Pipeline().from_arrow(EMPTY).filter(col("a") > 0).to_arrow(**options).column_names == ["a", "s"]


@PLACED
def test_an_empty_output_can_be_read(tmp_path, options):
    p = Pipeline()
    p.from_arrow(pa.table({"a": [1]})).filter(col("a") > 1).write_parquet(str(tmp_path / "out"))
    p.run(**options)
    assert Pipeline().read_parquet(str(tmp_path / "out")).filter(col("a") > 0).collect(**options) == []


# -- 44: keys

KEYS = {  # left, right, the places of those that meet
    "small and large integers": (pa.array([1, 2, None, 3], pa.int8()), pa.array([2, 3, 300, None], pa.int64()), [(1, 0), (3, 1)]),
    "signed and unsigned": (pa.array([1, 2**64 - 1], pa.uint64()), pa.array([-1, 1], pa.int32()), [(0, 1)]),
    "scales": (pa.array([Decimal("1.5"), Decimal("2")], pa.decimal128(5, 2)), pa.array([Decimal("1.500")], pa.decimal128(12, 3)), [(0, 0)]),
    "integer and float": (pa.array([1, 2], pa.int32()), pa.array([1.0, 2.5]), [(0, 0)]),
    "integer and decimal": (pa.array([1, 2]), pa.array([Decimal("1.0"), Decimal("2.5")], pa.decimal128(5, 1)), [(0, 0)]),
    "nan, zeros": (pa.array([math.nan, -0.0, None]), pa.array([-math.nan, 0.0, 5.0]), [(0, 0), (1, 1)]),
    "units": (pa.array([1, -2], pa.timestamp("s")), pa.array([1_000_000, -2_000_001], pa.timestamp("us")), [(0, 0)]),
    "day and time": (pa.array([dt.date(1960, 1, 1)]), pa.array([dt.datetime(1960, 1, 1, 1), dt.datetime(1960, 1, 1)]), [(0, 1)]),
    "text with zeros": (pa.array(["a\0", "a", "a\0b"]), pa.array(["a", "a\0c"]), [(1, 0)]),
    "dictionary and text": (pa.array(["a", "b", None]).dictionary_encode(), pa.array(["b"], pa.large_string()), [(1, 0)]),
    "bytes of a width": (pa.array([b"ab", b"cd"], pa.binary(2)), pa.array([b"cd"], pa.binary(2)), [(1, 0)]),
}


@PLACED
@pytest.mark.parametrize("case", KEYS)
def test_fault_44_keys_of_different_types_meet_as_their_values_do(case, options):
    left, right, expected = KEYS[case]
    p = Pipeline()
    a = p.from_arrow(pa.table({"k": left, "x": range(len(left))}))
    b = p.from_arrow(pa.table({"k": right, "y": range(len(right))}))
    assert sorted((r["x"], r["y"]) for r in a.join(b, "k").collect(**options)) == expected
    assert sorted(r["x"] for r in a.join(b, "k", how="semi").collect(**options)) == [x for x, _ in expected]
    assert len(a.join(b, "k", how="anti").collect(**options)) == len(left) - len(expected)
    assert len(a.join(b, "k", how="full").collect(**options)) == len(left) + len(right) - len(expected)


@PLACED
def test_fault_44_nan_and_zeros_group_by_value(options):
    table = pa.table({"k": [math.nan, -math.nan, -0.0, 0.0, None], "x": [1, 2, 4, 8, 16]})
    found = Pipeline().from_arrow(table).group_by("k").agg(col("x").sum()).collect(**options)
    assert sorted(r["x"] for r in found) == [3, 12, 16]


@PLACED
def test_old_dates_and_large_decimals(options):
    table = pa.table({
        "d": [dt.date(1, 1, 1), dt.date(1969, 12, 31)], "t": [dt.datetime(1, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59)],
        "n": pa.array([Decimal(10) ** 35, Decimal("-0.01")], pa.decimal128(38, 2)),
    })  # fmt: skip
    found = Pipeline().from_arrow(table).select("d", "n", y=col("d").dt.year(), h=col("t").dt.hour()).sort("y").collect(**options)
    assert found == [
        {"d": dt.date(1, 1, 1), "n": Decimal(10) ** 35, "y": 1, "h": 0},
        {"d": dt.date(1969, 12, 31), "n": Decimal("-0.01"), "y": 1969, "h": 23},
    ]
    huge = Pipeline().from_arrow(pa.table({"n": pa.array([Decimal(10) ** 37] * 20, pa.decimal128(38, 0))}))
    assert "overflow" in str(error_of(huge.group_by().agg(col("n").sum()), options))


# -- 48, 49: Python functions


@PLACED
def test_fault_48_results_that_disagree_are_an_error_with_step_line_and_record(options):
    def odd(i):
        return {"a": i if i < 5000 else "x", "i": i}

    text = str(error_of(Pipeline().create(range(10_000)).map(odd).filter(col("i") > 1), options))
    assert "'a'" in text and "int, str" in text and "map odd" in text and "test_tables.py" in text and "'x'" in text


@PLACED
def test_fault_48_results_promote_where_that_loses_nothing(options):
    p = Pipeline()
    nulls = p.create(range(10_000)).map(lambda i: {"a": None if i < 9_000 else i})
    assert nulls.group_by().agg(n=col("a").count(), t=col("a").max()).collect(**options) == [{"n": 1000, "t": 9999}]
    floats = p.create(range(10_000)).map(lambda i: {"a": i if i < 9_000 else i + 0.5})
    assert floats.group_by().agg(col("a").max()).collect(**options) == [{"a": 9999.5}]
    missing = p.create(range(10_000)).map(lambda i: {"a": i} if i < 5_000 else {"b": i})
    assert missing.group_by().agg(a=col("a").count(), b=col("b").max()).collect(**options) == [{"a": 5000, "b": 9999}]


@PLACED
def test_fault_48_a_result_that_is_no_record_is_an_error_that_shows_it(options):
    found = Pipeline().create(range(10_000)).map(lambda i: i if i == 7000 else {"a": i}, label="shape").filter(col("a") > 1)
    text = str(error_of(found, options))
    assert "7000" in text and "shape" in text


@PLACED
def test_fault_49_an_exception_in_a_columns_function_shows_line_and_value(options):
    def risky(value):
        if value == 77:
            raise ValueError("bad seventy-seven")
        return value + 1

    table = pa.table({"x": range(100)})
    text = str(error_of(Pipeline().from_arrow(table).with_columns(y=col("x").apply(risky, returns=int)), options))
    assert "ValueError: bad seventy-seven" in text and 'raise ValueError("bad seventy-seven")' in text and "in risky" in text
    assert "record   77" in text and " part " not in text
    text = str(error_of(Pipeline().from_arrow(table).with_columns(y=col("x").apply(lambda x: "s" if x == 5 else x, returns=int)), options))
    assert "gave 's'" in text and "int64" in text


# -- 46: inputs that change


@PLACED
@pytest.mark.parametrize("change", ["removed", "replaced", "truncated"])
def test_fault_46_an_input_that_changes_during_the_run_is_an_error_that_names_it(tmp_path, options, change):
    for i in range(3):
        write(tmp_path / f"{i}.parquet", {"k": np.arange(50_000)})
    last = tmp_path / "2.parquet"
    done = []

    def touch(value):
        if not done:
            done.append(True)
            if change == "removed":
                last.unlink()
            elif change == "replaced":
                os.replace(write(tmp_path / "next", {"k": np.arange(7)}), last)
            else:
                os.truncate(last, 1000)
        return value

    text = str(error_of(Pipeline().read_parquet(str(tmp_path)).with_columns(y=col("k").apply(touch, returns=int)), options))
    assert str(last) in text and ("changed" in text or "vanished" in text)


# -- queries that stop early, run twice, run together


def test_fault_09_a_limit_stops_the_query_and_python_ends_well(tmp_path):
    write(tmp_path / "a.parquet", {"k": np.arange(1_000_000)}, row_group_size=50_000)
    done = run_script(
        """
from dataflow import Pipeline, col
table = Pipeline().read_parquet("a.parquet").filter(col("k") > 5)
print(len(table.limit(3).collect(progress=False)), len(table.head(2, progress=False)))
print(len(table.with_columns(z=col("k").apply(lambda x: x, returns=int)).head(2, progress=False)))
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["3", "2", "2"]), done.stderr[-1500:]


def test_fault_09_an_abandoned_query_does_not_abort_python_when_it_ends(tmp_path):
    done = run_script(
        """
import time
import pyarrow as pa
from dataflow.kernels.query import batches, frame_of_stream
table = pa.table({"k": range(100_000)})
def make(names):
    for _ in range(1000):
        time.sleep(0.1)  # the query has stopped when the kernel's thread comes back from here
        yield table
kept = batches(frame_of_stream(make, table.schema))
print(next(kept).num_rows > 0)
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr[-1500:]


def test_a_query_runs_twice_and_several_run_in_threads():
    table = pa.table({"k": np.arange(50_000) % 100, "x": np.arange(50_000)})
    expected = rows_of(Pipeline().from_arrow(table).group_by("k").agg(col("x").sum()), WHOLE)
    found = []

    def run(options):
        grouped = Pipeline().from_arrow(table).group_by("k").agg(col("x").sum())
        found.extend(rows_of(grouped, options) for _ in range(2))

    threads = [threading.Thread(target=run, args=(options,)) for options in (WHOLE, CUT, WHOLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


LONG = """
import sys
from dataflow import Pipeline, col
p = Pipeline()
a = p.read_parquet("in.parquet")
a.join(a.rename({"x": "y"}), "k").filter(col("x") + col("y") < 1.9).sort("y").write_parquet("out")
print("ready", flush=True)
p.run(progress=False, spill_folders=["spill"], **OPTIONS)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"placement": "whole", "mode": "in_process"},
        {"placement": "partitioned", "memory": "16MiB", "mode": "in_process"},
        {"placement": "partitioned", "memory": "32MiB", "mode": "processes", "workers": 2},
    ],
    ids=["whole", "partitioned", "processes"],
)
@pytest.mark.parametrize("wait", [0.7, 2.5])
def test_fault_09_ctrl_c_ends_a_query_in_two_seconds_and_leaves_nothing(tmp_path, options, wait):
    draw = np.random.default_rng(1)
    write(tmp_path / "in.parquet", {"k": draw.integers(0, 100, 150_000), "x": draw.random(150_000)})
    (tmp_path / "script.py").write_text(LONG.replace("OPTIONS", repr(options)))
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(wait)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT), errors[-1500:]
    assert time.monotonic() - begun < 3, "a busy machine is given a second more"
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "spill") == ["in.parquet", "script.py"]
    assert not (tmp_path / "spill").exists() or list((tmp_path / "spill").iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_fault_01_a_worker_killed_in_a_partitioned_query_changes_nothing(tmp_path):
    draw = np.random.default_rng(1)
    write(tmp_path / "in.parquet", {"k": draw.integers(0, 1000, 300_000), "x": draw.integers(0, 100, 300_000)}, row_group_size=30_000)
    mark = str(tmp_path / "killed")

    def deadly(value):
        import os
        import signal

        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return value
        os.kill(os.getpid(), signal.SIGKILL)
        return value

    def query(fn):
        table = Pipeline().read_parquet(str(tmp_path / "in.parquet"))
        some = table.group_by("k").agg(t=col("x").sum(), n=col("x").len())
        return table.join(some, "k").filter(col("x") > 50).with_columns(z=col("t").apply(fn, returns=int)).group_by("k").agg(col("z").sum())

    expected = rows_of(query(lambda value: value), WHOLE)
    options = {"placement": "partitioned", "mode": "processes", "workers": 2, "memory": "32MiB", "progress": False}
    assert rows_of(query(deadly), options) == expected
    assert os.path.exists(mark)


# -- many


@PLACED
def test_many_small_files(tmp_path, options):
    for i in range(300):
        write(tmp_path / f"{i:04d}.parquet", {"n": [i], "s": [f"file {i}"]})
    source = Pipeline().read_parquet(str(tmp_path))
    assert source.group_by().agg(t=col("n").sum(), u=col("s").n_unique()).collect(**options) == [{"t": 44850, "u": 300}]


@pytest.mark.slow
@PLACED
@pytest.mark.timeout(300)
def test_ten_thousand_files(tmp_path, options):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [1], "s": ["x"]}), buffer)
    data = buffer.getvalue().to_pybytes()
    for i in range(10_000):
        (tmp_path / f"{i:05d}.parquet").write_bytes(data)
    found = Pipeline().read_parquet(str(tmp_path)).filter(col("s") == "x").group_by().agg(col("n").sum())
    assert found.collect(**options) == [{"n": 10_000}]


@PLACED
def test_a_file_of_thousands_of_row_groups(tmp_path, options):
    table = pa.table({"n": range(20_000), "s": [str(i % 7) for i in range(20_000)]})
    path = write(tmp_path / "a.parquet", table, row_group_size=10, write_page_checksum=True)
    found = Pipeline().read_parquet(path).filter(col("n") >= 10_000).group_by("s").agg(col("n").count())
    assert sum(row["n"] for row in found.collect(**options)) == 10_000


# -- SQL over files that cannot be read


@pytest.mark.parametrize(
    ("form", "data"),
    [("parquet", b"rubbish" * 100), ("csv", b"a,b\n1,2\n3\n"), ("csv.gz", b"\x1f\x8b rubbish"), ("jsonl", b'{"a": 1\n'), ("parquet", None)],
)
def test_fault_32_sql_over_a_file_that_cannot_be_read_names_it(tmp_path, form, data):
    path = tmp_path / f"bad.{form}"
    if data is not None:
        path.write_bytes(data)
    p = Pipeline()
    with pytest.raises(DataflowError) as caught:
        p.sql("select a from t", t=getattr(p, f"read_{form.split('.')[0]}")(str(path)))
    assert "the table 't' cannot be read" in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 20
