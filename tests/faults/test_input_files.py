"""Input files that are broken, odd, hostile or change while they are read: faults 32, 33, 37 to 42, 46 and 47."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import DataflowError, Pipeline, col
from dataflow.errors import InputError, SchemaError
from dataflow.expr.functions import len_
from dataflow.io.csv import CsvSource
from dataflow.io.ipc import IpcSource
from dataflow.io.jsonl import JsonLinesSource
from dataflow.io.parquet import ParquetSource
from dataflow.io.text import TextSource

HERE = {"mode": "in_process", "progress": False}

BROKEN = {}


@pytest.fixture(autouse=True)
def known_bugs(request):
    """Marks the cases of a test that fail while the others pass."""
    name, bracket, case = request.node.name.partition("[")
    reason, cases = BROKEN.get(name, ("", ()))
    if bracket + case in cases:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def in_splits(source, target):
    """All rows of a file source read in splits of about `target` bytes."""
    splits = [split for info in source.files() for split in source.split_file(info, target)]
    return [row for split in splits for piece in source.read(split) for row in piece.batch.rows()]


def error_of(collection, **options):
    with pytest.raises(DataflowError) as caught:
        collection.collect(**{**HERE, **options})
    assert len(str(caught.value).splitlines()) <= 20
    return caught.value


def a_table(rows=1000):
    draw = random.Random(5)
    return pa.table(
        {"n": range(rows), "f": [draw.random() for _ in range(rows)], "s": [f"row {draw.randrange(10**9)}" for _ in range(rows)]}
    )


def write_avro(path, rows, codec="deflate"):
    import fastavro

    schema = {"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "string"}]}
    with open(path, "wb") as out:
        fastavro.writer(out, schema, rows, codec=codec)


# -- 32: truncated and foreign files


@pytest.mark.parametrize("cut", ["half", "last 4", "last 8", "empty", "one byte"])
@pytest.mark.parametrize("form", ["parquet", "ipc"])
def test_fault_32_truncated_columnar_file_is_an_error_that_names_it(tmp_path, form, cut):
    path = tmp_path / f"data.{form}"
    if form == "parquet":
        pq.write_table(a_table(), path)
    else:
        with pa.ipc.new_file(str(path), a_table().schema) as out:
            out.write_table(a_table())
    data = path.read_bytes()
    size = {"half": len(data) // 2, "last 4": len(data) - 4, "last 8": len(data) - 8, "empty": 0, "one byte": 1}[cut]
    path.write_bytes(data[:size])
    error = error_of(getattr(Pipeline(), f"read_{form}")(str(path)))
    assert str(path) in str(error)


@pytest.mark.parametrize("form", ["parquet", "ipc", "avro"])
def test_fault_32_a_text_file_is_not_parquet_ipc_or_avro(tmp_path, form):
    path = tmp_path / f"data.{form}"
    path.write_text("a,b\n1,2\n" * 100)
    error = error_of(getattr(Pipeline(), f"read_{form}")(str(path)))
    assert str(path) in str(error)


def test_fault_32_huge_footer_length_is_an_error(tmp_path):
    path = tmp_path / "data.parquet"
    pq.write_table(a_table(), path)
    data = bytearray(path.read_bytes())
    data[-8:-4] = (0x7FFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    assert str(path) in str(error_of(Pipeline().read_parquet(str(path))))


@pytest.mark.parametrize("form", ["parquet", "ipc"])
def test_fault_32_skip_passes_over_bad_files_and_says_which(tmp_path, form):
    for name in "abc":
        path = tmp_path / f"{name}.{form}"
        if form == "parquet":
            pq.write_table(a_table(10), path)
        else:
            with pa.ipc.new_file(str(path), a_table(10).schema) as out:
                out.write_table(a_table(10))
    bad = tmp_path / f"b.{form}"
    bad.write_bytes(bad.read_bytes()[:-6])
    p = Pipeline()
    getattr(p, f"read_{form}")(str(tmp_path), on_error="skip").write_jsonl(str(tmp_path.parent / f"{tmp_path.name}-out"))
    result = p.run(**HERE)
    assert result.outputs[0].rows == 20
    assert result.skipped == 1
    assert [str(bad) in record.source for record in result.skipped_records()] == [True]


QUERIES = {
    "group": lambda rows: rows.group_by().agg(n=len_()),
    "filter": lambda rows: rows.filter(col("n") >= 0).select("n"),
    "join": lambda rows: rows.join(rows.select("n"), "n"),
    "sort": lambda rows: rows.sort("n").limit(5),
}


@pytest.mark.parametrize("placement", [{}, {"placement": "whole"}, {"placement": "partitioned", "memory": "1MiB"}], ids=repr)
@pytest.mark.parametrize("form", ["parquet", "ipc", "csv", "jsonl"])
@pytest.mark.parametrize("query", QUERIES)
def test_fault_32_skip_passes_over_what_is_bad_and_counts_it_in_queries(tmp_path, query, form, placement):
    folder, out = tmp_path / "in", str(tmp_path / "out")
    folder.mkdir()
    for name in "ab":
        path = folder / f"{name}.{form}"
        table = pa.table({"n": range(10), "s": ["x"] * 10})
        bad = {"csv": "1,2,3,4\n", "jsonl": "{nonsense\n"}.get(form, "") if name == "b" else ""
        if form == "parquet":
            pq.write_table(table, path)
        elif form == "ipc":
            with pa.ipc.new_file(str(path), table.schema) as file:
                file.write_table(table)
        elif form == "csv":
            path.write_text("n,s\n" + "".join(f"{at},x\n" for at in range(10)) + bad)
        else:
            path.write_text("".join(f'{{"n": {at}, "s": "x"}}\n' for at in range(10)) + bad)
        if name == "b" and not bad:
            path.write_bytes(path.read_bytes()[:-4])
    good = 10 if form in ("parquet", "ipc") else 20
    p = Pipeline()
    rows = getattr(p, f"read_{form}")(str(folder), on_error="skip")
    QUERIES[query](rows).write_parquet(out)
    result = p.run(**HERE, **placement)
    readings = 2 if query == "join" and "memory" in placement else 1  # each phase that reads the files counts what it passes over
    assert result.skipped == readings
    assert [str(folder / "b.") in record.source for record in result.skipped_records()] == [True] * readings
    assert result.outputs[0].rows == {"group": 1, "filter": good, "join": good * good // 10, "sort": 5}[query]
    if query == "group":
        assert pq.read_table(out)["n"].to_pylist() == [good]


def test_fault_32_all_files_bad_with_skip_is_not_a_silent_success_without_a_trace(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    p = Pipeline()
    p.read_parquet(str(tmp_path), on_error="skip").write_jsonl(str(tmp_path / "out"))
    result = p.run(**HERE)
    assert result.outputs[0].rows == 0 and result.skipped == 1


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_fault_32_truncated_avro_is_an_error_that_names_it(tmp_path, codec):
    path = tmp_path / "data.avro"
    write_avro(path, [{"n": i, "s": f"row {i}"} for i in range(500)], codec)
    data = path.read_bytes()
    for size in [0, 1, 3, 10, len(data) // 3, len(data) // 2, len(data) - 17, len(data) - 16, len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:size])
        error = error_of(Pipeline().read_avro(str(path)))
        assert isinstance(error, InputError), (size, str(error))
        assert str(path) in str(error), size


# -- 33: flipped bits


def test_fault_33_a_flipped_byte_is_found_where_the_file_has_page_checksums(tmp_path):
    path = tmp_path / "data.parquet"
    table = a_table(3000)
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = path.read_bytes()
    draw = random.Random(1)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    wrong = []
    for _ in range(40):
        at = draw.randrange(4, len(data) - footer)
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        try:
            rows = Pipeline().read_parquet(str(path)).collect(**HERE)
        except InputError as error:
            assert str(path) in str(error)
        else:
            if rows != table.to_pylist():
                wrong.append(at)
    assert not wrong


def test_fault_33_our_own_parquet_carries_page_checksums(tmp_path):
    p = Pipeline()
    p.create([{"s": f"row {i}", "n": i} for i in range(3000)]).write_parquet(str(tmp_path / "out"), compression="none")
    p.run(**HERE)
    (path,) = (tmp_path / "out").glob("*.parquet")
    data = bytearray(path.read_bytes())
    at = data.index(b"row 1500") + 4
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="[Cc][Rr][Cc]|checksum"):
        pq.ParquetFile(path, page_checksum_verification=True).read()
    assert str(path) in str(error_of(Pipeline().read_parquet(str(path))))


def test_fault_33_flipped_bytes_in_ipc_never_crash_the_process(tmp_path):
    table = pa.table({"n": range(200), "s": [f"row {i}" for i in range(200)], "l": [[i, i] for i in range(200)]})
    path = tmp_path / "data.arrow"
    with pa.ipc.new_file(str(path), table.schema) as out:
        out.write_table(table, max_chunksize=50)
    script = f"""
