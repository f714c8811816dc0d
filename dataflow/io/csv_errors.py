"""A value in a CSV file that is not of its column's type: Arrow names the row, counted within the block it was given; people
want the file's row, and to see it."""

from __future__ import annotations

import csv
import io
import re

import pyarrow as pa

from dataflow.errors import InputError, Report, shorten
from dataflow.io.source import Place

__all__ = ["unreadable"]

_ROW = re.compile(r"\bRow #(\d+)")
_WHERE = re.compile(r"^In CSV column #(\d+): (?:Row #\d+: )?")


def unreadable(error: pa.ArrowInvalid, data: bytes, names: tuple[str, ...] | None, place: Place, delimiter: str, hint: str) -> InputError:
    """The error of a block that Arrow refused. ``place`` is the block's first row; ``names`` None: that row is the header."""
    text = str(error)
    if "conversion error" not in text:
        return InputError(Report(f"a CSV file cannot be read: {text}", location=f"{place.name}, from row {place.row}"))
    found = _ROW.search(text)
    if found is None:
        return InputError(Report(f"a CSV file cannot be read: {text}", location=f"{place.name}, from row {place.row}", hint=hint))
    rows = _rows(data, delimiter)
    number = int(found[1])
    header = names or tuple(rows[0] if rows else ())
    column = _WHERE.match(text)
    at = int(column[1]) if column else -1
    sentence = f"a CSV file cannot be read: {f'column {header[at]!r}: ' if 0 <= at < len(header) else ''}{_WHERE.sub('', text)}"
    row = rows[number - 1] if number <= len(rows) else []
    record = shorten(dict(zip(header, row, strict=False))) if row else ""
    return InputError(Report(sentence, record=record, location=place.of(number - 1), hint=hint))


def _rows(data: bytes, delimiter: str) -> list[list[str]]:
    """The rows as Arrow counts them: empty lines are none."""
    text = io.StringIO(data.decode("utf-8", "replace"), newline="")
    try:
        return [row for row in csv.reader(text, delimiter=delimiter) if row]
    except csv.Error:  # a field of more than 128 KiB
        return []
