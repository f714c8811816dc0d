"""Tables of other libraries, as they are taken and given back."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from dataflow import DataflowError, Pipeline
from dataflow.errors import KeyTypeError


def test_an_index_without_a_name_is_no_column() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 1, 2, 3, 1]})
    part = frame[frame.a < 3]  # its index has holes
    assert Pipeline().from_arrow(part).distinct().sort("a").collect() == [{"a": 1}, {"a": 2}]
    assert Pipeline().from_arrow(part.set_index(part.a.rename("key"))).collect()[0] == {"a": 1, "key": 1}


def test_a_frame_that_arrow_cannot_hold_is_an_error_of_the_pipelines() -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(DataflowError, match="from_arrow cannot read this DataFrame"):
        Pipeline().from_arrow(pd.DataFrame({"a": [1, "x"]}))


def test_a_column_without_a_name_keeps_it() -> None:
    table = pa.table({"": [1], "column_0": [2], "column_1": [3]})
    assert Pipeline().from_arrow(table).to_polars().equals(pl.DataFrame({"": [1], "column_0": [2], "column_1": [3]}))


def test_the_types_of_csv_columns_are_named_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("day,price,who\n2024-01-31,1.50,ann\n")
    found = Pipeline().read_csv(str(tmp_path / "a.csv"), schema={"day": "date", "price": "decimal(15, 2)", "who": str})
    assert found.to_arrow().schema.types[:2] == [pa.date32(), pa.decimal128(15, 2)]
    with pytest.raises(DataflowError, match="datum"):
        Pipeline().read_csv(str(tmp_path / "a.csv"), schema={"day": "datum"})


def test_a_key_with_an_equality_of_its_own_is_not_said_to_have_none() -> None:
    class Customer:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    with pytest.raises(KeyTypeError, match="a Customer is not"):
        Pipeline().create([Customer()]).count().collect()