import random
from dataflow import Pipeline, DataflowError
data = open({str(path)!r}, "rb").read()
draw = random.Random(3)
good = bad = 0
for trial in range(250):
    at = draw.randrange(len(data))
    broken = bytearray(data)
    broken[at] ^= 1 << draw.randrange(8)
    name = {str(path)!r} + ".broken"
    open(name, "wb").write(broken)
    try:
        Pipeline().read_ipc(name).collect(mode="in_process", progress=False)
        good += 1
    except DataflowError as error:
        assert name in str(error), (trial, at, str(error))
        bad += 1
print("done", good, bad)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, (done.returncode, done.stderr[-1500:])
    assert done.stdout.startswith("done")


def test_fault_33_flipped_bytes_in_avro_give_an_input_error_or_rows_of_the_right_shape(tmp_path):
    path = tmp_path / "data.avro"
    write_avro(path, [{"n": i, "s": f"row {i}"} for i in range(300)])
    data = path.read_bytes()
    draw = random.Random(2)
    failed = []
    for _ in range(80):
        at = draw.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        try:
            Pipeline().read_avro(str(path)).collect(**HERE)
        except InputError as error:
            if str(path) not in str(error):
                failed.append((at, str(error)))
        except Exception as error:
            failed.append((at, f"{type(error).__name__}: {error}"[:200]))
    assert not failed


# -- 37: CSV


