"""The columns of JSON lines: those of the first records, or those of ``schema=``; what is not among them is never lost without a word."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.errors import PlanError, SchemaError

WAYS: list[dict[str, Any]] = [{}, {"mode": "processes", "workers": 1}, {"placement": "partitioned"}, {"runner": "reference"}]
FIRST = 8192


def lines(path: Path, first: Any, last: Any) -> str:
    path.write_text("".join(json.dumps({"id": i, **(first if i < FIRST else last)}) + "\n" for i in range(FIRST + 1)))
    return str(path)


def test_a_column_that_the_first_records_have_not_is_an_error_of_steps_on_columns(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"a": 1}, {"a": 1, "note": "x"})
    with pytest.raises(SchemaError, match=r"a record has a column 'note'.*\n(?s:.*)a.jsonl, line 8193(?s:.*)schema="):
        Pipeline().read_jsonl(path).filter(col("id") > 5).collect(progress=False)
    assert Pipeline().read_jsonl(path).filter(col("id") >= FIRST).select("id").collect(progress=False) == [{"id": FIRST}]
    assert Pipeline().read_jsonl(path).collect(progress=False)[-1] == {"id": FIRST, "a": 1, "note": "x"}


@pytest.mark.parametrize(("first", "last"), [({"v": None}, {"v": "x"}), ({"v": 1}, {"v": 2.75})])
def test_a_value_that_the_first_records_type_cannot_hold_is_an_error_with_file_and_hint(tmp_path: Path, first: Any, last: Any) -> None:
    path = lines(tmp_path / "a.jsonl", first, last)
    with pytest.raises(SchemaError, match=r"column 'v' cannot become(?s:.*)a.jsonl(?s:.*)read_jsonl\(…, schema="):
        Pipeline().read_jsonl(path).filter(col("id") > 5).collect(progress=False)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(("first", "last", "kind"), [({}, {"v": "x"}, str), ({"v": None}, {"v": "x"}, str), ({"v": 1}, {"v": 2.75}, float)])
def test_with_a_schema_all_ways_see_the_same(tmp_path: Path, first: Any, last: Any, kind: Any, options: dict[str, Any]) -> None:
    rows = Pipeline().read_jsonl(lines(tmp_path / "a.jsonl", first, last), schema={"id": int, "v": kind})
    quiet = {} if "runner" in options else {"progress": False}
    found = rows.filter(col("id") >= FIRST - 1).sort("id").collect(**quiet, **options)
    assert found == [{"id": FIRST - 1, "v": None, **first}, {"id": FIRST, **last}]


def test_texts_become_days_times_and_decimals(tmp_path: Path) -> None:
    (tmp_path / "k=7").mkdir()
    (tmp_path / "k=7" / "a.jsonl").write_text('{"d": "2024-01-02", "t": "2024-01-02T10:30:00", "p": "1.50", "l": [1]}\n\n{"d": null}\n')
    schema = {"d": pa.date32(), "t": pa.timestamp("us"), "p": pa.decimal128(10, 2), "l": pa.list_(pa.int8())}
    rows = Pipeline().read_jsonl(str(tmp_path), schema=pa.schema(schema))
    assert rows.collect(progress=False) == [
        {"d": dt.date(2024, 1, 2), "t": dt.datetime(2024, 1, 2, 10, 30), "p": decimal.Decimal("1.50"), "l": [1], "k": 7},
        {"d": None, "t": None, "p": None, "l": None, "k": 7},
    ]
    assert rows.filter(col("d").is_not_null()).select("p", "k").collect(progress=False) == [{"p": decimal.Decimal("1.50"), "k": 7}]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"a": 1, "b": 2}', "column 'b', which schema= does not name"),
        ('{"a": 1.5}', "column 'a' is not int64"),
        ("[1]", "is no record"),
        ('{"a": "x"}', "column 'a' is not int64"),
    ],
)
def test_what_the_schema_does_not_say_is_an_error_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n' + line + "\n")
    with pytest.raises(SchemaError, match=rf"{words}(?s:.*)a.jsonl, line 3"):
        Pipeline().read_jsonl(str(tmp_path / "a.jsonl"), schema={"a": int}).collect(progress=False)


def test_a_schema_that_is_none_is_said_where_it_is_written() -> None:
    with pytest.raises(PlanError):
        Pipeline().read_jsonl("x.jsonl", schema={"a": "no type"})
