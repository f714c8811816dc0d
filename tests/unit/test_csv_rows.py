"""Which rows a CSV file has: headers in another order, records of one null, quotes where none should be, headers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.errors import InputError, PlanError, PreflightError, SchemaError

WAYS: list[dict[str, Any]] = [{}, {"mode": "processes", "workers": 2}, {"placement": "partitioned"}]
BIG = 150_000  # rows, which are cut into splits


def rows_of(path: Path, options: dict[str, Any], **read: Any) -> list[Any]:
    return Pipeline().read_csv(str(path), **read).collect(progress=False, **options)


@pytest.mark.parametrize("options", WAYS)
def test_every_split_of_a_file_has_the_columns_in_its_own_order(tmp_path: Path, options: dict[str, Any]) -> None:
    for name, header, sign in (("1", '"a",b', 1), ("2", 'b,"a"', -1)):
        lines = (f"{sign * i},{-sign * i}\n" for i in range(BIG))
        (tmp_path / f"{name}.csv").write_text(f"{header}\n" + "".join(lines))
    assert all(row["a"] == -row["b"] and row["a"] >= 0 for row in rows_of(tmp_path, options))


def test_a_header_with_a_line_end_in_a_name_is_read_whole_for_every_split(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"a\nb",c\n' + "".join(f"{i},x{i}\n" for i in range(3 * BIG)))
    rows = rows_of(tmp_path, {})
    assert len(rows) == 3 * BIG and rows[-1] == {"a\nb": 3 * BIG - 1, "c": f"x{3 * BIG - 1}"}


@pytest.mark.parametrize("values", [[1, None, 2], [None, None], ["", None, "x"], [None]])
@pytest.mark.parametrize("header", [True, False])
def test_a_record_of_one_null_is_a_row(tmp_path: Path, values: list[Any], header: bool) -> None:
    p = Pipeline()
    p.create([{"a": value} for value in values], schema={"a": type(next((v for v in values if v is not None), 0))}).write_csv(
        str(tmp_path / "out")
    )
    p.run(progress=False)
    path = tmp_path / "out"
    if not header:
        (file,) = path.glob("*.csv")
        path = tmp_path / "plain.csv"
        path.write_text(file.read_text().partition("\n")[2])
    found = rows_of(path, {}, **({} if header else {"header": False, "names": ["a"]}))
    assert [row["a"] for row in found] == values


def test_lines_without_anything_are_no_rows_of_several_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\na,b\n1,2\n\n3,4")
    assert rows_of(tmp_path, {}) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_what_is_widened_at_the_commit_keeps_its_rows_and_values(tmp_path: Path) -> None:
    def wide(records: list[dict[str, Any]], name: str) -> list[Any]:
        p = Pipeline()
        p.create(records).write_csv(str(tmp_path / name))
        assert p.run(progress=False).outputs[0].rows == len(records)
        return rows_of(tmp_path / name, {})

    nulls: list[dict[str, Any]] = [{"a": None if i % 2 else i} for i in range(8192)] + [{"a": 0.5}]
    assert wide(nulls, "nulls") == nulls
    texts: list[dict[str, Any]] = [{"a": f"line\n{i}" * 40, "b": None} for i in range(8192)] + [{"a": "nan", "b": "x"}]
    assert wide(texts, "texts") == texts


@pytest.mark.parametrize("odd", ['0,5",x\n', '0,a "quoted" word,x\n', '0,5" wide,x\n'])
def test_quotes_within_plain_fields_end_no_row(tmp_path: Path, odd: str) -> None:
    lines = [odd, *(f'{i},7,"multi\nline, {i}"\n' for i in range(1, BIG))]
    (tmp_path / "a.csv").write_text("id,size,t\n" + "".join(lines))
    rows = rows_of(tmp_path, {})
    assert len(rows) == BIG
    assert [rows[0]["size"], rows[-1]] == [odd.split(",")[1], {"id": BIG - 1, "size": "7", "t": f"multi\nline, {BIG - 1}"}]


@pytest.mark.parametrize("text", ["a,b\n1,2", "a,b\n1,2\n", "a,b\r\n1,2"])
def test_a_last_row_needs_no_line_end_to_count_for_the_types(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert rows_of(tmp_path, {}) == [{"a": 1, "b": 2}]


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b")
    assert rows_of(tmp_path, {}) == []


def test_files_with_other_columns_are_an_error_in_every_split(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n" + "1,2\n" * 3 * BIG)
    with pytest.raises(SchemaError, match='columns="union"'):
        rows_of(tmp_path, {})


@pytest.mark.parametrize("delimiter", ["||", "é", "", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(PlanError, match="one character of ASCII"):
        Pipeline().read_csv("x.csv", delimiter=delimiter)


@pytest.mark.parametrize("errors", ["nope", "surrogateescape"])
def test_what_becomes_of_bytes_that_are_no_text_is_known_where_it_is_said(errors: str) -> None:
    with pytest.raises(PlanError, match="errors is 'strict'"):
        Pipeline().read_text("x.txt", errors=errors)


def test_a_link_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(PreflightError, match=r"a link to .*gone.csv, which is not there"):
        rows_of(tmp_path, {})


@pytest.mark.parametrize("encoding", ["utf-16", "shift_jis"])
@pytest.mark.parametrize("read", ["read_csv", "read_text"])
def test_a_last_character_that_is_cut_is_an_error_that_names_the_file(tmp_path: Path, encoding: str, read: str) -> None:
    whole = "a,b\n1,表".encode(encoding)
    for data, cut in ((whole, False), (whole[:-1], True)):
        (tmp_path / "a.csv").write_bytes(data)
        rows = getattr(Pipeline(), read)(str(tmp_path / "a.csv"), encoding=encoding)
        if not cut:
            assert rows.collect(progress=False)[-1] in ({"a": 1, "b": "表"}, "1,表")
            continue
        with pytest.raises(InputError, match=rf"{encoding} text(?s:.*)a.csv"):
            rows.collect(progress=False)


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-16", "utf-32", "euc_jp", "gb18030", "cp1252", "utf-8-sig"])
def test_files_in_other_encodings_are_read_to_their_end(tmp_path: Path, encoding: str) -> None:
    word = "é" if encoding == "cp1252" else "表"
    lines = [f"{i},{word * 20}" for i in range(60_000)]  # more bytes in UTF-8 than in most
    (tmp_path / "a.csv").write_bytes("\n".join(["n,w", *lines]).encode(encoding))
    rows = rows_of(tmp_path, {}, encoding=encoding)
    assert len(rows) == len(lines) and rows[-1] == {"n": 59_999, "w": word * 20}
    assert Pipeline().read_text(str(tmp_path), encoding=encoding).collect(progress=False)[1:] == lines


def test_true_in_one_file_and_a_number_in_another_are_no_one_type(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\ntrue\n")
    (tmp_path / "2.csv").write_text("a\n1\n")
    with pytest.raises(SchemaError, match=r"column 'a' is bool in an earlier file, and int64 in this one(?s:.*)2.csv"):
        rows_of(tmp_path, {})
    assert rows_of(tmp_path, {}, schema={"a": str}) == [{"a": "true"}, {"a": "1"}]