def python_rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def a_wild_csv(draw, rows):
    """CSV text with quotes, newlines, commas and doubled quotes within fields, and any line ends."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=draw.choice(["\n", "\r\n"]), quoting=draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    writer.writerow(["a", "b", "c"])
    pieces = ["x", "ü", "\n", "\r\n", '"', '""', ",", "longer text", " ", "'", "\n\n", '"\n"']
    for i in range(rows):
        writer.writerow([f"k{i}", "v" + "".join(draw.choice(pieces) for _ in range(draw.randrange(6))), f"é{draw.randrange(1000)}z"])
    return out.getvalue()


@pytest.mark.parametrize("seed", range(8))
def test_fault_37_quotes_with_newlines_at_split_boundaries_equal_pythons_csv(tmp_path, seed):
    draw = random.Random(seed)
    text = a_wild_csv(draw, 150)
    path = tmp_path / "wild.csv"
    path.write_bytes(text.encode())
    source = CsvSource((str(path),))
    expected = python_rows(text)
    for target in (7, 40, 111, 1000, 10**6):
        assert in_splits(source, target) == expected, target


@pytest.mark.parametrize("block", [16, 33, 100])
def test_fault_37_quotes_with_newlines_at_block_boundaries_equal_pythons_csv(tmp_path, monkeypatch, block):
    import dataflow.io.csv as module

    monkeypatch.setattr(module, "BLOCK", block)
    text = a_wild_csv(random.Random(block), 200)
    (tmp_path / "wild.csv").write_bytes(text.encode())
    (tmp_path / "wild.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = python_rows(text)
    assert in_splits(CsvSource((str(tmp_path / "wild.csv"),)), 500) == expected
    assert in_splits(CsvSource((str(tmp_path / "wild.csv.gz"),)), 500) == expected


def test_fault_37_a_stray_quote_in_a_plain_field_does_not_move_the_split_boundaries_into_quotes(tmp_path):
    lines = ["name,size,note"]
    for i in range(60):
        lines.append(f'pipe{i},5" wide,plain' if i % 7 == 3 else f'bolt{i},thin,"two\nlines, {i}"')
    text = "\n".join(lines) + "\n"
    path = tmp_path / "stray.csv"
    path.write_text(text)
    expected = python_rows(text)
    assert in_splits(CsvSource((str(path),)), 10**6) == expected
    for target in (20, 50, 150):
        assert in_splits(CsvSource((str(path),)), target) == expected, target


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_fault_37_csv_line_ends_bom_and_missing_last_newline(tmp_path, ending):
    path = tmp_path / "a.csv"
    between = ending or "\n"
    path.write_bytes(b"\xef\xbb\xbf" + between.join(["name,n", "ü,1", "b,2"]).encode() + ending.encode())
    assert Pipeline().read_csv(str(path)).collect(**HERE) == [{"name": "ü", "n": 1}, {"name": "b", "n": 2}]


def test_fault_37_every_csv_file_may_have_a_bom(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_bytes(b"\xef\xbb\xbfname,n\n" + name.encode() + b",1\n")
    assert Pipeline().read_csv(str(tmp_path)).collect(**HERE) == [{"name": "a", "n": 1}, {"name": "b", "n": 1}]


def test_fault_37_an_empty_csv_among_others_gives_no_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "b.csv").write_text("x\n1\n")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "d.csv").write_text("x\n")
    assert Pipeline().read_csv(str(tmp_path)).collect(**HERE) == [{"x": 1}]


@pytest.mark.parametrize("content", [b"\n", b"\n\n\n", b"\xef\xbb\xbf", b"x"])
def test_fault_37_csv_without_rows_is_empty_or_an_error_with_the_file(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    try:
        assert Pipeline().read_csv(str(path)).collect(**HERE) == []
    except InputError as error:
        assert str(path) in str(error)


def test_fault_37_a_ragged_row_is_named_by_file_and_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n5,6,7\n8,9\n")
    text = str(error_of(Pipeline().read_csv(str(path))))
    assert f"{path}, row 4" in text and "5,6,7" in text, text


def test_fault_37_ragged_rows_are_skipped_and_counted_exactly(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{i},{i}" if i % 10 else f"{i},{i},more" for i in range(1, 101)]
    path.write_text("a,b\n" + "\n".join(rows) + "\n")
    p = Pipeline()
    p.read_csv(str(path), on_error="skip").write_jsonl(str(tmp_path / "out"))
    result = p.run(**HERE)
    assert (result.outputs[0].rows, result.skipped) == (90, 10)
    assert [r.source for r in result.skipped_records()] == [f"{path}, row {i + 1}" for i in range(10, 101, 10)]


def test_fault_37_a_record_behind_a_skipped_csv_row_keeps_its_own_row_number(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4,5\n6,7\n0,1\n")
    text = str(error_of(Pipeline().read_csv(str(path), on_error="skip").map(lambda r: 1 / r["a"])))
    assert f"{path}, row 5" in text, text


def test_fault_37_latin_1_csv_is_an_error_that_says_so_and_reads_with_the_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("name,n\nMüller,1\nJosé,2\n".encode("latin-1"))
    text = str(error_of(Pipeline().read_csv(str(path))))
    assert str(path) in text and "encoding" in text.lower(), text
    rows = Pipeline().read_csv(str(path), encoding="latin-1").collect(**HERE)
    assert rows == [{"name": "Müller", "n": 1}, {"name": "José", "n": 2}]


def test_fault_37_utf_16_csv_reads_with_the_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("name,n\nMüller,1\nJosé,2\n".encode("utf-16"))
    rows = Pipeline().read_csv(str(path), encoding="utf-16").collect(**HERE)
    assert rows == [{"name": "Müller", "n": 1}, {"name": "José", "n": 2}]


def test_fault_37_words_that_other_tools_take_for_null_stay_words(tmp_path):
    path = tmp_path / "a.csv"
    words = ["NA", "null", "nan", "None", "N/A", "NULL", "#N/A", "DE"]
    path.write_text("country,n\n" + "".join(f"{word},1\n" for word in words))
    assert [row["country"] for row in Pipeline().read_csv(str(path)).collect(**HERE)] == words


def test_fault_37_a_column_that_is_empty_in_the_first_file_takes_its_type_from_the_next(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,\n")
    (tmp_path / "b.csv").write_text("a,b\n2,x\n")
    assert Pipeline().read_csv(str(tmp_path)).collect(**HERE) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_fault_37_a_value_of_another_type_names_file_and_gives_a_schema_hint(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n" + "3,4\n" * 50 + "x,5\n")
    (tmp_path / "b.csv").write_text("a,b\nword,2\n")
    good = tmp_path / "0.csv"
    good.write_text("a,b\n1,2\n")
    text = str(error_of(Pipeline().read_csv([str(good), str(tmp_path / "b.csv")])))
    assert str(tmp_path / "b.csv") in text and "schema=" in text and "word" in text, text


@pytest.mark.parametrize("ending", PACKED)
def test_fault_37_a_truncated_compressed_csv_is_an_error_that_names_it(tmp_path, ending):
    path = tmp_path / f"a.csv{ending}"
    text = "a,b\n" + "".join(f"{i},{i * i % 977}\n" for i in range(20_000))
    data = PACKED[ending](text.encode())
    path.write_bytes(data[: len(data) * 2 // 3])
    error = error_of(Pipeline().read_csv(str(path)))
    assert str(path) in str(error), str(error)
    assert isinstance(error, InputError)


def test_fault_37_the_layout_of_many_csv_files_is_found_once(tmp_path, monkeypatch):
    for i in range(30):
        (tmp_path / f"{i:02}.csv").write_text("a\n1\n")
    calls = []
    before = CsvSource.files
    monkeypatch.setattr(CsvSource, "files", lambda self: (calls.append(1), before(self))[1])
    assert len(Pipeline().read_csv(str(tmp_path)).collect(**HERE)) == 30
    assert len(calls) < 15


# -- 38: JSON lines


def test_fault_38_a_bad_json_line_is_named_by_its_line_in_the_file_whatever_the_split(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"n": i, "pad": "x" * (i % 50)}) for i in range(500)]
    lines[377] = '{"n": 377, broken'
    path.write_text("\n".join(lines) + "\n")
    for target in (100, 1000, 10**6):
        with pytest.raises(InputError) as caught:
            in_splits(JsonLinesSource((str(path),)), target)
        assert f"{path}, line 378" in str(caught.value), (target, str(caught.value))


def test_fault_38_bad_lines_are_skipped_with_their_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2\n{"a": 3}\n\xff\xfe\n{"a": 4}\nnope\n')
    p = Pipeline()
    p.read_jsonl(str(path), on_error="skip").write_jsonl(str(tmp_path / "out"))
    result = p.run(**HERE)
    assert (result.outputs[0].rows, result.skipped) == (3, 3)
    assert sorted(r.source for r in result.skipped_records()) == [f"{path}, line {n}" for n in (3, 5, 7)]


@pytest.mark.parametrize("before", ["", "\n", "\n\n \n"])
def test_fault_38_a_record_behind_empty_lines_keeps_its_own_line_number(tmp_path, before):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + before + '{"a": 0}\n')
    text = str(error_of(Pipeline().read_jsonl(str(path)).map(lambda r: 1 / r["a"])))
    assert f"{path}, line {2 + before.count(chr(10))}" in text, text


def test_fault_38_mixed_types_and_values_stay_exactly_pythons(tmp_path):
    values = [1, "1", None, True, [1, "a", None], {"a": {"b": [1.5]}}, 2**70, "\u2028\x85", "", {}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values))
    assert Pipeline().read_jsonl(str(path)).collect(**HERE) == values


def test_fault_38_deeply_nested_json_is_an_error_with_the_line_or_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("1\n" + "[" * 100_000 + "]" * 100_000 + "\n")
    error = error_of(Pipeline().read_jsonl(str(path)).map(lambda x: 1))
    assert f"{path}, line 2" in str(error), str(error)


# -- 39: files that disagree


def test_fault_39_a_missing_column_is_an_error_that_names_both_files_and_union_fills_it(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [3]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"a": [4], "c": ["x"]}), tmp_path / "3.parquet")
    text = str(error_of(Pipeline().read_parquet(str(tmp_path))))
    assert "1.parquet" in text and "2.parquet" in text and "b" in text
    rows = Pipeline().read_parquet(str(tmp_path), schema="union").collect(**HERE)
    assert rows == [{"a": 1, "b": 2, "c": None}, {"a": 3, "b": None, "c": None}, {"a": 4, "b": None, "c": "x"}]


def test_fault_39_a_type_conflict_is_an_error_that_names_both_files_even_with_union(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    for schema in ("equal", "union"):
        text = str(error_of(Pipeline().read_parquet(str(tmp_path), schema=schema)))
        assert "1.parquet" in text and "2.parquet" in text and "int64" in text and "string" in text


def test_fault_39_a_type_conflict_names_the_files_that_conflict_not_the_first_one(tmp_path):
    pq.write_table(pa.table({"z": [0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"z": [0], "a": [1]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"z": [0], "a": ["x"]}), tmp_path / "3.parquet")
    text = str(error_of(Pipeline().read_parquet(str(tmp_path), schema="union")))
    assert "2.parquet" in text and "3.parquet" in text, text


def test_fault_39_a_column_of_nulls_beside_a_typed_one_is_no_conflict(tmp_path):
    pq.write_table(pa.table({"a": pa.nulls(1)}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"a": pa.nulls(1)}), tmp_path / "3.parquet")
    assert Pipeline().read_parquet(str(tmp_path)).collect(**HERE) == [{"a": None}, {"a": "x"}, {"a": None}]


def test_fault_39_files_of_polars_and_of_arrow_lie_side_by_side(tmp_path):
    import polars

    polars.DataFrame({"a": ["x"], "n": [1]}).write_parquet(tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["y"], "n": [2]}), tmp_path / "2.parquet")
    assert Pipeline().read_parquet(str(tmp_path)).collect(**HERE) == [{"a": "x", "n": 1}, {"a": "y", "n": 2}]


def test_fault_39_columns_in_another_order_are_the_same_columns(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["y"], "a": [2]}), tmp_path / "2.parquet")
    (tmp_path / "1.csv").write_text("a,b\n1,x\n")
    (tmp_path / "2.csv").write_text("b,a\ny,2\n")
    for found in (Pipeline().read_parquet(str(tmp_path / "*.parquet")), Pipeline().read_csv(str(tmp_path / "*.csv"))):
        assert found.collect(**HERE) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_fault_39_csv_files_with_other_columns_are_an_error_and_union_takes_all(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n3,4\n")
    text = str(error_of(Pipeline().read_csv(str(tmp_path))))
    assert "2.csv" in text and "b" in text and "c" in text
    rows = Pipeline().read_csv(str(tmp_path), columns="union").collect(**HERE)
    assert [{k: v for k, v in row.items() if v is not None} for row in rows] == [{"a": 1, "b": 2}, {"a": 3, "c": 4}]


@pytest.mark.parametrize("form", ["parquet", "ipc"])
def test_fault_39_a_column_that_is_not_there_fails_with_did_you_mean(tmp_path, form):
    path = tmp_path / f"1.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"customer": [1]}), path)
    else:
        with pa.ipc.new_file(str(path), pa.schema([("customer", pa.int64())])) as out:
            out.write_table(pa.table({"customer": [1]}))
    text = str(error_of(getattr(Pipeline(), f"read_{form}")(str(path), columns=["custmer"])))
    assert "custmer" in text and "customer" in text, text


# -- 40: odd text


WILD_LINES = ["", "a", "", "", "ü" * 50, "x\x0by", "p\x85q", "u\u2028v", "tab\t", " ", "\x1c", "end"]


@pytest.mark.parametrize("tail", ["\n", ""])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_fault_40_lines_are_the_same_whatever_the_split(tmp_path, ending, tail):
    lines = WILD_LINES * 5 + ["last"]
    path = tmp_path / "a.txt"
    path.write_bytes(ending.join(lines).encode() + (ending.encode() if tail else b""))
    for target in (1, 2, 3, 7, 64, 10**6):
        assert in_splits(TextSource((str(path),)), target) == lines, target


@pytest.mark.parametrize("content,lines", [(b"", 0), (b"\n", 1), (b"\n\n\n", 3), (b"a", 1), (b"a\n\n", 2), (b"\xef\xbb\xbfa\n", 1)])
def test_fault_40_empty_lines_and_files_count_as_wc_does(tmp_path, content, lines):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    for target in (1, 10**6):
        found = in_splits(TextSource((str(path),)), target)
        assert len(found) == lines and all(line in ("", "a") for line in found), target
    assert len(Pipeline().read_text(str(path)).collect(**HERE)) == lines


def test_fault_40_a_long_line_over_many_splits_and_blocks_is_one_line(tmp_path):
    path = tmp_path / "a.txt"
    long = "0123456789" * 500_000
    path.write_text(f"first\n{long}\nlast")
    assert in_splits(TextSource((str(path),)), 300_000) == ["first", long, "last"]
    assert sorted(map(len, Pipeline().read_text(str(path)).collect(**HERE))) == [4, 5, 5_000_000]


def test_fault_40_a_line_that_is_not_utf_8_is_named_whatever_the_split(tmp_path):
    path = tmp_path / "a.txt"
    lines = [f"line {i} ü".encode() for i in range(300)]
    lines[222] = b"caf\xe9"
    path.write_bytes(b"\n".join(lines))
    for target in (50, 10**6):
        with pytest.raises(InputError) as caught:
            in_splits(TextSource((str(path),)), target)
        assert f"{path}, line 223" in str(caught.value) and "encoding" in str(caught.value)


@pytest.mark.parametrize("reader", ["read_csv", "read_jsonl", "read_text"])
@pytest.mark.parametrize("advice", ["read_parquet", "read_ipc", "in .gz"])
def test_fault_40_a_file_of_another_format_is_known_by_its_beginning(tmp_path, capfd, reader, advice):
    path = tmp_path / "a"
    table = pa.table({"n": range(5000), "text": [str(n) * 3 for n in range(5000)]})
    if advice == "read_parquet":
        pq.write_table(table, path)
    elif advice == "read_ipc":
        with pa.ipc.new_file(path, table.schema) as out:
            out.write(table)
    else:
        path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 1000))
    with pytest.raises(InputError) as caught:
        getattr(Pipeline(), reader)(str(path)).collect(**HERE)
    assert "it begins as a " in str(caught.value) and advice in str(caught.value)
    assert capfd.readouterr().err == ""


def test_fault_40_a_csv_file_whose_text_begins_like_another_format_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("PAR1,né\n1,2\n")
    assert Pipeline().read_csv(str(path)).collect(**HERE) == [{"PAR1": 1, "né": 2}]


def test_fault_40_only_the_line_that_is_not_text_is_skipped_and_no_other_line_changes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\rhalf \xff\nthree\nfour\n")
    p = Pipeline()
    p.read_text(str(path), on_error="skip").write_text(str(tmp_path / "out"))
    result = p.run(**HERE)
    found = Pipeline().read_text(str(tmp_path / "out")).collect(**HERE)
    assert found == ["one", "three", "four"]
    assert result.skipped == 1
    assert [r.source for r in result.skipped_records()] == [f"{path}, line 2"]


def test_fault_40_a_record_behind_a_skipped_line_keeps_its_own_line_number(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"1\n\xff\n2\nx\n")
    text = str(error_of(Pipeline().read_text(str(path), on_error="skip").map(int)))
    assert f"{path}, line 4" in text, text


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "shift_jis", "gb18030"])
def test_fault_40_other_encodings_give_the_same_lines(tmp_path, encoding):
    word = {"shift_jis": "日本語", "gb18030": "汉字", "utf-8": "ü日"}.get(encoding, "Müßig")
    path = tmp_path / "a.txt"
    lines = [f"{word} {i}" for i in range(100)]
    path.write_bytes("\n".join(lines).encode(encoding))
    for target in (37, 10**6):
        assert in_splits(TextSource((str(path),), encoding=encoding), target) == lines


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_fault_40_wide_encodings_read_right(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("Müller\nJosé\nĊ\n".encode(encoding))  # U+010A has the byte 0A in it
    assert Pipeline().read_text(str(path), encoding=encoding).collect(**HERE) == ["Müller", "José", "Ċ"]


def test_fault_40_an_unknown_encoding_fails_at_the_users_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    with pytest.raises(DataflowError) as caught:
        Pipeline().read_text(str(path), encoding="utf-99").collect(**HERE)
    assert "utf-99" in str(caught.value) and "test_input_files.py" in str(caught.value)


# -- 41, 42: compressed files


@pytest.mark.parametrize("ending", PACKED)
def test_fault_41_all_members_of_a_concatenated_file_are_read(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    pack = PACKED[ending]
    path.write_bytes(pack(b"one\ntw") + pack(b"") + pack(b"o\nthree\n") + pack(b"four"))
    assert Pipeline().read_text(str(path)).collect(**HERE) == ["one", "two", "three", "four"]
    (tmp_path / f"b.jsonl{ending}").write_bytes(pack(b"1\n2") + pack(b"3\n4\n"))
    assert Pipeline().read_jsonl(str(tmp_path / f"b.jsonl{ending}")).collect(**HERE) == [1, 23, 4]
    (tmp_path / f"c.csv{ending}").write_bytes(pack(b"a,b\n1,2\n3") + pack(b",4\n5,6\n"))
    assert Pipeline().read_csv(str(tmp_path / f"c.csv{ending}")).collect(**HERE) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}]


@pytest.mark.parametrize("ending", PACKED)
def test_fault_41_a_truncated_file_is_an_error_wherever_it_ends(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    pack = PACKED[ending]
    draw = random.Random(9)
    text = "".join(f"{draw.randrange(10**9)}\n" for _ in range(300)).encode()
    first = pack(text)
    data = first + pack(text)
    silent = []
    for size in sorted(
        {*range(1, len(data), 83), len(first) - 1, len(first) + 1, len(first) + 5, len(first) + 11, len(data) - 1, len(data) - 4}
    ):
        path.write_bytes(data[:size])
        try:
            Pipeline().read_text(str(path)).collect(**HERE)
        except InputError as error:
            assert str(path) in str(error), size
        else:
            silent.append(size)
    assert not silent, (len(first), len(data))


@pytest.mark.parametrize("ending", PACKED)
def test_fault_41_rubbish_behind_the_first_member_is_an_error_not_a_silent_end(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    pack = PACKED[ending]
    second = bytearray(pack(b"three\nfour\n"))
    second[0] ^= 0x40  # one flipped bit in the second member's magic number
    path.write_bytes(pack(b"one\ntwo\n") + bytes(second))
    assert str(path) in str(error_of(Pipeline().read_text(str(path))))


@pytest.mark.parametrize("ending", PACKED)
def test_fault_41_a_compressed_name_on_plain_content_is_an_error_that_names_it(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    path.write_text("plain text, not compressed\n" * 10)
    assert str(path) in str(error_of(Pipeline().read_text(str(path))))


@pytest.mark.parametrize("ending", PACKED)
def test_fault_41_a_flipped_bit_in_a_compressed_file_is_never_read_as_other_lines(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    draw = random.Random(4)
    text = "".join(f"{draw.randrange(10**9)}\n" for _ in range(200)).encode()
    data = PACKED[ending](text)
    wrong = []
    for _ in range(40):
        at = draw.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        try:
            found = Pipeline().read_text(str(path)).collect(**HERE)
        except InputError as error:
            assert str(path) in str(error)
        else:
            if found != text.decode().splitlines():
                wrong.append(at)
    if ending == ".zst" and wrong:
        pytest.skip(f"this zstd writer puts no checksum into its frames: {len(wrong)} of 40 flips are read as other lines")
    assert not wrong


def test_fault_42_a_huge_compressed_file_warns_and_is_one_split(tmp_path, monkeypatch):
    import dataflow.io.text as module

    monkeypatch.setattr(module, "HUGE", 100)
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(random.Random(1).randbytes(500)))
    with pytest.warns(UserWarning, match="cannot be split"):
        splits = TextSource((str(path),)).splits(10)
    assert len(splits) == 1


def test_fault_42_a_small_compressed_file_does_not_warn(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Pipeline().read_text(str(path)).collect(**HERE) == ["a"]


# -- 46: the input changes


def change(path: Path, how: str) -> None:
    match how:
        case "deleted":
            path.unlink()
        case "replaced":
            other = path.with_name("other")
            other.write_bytes(path.read_bytes())
            os.replace(other, path)
        case "appended":
            with open(path, "ab") as out:
                out.write(b'{"a": 9}\n')


@pytest.mark.parametrize("how", ["deleted", "replaced", "appended"])
@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "parquet", "ipc", "avro", "binary"])
def test_fault_46_an_input_that_changes_after_listing_is_an_error_that_names_it(tmp_path, form, how):
    from dataflow.io.whole import AvroSource, BinarySource

    path = tmp_path / f"a.{form}"
    kind = {
        "text": TextSource,
        "jsonl": JsonLinesSource,
        "csv": CsvSource,
        "parquet": ParquetSource,
        "ipc": IpcSource,
        "avro": AvroSource,
        "binary": BinarySource,
    }[form]
    if form == "parquet":
        pq.write_table(a_table(10), path)
    elif form == "ipc":
        with pa.ipc.new_file(str(path), a_table(10).schema) as out:
            out.write_table(a_table(10))
    elif form == "avro":
        write_avro(path, [{"n": 1, "s": "x"}])
    else:
        path.write_text('{"a": 1}\n' * 3)
    splits = kind((str(path),)).splits(1 << 20)
    change(path, how)
    with pytest.raises(InputError, match="changed|vanished") as caught:
        for split in splits:
            for piece in kind((str(path),)).read(split):
                piece.batch.rows()
    assert str(path) in str(caught.value)


def test_fault_46_a_file_replaced_while_the_run_reads_fails_the_run_and_shows_nothing(tmp_path):
    first, second = tmp_path / "1.txt", tmp_path / "2.txt"
    first.write_text("a\n" * 10)
    second.write_text("b\n" * 10)

    def hostile(line):
        if line == "a":
            second.write_text("c\n" * 20)
        return line

    p = Pipeline()
    p.read_text([str(first), str(second)]).map(hostile).write_text(str(tmp_path / "out"))
    with pytest.raises(DataflowError, match="changed") as caught:
        p.run(**HERE)
    assert str(second) in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not [n for n in os.listdir(tmp_path) if "dataflow" in n]


def test_fault_46_reading_and_overwriting_one_folder_gives_the_new_data_whole(tmp_path):
    out = str(tmp_path / "data")
    for _ in range(2):
        p = Pipeline()
        (p.read_jsonl(out).map(lambda r: {"n": r["n"] + 1}) if os.path.exists(out) else p.create([{"n": 0}] * 5)).write_jsonl(
            out, mode="overwrite"
        )
        p.run(**HERE)
    assert Pipeline().read_jsonl(out).collect(**HERE) == [{"n": 1}] * 5


# -- 47: listing


def names_in(paths, root):
    return sorted(os.path.relpath(path, root) for path, _ in Pipeline().read_binary(paths).collect(**HERE))


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")


def test_fault_47_hidden_files_and_markers_are_no_data(tmp_path):
    make(
        tmp_path,
        "a.txt",
        "sub/b.txt",
        "_SUCCESS",
        ".hidden",
        ".a.txt.crc",
        "_temporary/0/c.txt",
        "sub/_metadata",
        ".git/d.txt",
        "day=1/e.txt",
        "_k=1/f.txt",
    )
    assert names_in(str(tmp_path), tmp_path) == ["_k=1/f.txt", "a.txt", "day=1/e.txt", "sub/b.txt"]


def test_fault_47_a_recursive_glob_leaves_out_what_the_folder_leaves_out(tmp_path):
    make(tmp_path, "a.txt", "sub/b.txt", "_temporary/0/c.txt", "sub/_tmp/d.txt", ".x/e.txt")
    assert names_in(f"{tmp_path}/**/*.txt", tmp_path) == ["a.txt", "sub/b.txt"]


def test_fault_47_globs_lists_and_overlaps_give_each_file_once(tmp_path):
    make(tmp_path, "a.txt", "b.txt", "c.csv", "sub/d.txt")
    assert names_in(f"{tmp_path}/*.txt", tmp_path) == ["a.txt", "b.txt"]
    assert names_in([f"{tmp_path}/a.txt", f"{tmp_path}/*.txt"], tmp_path) == ["a.txt", "b.txt"]
    assert names_in([str(tmp_path), f"{tmp_path}/sub"], tmp_path) == ["a.txt", "b.txt", "c.csv", "sub/d.txt"]
    assert names_in([tmp_path / "a.txt", f"{tmp_path}/[bc].*"], tmp_path) == ["a.txt", "b.txt", "c.csv"]
    assert names_in(f"{tmp_path}/*", tmp_path) == ["a.txt", "b.txt", "c.csv", "sub/d.txt"]


@pytest.mark.parametrize("spelling", ["{0}/./a.txt", "{0}//a.txt", "{0}/sub/../a.txt", "file://{0}/a.txt"])
def test_fault_47_one_file_spelled_in_two_ways_is_read_once(tmp_path, spelling):
    make(tmp_path, "a.txt", "sub/d.txt")
    assert len(Pipeline().read_text([f"{tmp_path}/a.txt", spelling.format(tmp_path)]).collect(**HERE)) == 1


def test_fault_47_a_name_with_glob_characters_that_exists_is_that_file(tmp_path):
    make(tmp_path, "a[1].txt", "a1.txt", "what?.txt", "whats.txt")
    assert names_in(f"{tmp_path}/a[1].txt", tmp_path) == ["a[1].txt"]
    assert names_in(f"{tmp_path}/what?.txt", tmp_path) == ["what?.txt"]


def test_fault_47_symlink_loops_end_and_give_no_row_twice(tmp_path):
    make(tmp_path, "data/a.txt", "data/sub/b.txt")
    (tmp_path / "data/sub/loop").symlink_to(tmp_path / "data")
    assert names_in(str(tmp_path / "data"), tmp_path) == ["data/a.txt", "data/sub/b.txt"]


def test_fault_47_a_recursive_glob_through_a_symlink_loop_gives_no_row_twice(tmp_path):
    make(tmp_path, "data/a.txt", "data/sub/b.txt")
    (tmp_path / "data/sub/loop").symlink_to(tmp_path / "data")
    assert sorted(Pipeline().read_text(f"{tmp_path}/data/**/*.txt").collect(**HERE)) == ["data/a.txt", "data/sub/b.txt"]


def test_fault_47_a_folder_that_is_a_symlink_is_read(tmp_path):
    make(tmp_path, "real/a.txt")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / "real")
    (tmp_path / "top").symlink_to(tmp_path / "real")
    assert Pipeline().read_text(str(tmp_path / "top")).collect(**HERE) == ["real/a.txt"]
    assert Pipeline().read_text(str(tmp_path / "data")).collect(**HERE) == ["real/a.txt"]


def test_fault_47_a_dangling_or_circular_link_is_an_error_that_names_it(tmp_path):
    make(tmp_path, "data/a.txt")
    (tmp_path / "data/gone.txt").symlink_to(tmp_path / "nothing")
    assert "gone.txt" in str(error_of(Pipeline().read_text(str(tmp_path / "data"))))
    (tmp_path / "data/gone.txt").unlink()
    (tmp_path / "data/me.txt").symlink_to(tmp_path / "data/me.txt")
    assert "me.txt" in str(error_of(Pipeline().read_text(str(tmp_path / "data"))))


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "parquet", "ipc", "avro", "binary"])
def test_fault_47_no_match_is_an_error_for_every_format(tmp_path, form):
    make(tmp_path, "books.txt")
    read = getattr(Pipeline(), f"read_{form}")
    assert "no file matches" in str(error_of(read(f"{tmp_path}/*.nothing")))
    (tmp_path / "empty").mkdir()
    make(tmp_path, "markers/_SUCCESS")
    assert "no file matches" in str(error_of(read(str(tmp_path / "empty"))))
    assert "no file matches" in str(error_of(read(str(tmp_path / "markers"))))
    text = str(error_of(read(f"{tmp_path}/boks.txt")))
    assert "did you mean" in text and "books.txt" in text
    text = str(error_of(read([f"{tmp_path}/books.txt", f"{tmp_path}/no.txt", f"{tmp_path}/none.txt"])))
    assert "no.txt" in text and "none.txt" in text


def test_fault_47_hive_folders_become_columns_of_every_record_format(tmp_path):
    for day in ("1", "2"):
        folder = tmp_path / f"day={day}"
        folder.mkdir()
        pq.write_table(pa.table({"n": [int(day)]}), folder / "a.parquet")
        (folder / "a.csv").write_text(f"n\n{day}\n")
        (folder / "a.jsonl").write_text(f'{{"n": {day}}}\n')
    expected = [{"n": 1, "day": 1}, {"n": 2, "day": 2}]
    for form in ("parquet", "csv", "jsonl"):
        assert getattr(Pipeline(), f"read_{form}")(f"{tmp_path}/*/*.{form}").collect(**HERE) == expected, form


def test_fault_47_hive_values_are_decoded_and_the_default_partition_is_null(tmp_path):
    for folder in ("who=a%2Fb", "who=__HIVE_DEFAULT_PARTITION__", "who=x%20y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text("n\n1\n")
    found = [row["who"] for row in Pipeline().read_csv(str(tmp_path)).collect(**HERE)]
    assert sorted(found, key=str) == [None, "a/b", "x y"]


def test_fault_47_equals_signs_above_the_path_the_user_named_are_no_columns(tmp_path):
    folder = tmp_path / "run=7" / "data"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("n\n1\n")
    assert Pipeline().read_csv(str(folder)).collect(**HERE) == [{"n": 1}]


def test_fault_47_a_folder_that_may_not_be_listed_is_an_error_not_an_empty_one(tmp_path, monkeypatch):
    make(tmp_path, "a.txt", "closed/b.txt")
    before = os.scandir

    def scandir(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return before(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "closed" in str(error_of(Pipeline().read_text(str(tmp_path))))


def test_fault_47_a_pipe_in_a_folder_does_not_hang_the_run(tmp_path):
    make(tmp_path, "data/a.txt")
    os.mkfifo(tmp_path / "data/pipe")
    script = f"""
