"""Rows as lines: text, and JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.errors import Report, SchemaError
from dataflow.io.schema import plain
from dataflow.shard.batch import Batch, Lines, Values

__all__ = ["json_lines", "json_rows", "text_lines"]


def text_lines(batch: Batch) -> bytes | memoryview:
    """The strings of a batch, one a line."""
    if isinstance(batch, Lines) and b"\r" not in batch.data:  # whole lines hold no others
        return batch.data if batch.data.endswith(b"\n") else batch.data + b"\n"
    if isinstance(batch, Values) and pa.types.is_large_string(batch.array.type) and not batch.array.null_count:
        text = _joined(batch.array)
        found = np.frombuffer(text, np.uint8)
        # as many line ends as strings: none holds one
        if np.count_nonzero(found == 10) == len(batch) and not (found == 13).any():
            return text
    rows = batch.rows()
    for row in rows:
        if type(row) is not str:
            raise SchemaError(
                Report(
                    f"write_text writes strings, and this is a {type(row).__name__}",
                    record=repr(row)[:200],
                    hint="map(str), or write_jsonl",
                )
            )
        if "\n" in row or row.endswith("\r"):
            raise SchemaError(
                Report(
                    "write_text writes one line a string, and this one holds a line end",
                    record=repr(row)[:200],
                    hint="replace line ends, or write_jsonl",
                )
            )
    return _utf8("\n".join(rows) + "\n")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(
            Report(
                "a string holds half a surrogate pair, which is not text", record=repr(text[max(0, error.start - 20) : error.start + 20])
            )
        ) from error


def _joined(array: pa.Array) -> memoryview:
    """The strings with a newline behind each, by one native join."""
    import pyarrow.compute as pc

    lists = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    text = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))[0].as_buffer()
    return memoryview(b"".join((text, b"\n")))


def json_lines(batch: Batch) -> bytes:
    """The rows of a batch as JSON, one a line."""
    rows = batch.rows()
    try:
        return json_rows(rows)
    except TypeError:
        return json_rows([plain(row) for row in rows])


def json_rows(rows: list[Any]) -> bytes:
    """Values as JSON, one a line."""
    try:
        return ("\n".join(map(json.JSONEncoder(ensure_ascii=False, default=_json_default).encode, rows)) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair has a spelling in JSON
        return ("\n".join(map(json.JSONEncoder(default=_json_default).encode, rows)) + "\n").encode()


def _json_default(value: Any) -> Any:
    import dataclasses
    import datetime as dt
    from decimal import Decimal

    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise SchemaError(
        Report(f"write_jsonl cannot write a {type(value).__name__}", record=repr(value)[:200], hint="map it to a str, number, list or dict")
    )
