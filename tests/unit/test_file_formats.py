"""How files of columns are laid out: what a reader does not see, and still pays for."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.io.file_formats import columnar_writer

ROWS = 5_000
REPEATED = ["a", "b", "c", None]
COLUMNS: dict[str, tuple[pa.Array, bool]] = {  # values, and whether they belong in a dictionary
    "number": (pa.array(range(ROWS)), False),
    "code": (pa.array([at % 50 for at in range(ROWS)]), True),
    "text": (pa.array([f"text {at}" for at in range(ROWS)]), False),
    "word": (pa.array([REPEATED[at % 4] for at in range(ROWS)]), True),
    "sorted_word": (pa.array([f"{at // 50:09}" for at in range(ROWS)]), True),
    "view": (pa.array([REPEATED[at % 4] for at in range(ROWS)], pa.string_view()), True),
    "encoded": (pa.array(["x"] * ROWS).dictionary_encode(), True),
    "nothing": (pa.nulls(ROWS, pa.string()), True),
    "list": (pa.array([[1, 2]] * ROWS), True),
    "fixed": (pa.array([[1, 2]] * ROWS, pa.list_(pa.int32(), 2)), True),
    "struct": (pa.array([{"a": 1, "b": {"c": [1]}}] * ROWS), True),
    "map": (pa.array([[("k", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())), True),
    "half": (pa.array([0.5] * ROWS, pa.float16()), True),
}


def written(table: pa.Table) -> pq.ParquetFile:
    out: Any = io.BytesIO()
    writer = columnar_writer("parquet", None, out, table.schema)
    if len(table):
        writer.write_table(table)
    writer.close()
    return pq.ParquetFile(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("name", COLUMNS)
def test_parquet_columns_have_a_dictionary_where_values_repeat(name: str) -> None:
    values, repeats = COLUMNS[name]
    group = written(pa.table({name: values})).metadata.row_group(0)
    assert {"RLE_DICTIONARY" in group.column(at).encodings for at in range(group.num_columns)} == {repeats}


@pytest.mark.parametrize("rows", [0, 1, 2, ROWS])
def test_parquet_of_any_length_reads_back(rows: int) -> None:
    table = pa.table({name: values for name, (values, _) in COLUMNS.items()}).slice(0, rows)
    assert written(table).read().equals(table)