from dataflow import Pipeline, DataflowError
try:
    print(Pipeline().read_text({str(tmp_path / "data")!r}).collect(mode="in_process", progress=False))
except DataflowError as error:
    assert "pipe" in str(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=5)
    assert done.returncode == 0, done.stderr[-800:]


@pytest.mark.parametrize("target", [30, 10**6])
def test_fault_37_delimiter_names_and_no_header_are_kept_in_every_split(tmp_path, target):
    path = tmp_path / "a.csv"
    path.write_text("".join(f"{i};word {i}\n" for i in range(50)))
    source = CsvSource((str(path),), delimiter=";", header=False, names=("n", "w"))
    assert in_splits(source, target) == [{"n": i, "w": f"word {i}"} for i in range(50)]


@pytest.mark.parametrize("target", [30, 10**6])
def test_fault_39_union_of_csv_files_is_the_same_for_every_split(tmp_path, target):
    (tmp_path / "1.csv").write_text("a,b\n" + "1,x\n" * 30)
    (tmp_path / "2.csv").write_text("b,c\n" + "y,2\n" * 30)
    found = in_splits(CsvSource((str(tmp_path),), union=True), target)
    assert [{k: v for k, v in row.items() if v is not None} for row in found] == [{"a": 1, "b": "x"}] * 30 + [{"b": "y", "c": 2}] * 30


