"""Who looks at a few records has the functions called for a few."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline


@pytest.mark.parametrize("source", ["values", "parquet"])
def test_a_look_at_five_calls_a_function_for_about_as_many(tmp_path: Path, source: str) -> None:
    calls = tmp_path / "calls"
    calls.touch()

    def counted(record: dict[str, int]) -> dict[str, int]:
        with calls.open("a") as file:
            file.write(".")
        return record

    p = Pipeline()
    if source == "values":
        given = p.create([{"n": n} for n in range(50_000)])
    else:
        pq.write_table(pa.table({"n": range(50_000)}), tmp_path / "n.parquet")
        given = p.read_parquet(str(tmp_path / "n.parquet"))
    assert [record["n"] for record in given.map(counted).filter(lambda record: record["n"] % 10 == 0).head(5)] == [0, 10, 20, 30, 40]
    assert 41 <= calls.stat().st_size <= 200


def test_where_few_are_found_all_are_looked_at() -> None:
    found = Pipeline().create(range(20_000)).filter(lambda n: n % 9_999 == 0)
    assert found.head(5) == [0, 9_999, 19_998] and found.head(2) == [0, 9_999] and found.head(0) == []


def test_the_row_of_an_error_is_its_row_in_the_file_all_the_same(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(1_000)}), tmp_path / "n.parquet")
    records = Pipeline().read_parquet(str(tmp_path / "n.parquet")).map(lambda record: {"m": 1 // (record["n"] - 777)})
    with pytest.raises(Exception, match=r"n\.parquet.* row 778\b") as one:
        records.collect(mode="in_process")
    with pytest.raises(Exception, match=r"n\.parquet.* row 778\b") as other:
        records.filter(lambda record: record["m"] > 5).head(3, mode="in_process")
    assert str(one.value).splitlines()[0] == str(other.value).splitlines()[0]
