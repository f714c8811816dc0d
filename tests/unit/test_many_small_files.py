"""Many small files cost about what their bytes do: listed once, told apart by their footers' bytes, read in bundles."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import DataflowError, Pipeline, col
from dataflow.io import footer_shapes
from dataflow.io.bundling import bundled
from dataflow.io.csv import CsvSource
from dataflow.io.files import FileInfo, LocalFiles
from dataflow.io.parquet import ParquetSource
from dataflow.io.source import Piece, Place
from dataflow.shard.batch import Lines, Records, Rows

HERE: dict[str, Any] = {"mode": "in_process", "progress": False}


# -- footers


def tables(draw: random.Random) -> pa.Table:
    rows = draw.choice([0, 1, 3, 10, 500])
    kinds = {
        "n": pa.array([draw.randrange(10**9) for _ in range(rows)]),
        "s": pa.array([f"v{draw.randrange(99)}" for _ in range(rows)]),
        "d": pa.array([Decimal(draw.randrange(999)) / 100 for _ in range(rows)], pa.decimal128(9, 2)),
        "l": pa.array([[draw.randrange(9)] * draw.randrange(3) for _ in range(rows)], pa.list_(pa.int32())),
        "t": pa.array([dt.datetime(2024, 1, 1 + draw.randrange(9)) for _ in range(rows)], pa.timestamp("us", "Europe/Berlin")),
        "c": pa.array([draw.choice("ab") for _ in range(rows)]).dictionary_encode(),
    }
    names = draw.choice([["n"], ["n", "s"], ["s", "n"], ["d", "l"], ["t", "c"], list(kinds)])
    made = pa.table({name: kinds[name] for name in names})
    return made.replace_schema_metadata({"by": draw.choice(["a", "b"])}) if draw.random() < 0.3 else made


def test_footers_told_by_their_bytes_say_what_parquet_says(tmp_path: Path) -> None:
    draw = random.Random(3)
    shapes: list[footer_shapes.Shape] = []
    told = 0
    for number in range(400):
        path = str(tmp_path / f"{number}.parquet")
        table = tables(draw)
        size = draw.choice([None, None, 2])
        pq.write_table(table, path, row_group_size=size, compression=draw.choice(["none", "zstd"]), write_statistics=draw.random() < 0.5)
        info = LocalFiles().info(path)
        data = footer_shapes.footer_bytes(info.size, lambda count, path=path: ParquetSource((path,))._end_of(path, count))
        with pq.ParquetFile(path) as file:
            meta, schema = file.metadata, file.schema_arrow
        found = footer_shapes.alike(data, info.size, shapes)
        if found is not None:
            told += 1
            assert found[0].equals(schema, check_metadata=True)
            assert [rows for _, rows in found[1]] == [meta.num_rows]
            assert meta.num_row_groups == 1
        elif (shape := footer_shapes.shape_of(data, schema)) is not None:
            shapes.append(shape)
    assert told > 150


@pytest.mark.parametrize("damage", ["cut", "rubbish", "length", "empty"])
def test_a_damaged_file_among_many_that_are_alike_is_named(tmp_path: Path, damage: str) -> None:
    for number in range(30):
        pq.write_table(pa.table({"n": [number]}), tmp_path / f"{number:02}.parquet")
    bad = tmp_path / "17.parquet"
    data = bad.read_bytes()
    bad.write_bytes({"cut": data[:-30], "rubbish": b"x" * 300, "length": data[:-8] + b"\xff\xff\xff\x7fPAR1", "empty": b""}[damage])
    for query in (Pipeline().read_parquet(str(tmp_path)).map(str), Pipeline().read_parquet(str(tmp_path)).filter(col("n") > 1)):
        with pytest.raises(DataflowError, match=r"17\.parquet"):
            query.collect(**HERE)


# -- bundles


def test_bundles_have_the_same_rows_and_know_their_places() -> None:
    draw = random.Random(5)
    pieces = []
    for number in range(500):
        rows = [f"{number}:{at}" for at in range(draw.choice([0, 1, 3, 40, 3000]))]
        kind = draw.choice("rltt") if number % 50 < 5 else "r"
        batch = {
            "r": lambda rows: Rows(rows),
            "l": lambda rows: Lines("\n".join(rows).encode()),
            "t": lambda rows: Records(pa.table({"v": pa.array(rows, pa.string())})),
        }[kind](rows)
        pieces.append(Piece(batch, Place(f"file {number}", 1), bytes=len(rows) * 5))
    found = list(bundled(iter(pieces)))
    assert len(found) < len(pieces) / 2

    def plain(piece: Piece) -> list[str]:
        return [row["v"] if isinstance(row, dict) else row for row in piece.batch.rows()]

    assert [row for piece in found for row in plain(piece)] == [row for piece in pieces for row in plain(piece)]
    for piece in found:
        for at, row in enumerate(plain(piece)):
            number, place = row.split(":")
            assert piece.place.of(at) == f"file {number}, row {int(place) + 1}"
    assert len(found[0].batch) <= 3000  # whoever wants the first rows gets them soon


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "text"])
def test_a_row_that_fails_in_a_bundle_is_named_by_its_file(tmp_path: Path, form: str) -> None:
    for number in range(60):
        path = tmp_path / f"{number:02}.{form}"
        if form == "parquet":
            pq.write_table(pa.table({"n": [number * 10 + at for at in range(10)]}), path)
        else:
            line = {"csv": "{}", "jsonl": '{{"n": {}}}', "text": "{}"}[form]
            lines = [line.format(number * 10 + at) for at in range(10)]
            path.write_text("\n".join((["n"] if form == "csv" else []) + lines) + "\n")
    read = getattr(Pipeline(), f"read_{form}")(str(tmp_path))
    assert len(read.collect(**HERE)) == 600
    with pytest.raises(DataflowError) as caught:
        read.map(lambda row: 1 // (int(row if form == "text" else row["n"]) - 437)).collect(**HERE)
    number = 9 if form == "csv" else 8  # its header is row 1
    assert f"43.{form}" in str(caught.value)
    assert ("line" if form in ("jsonl", "text") else "row") + f" {number}" in str(caught.value)


# -- CSV


def test_csv_files_parsed_together_give_what_each_gives(tmp_path: Path) -> None:
    draw = random.Random(7)
    bodies = ["1,a\n", "2,b", "", '5,"x\ny"\n', '9,"1 "" 2"', "8,g\n" * 50, "3,\n\n4,d\n", "6,e\r\n7,f\r\n", '2,4" x\n']
    bodies, headers = [*bodies[:6] * 4, *bodies], [*["n,s\n"] * 12, "s,n\n", "n,s\r\n"]
    for number in range(150):
        header, body = draw.choice(headers), draw.choice(bodies)
        if header.startswith("s"):
            body = "\n".join(",".join(line.split(",")[::-1]) for line in ["1,a", "2,b"])
        (tmp_path / f"{number:03}.csv").write_bytes((header + body).encode())
    source = CsvSource((str(tmp_path),))
    splits = source.splits(1 << 20)
    alone = [row for split in splits for piece in source.read(split) for row in piece.batch.rows()]
    pieces = list(source.read_all(splits))
    assert [row for piece in pieces for row in piece.batch.rows()] == alone
    assert len(pieces) < 100


def test_a_bad_csv_row_among_small_files_is_named_by_file_and_row(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.csv").write_text("n,s\n1,a\n" + ("x,b\n" if number == 33 else "2,b\n") + ("1\n" if number == 35 else ""))
    with pytest.raises(DataflowError, match=r"33\.csv, row 3"):
        Pipeline().read_csv(str(tmp_path)).collect(**HERE)
    (tmp_path / "33.csv").unlink()
    with pytest.raises(DataflowError, match=r"35\.csv, row 4"):
        Pipeline().read_csv(str(tmp_path)).collect(**HERE)
    rows = Pipeline().read_csv(str(tmp_path), on_error="skip").collect(**HERE)
    assert len(rows) == 78


# -- listings


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_run_lists_a_folder_once(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        if form == "parquet":
            pq.write_table(pa.table({"n": [number]}), tmp_path / f"{number}.parquet")
        else:
            (tmp_path / f"{number}.csv").write_text(f"n\n{number}\n")
    query = getattr(Pipeline(), f"read_{form}")(str(tmp_path)).filter(col("n") > 0).group_by().agg(s=col("n").sum())
    found: list[str] = []
    before = LocalFiles.find

    def find(self: LocalFiles, pattern: str) -> list[FileInfo]:
        found.append(pattern)
        return before(self, pattern)

    monkeypatch.setattr(LocalFiles, "find", find)
    for placement in ("whole", "partitioned"):
        found.clear()
        assert query.collect(placement=placement, **HERE) == [{"s": 3}]
        assert found == [str(tmp_path)]
    if form == "parquet":
        pq.write_table(pa.table({"n": [10]}), tmp_path / "new.parquet")
    else:
        (tmp_path / "new.csv").write_text("n\n10\n")
    assert query.collect(**HERE) == [{"s": 13}]  # the next run sees what is new