def test_fault_37_values_of_csv_beyond_the_first_rows_are_never_changed(tmp_path):
    """Types are those of the first rows; what does not fit them is an error, not another value."""
    for later in ("1.5", "word", str(2**70), "2026-01-01", "true", "1e3", "1_000", " 7", "+7"):
        path = tmp_path / "a.csv"
        path.write_text("n\n1\n")
        (tmp_path / "b.csv").write_text(f"n\n{later}\n")
        try:
            found = Pipeline().read_csv([str(path), str(tmp_path / "b.csv")]).collect(**HERE)
        except (InputError, SchemaError) as error:
            assert "b.csv" in str(error)
        else:
            assert found[1]["n"] in (later, 7) or float(later) == found[1]["n"], later


def test_fault_47_listing_ten_thousand_files_takes_less_than_two_seconds(tmp_path):
    for i in range(10_000):
        os.close(os.open(tmp_path / f"{i:05}", os.O_CREAT | os.O_WRONLY))
    begun = time.perf_counter()
    assert len(TextSource((str(tmp_path),)).files()) == 10_000
    assert time.perf_counter() - begun < 2


def test_fault_47_a_file_that_may_not_be_read_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("secret\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything (root)")
    assert str(path) in str(error_of(Pipeline().read_text(str(path))))


