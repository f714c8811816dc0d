"""Batches cut like lists, however the elements lie."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflow.shard.batch import Batch, Lines, Records, Rows, Values


@pytest.mark.parametrize(
    "batch",
    [
        Lines(b"a\nb\nc\n"),
        Lines(b"a\nb\nc"),
        Rows(["a", "b", "c"]),
        Values(pa.array(["a", "b", "c"])),
        Records(pa.table({"x": ["a", "b", "c"]})),
    ],
    ids=["lines", "lines without an end", "rows", "values", "records"],
)
def test_a_slice_is_what_a_list_gives_also_beyond_the_end(batch: Batch) -> None:
    rows = list(batch.rows())
    for start in range(5):
        for stop in range(start, 6):
            assert list(batch.slice(start, stop).rows()) == rows[start:stop]