@pytest.mark.parametrize("form", ["text", "csv", "jsonl"])
def test_fault_46_bytes_that_arrive_while_reading_do_not_change_the_rows(tmp_path, form):
    """A log that is being appended to: rows up to the size at listing, or an error, never half a row."""
    path = tmp_path / f"a.{form}"
    path.write_text({"text": "1\n", "csv": "n\n1\n", "jsonl": "1\n"}[form] * 1)
    source = {"text": TextSource, "csv": CsvSource, "jsonl": JsonLinesSource}[form]((str(path),))
    (split,) = source.splits(1 << 20)
    with open(path, "a") as out:
        out.write("2")
    with pytest.raises(InputError):
        list(source.read(split))


# -- 35: a record without end


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_fault_35_a_record_that_does_not_end_is_an_error_that_names_file_and_option(tmp_path, form, ending):
    path = tmp_path / f"bomb.{form}{ending}"
    data = {"text": b"ab\n", "jsonl": b'"ab"\n', "csv": b"a,b\n1,x\n"}[form] + (b'2,"' if form == "csv" else b'"') + b"x" * (12 << 20)
    path.write_bytes(gzip.compress(data) if ending else data)
    read = getattr(Pipeline(), f"read_{form}")
    text = str(error_of(read(str(path), longest="5MiB")))
    assert str(path) in text
    assert "longer than 5,242,880 bytes" in text
    assert f"read_{form}(…, longest=" in text
    whole = tmp_path / f"whole.{form}{ending}"
    ends = {"text": b"\n", "jsonl": b'"\n', "csv": b'"\n'}[form]
    whole.write_bytes(gzip.compress(data + ends) if ending else data + ends)
    assert len(read(str(whole), longest="20MiB").collect(**HERE)) == 2
