"""JSON lines: one value a line, decoded by the standard library so that Python values are exact.

a line ─ json ─> a value ─┬─ no ``schema`` ──> as it is: what a query takes for columns, the first records of the first files say
                          └─ ``schema`` ─────> a record of its columns and types; one that it does not name is an error
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any

import pyarrow as pa

from dataflow.errors import InputError, Report, SchemaError, column_meant, shorten
from dataflow.io.folders import FolderValues, value_of
from dataflow.io.schema import as_declared, table_of, unify
from dataflow.io.source import BadRow, Piece, Place, Split
from dataflow.io.text import TextSource, line_number
from dataflow.record import record
from dataflow.shard.batch import Lines, Records, Rows

__all__ = ["JsonLinesSource"]

_WRONG = (pa.ArrowException, TypeError, ValueError, OverflowError)

ROWS = 8192
SAMPLED = 8  # files looked at to know the columns


@record(eq=True, slots=False)
class JsonLinesSource(TextSource):
    """The values of JSON-lines files; objects become dicts. Empty lines are passed over."""

    schema: Mapping[str, pa.DataType] = field(default_factory=dict)

    format = "jsonl"
    has_columns = True
    overrides = True

    @property
    def sampled(self) -> bool:  # type: ignore[override]
        return not self.schema

    @property
    def _not_text(self) -> str:
        """What to do about a line that is no text."""
        return "JSON is UTF-8: convert the file"

    def columns(self) -> Any:
        """The columns of the first records of the first files; None where they are no objects or do not agree."""
        if self.chosen is not None:
            return self.chosen.layout
        layouts = []
        files = self.files()
        kinds = self.hive_types(files)
        if self.schema:
            return pa.schema({**self.schema, **kinds})
        for info in files[:SAMPLED]:
            split = next(iter(self.split_file(info, 1 << 20)), None)
            piece = next(self.read(replace(split, extra=kinds)), None) if split is not None else None
            rows = piece.batch.rows() if piece is not None else []
            if rows and all(isinstance(row, dict) for row in rows):
                layouts.append((info.path, table_of(Rows(rows), None).schema.remove_metadata()))
            elif rows:
                return None
        try:
            return unify(layouts) if layouts else None
        except SchemaError:
            return None

    def folders(self) -> FolderValues | None:
        return super().folders() if self.columns() is not None else None

    def file_columns(self) -> Any:
        """The columns of the records, which have the values of their folders."""
        return self.columns()

    def splits(self, target: int) -> list[Split]:
        kinds = self.hive_types(self.files())
        return [replace(split, extra=kinds) for split in super().splits(target)]

    def read(self, split: Split) -> Iterator[Piece]:
        row = 1
        extra = {name: value_of(value, (split.extra or {}).get(name)) for name, value in self.hive(split.name).items()}
        for data in self.blocks(split):
            piece = self._decoded(data, split, row)
            assert isinstance(piece.batch, Lines)
            lines: list[str | None] = list(piece.batch.rows())
            for gap in piece.place.gaps:  # lines that are no text keep their places
                lines.insert(gap, None)
            for start in range(0, len(lines), ROWS):
                values, bad, gaps = self._parse(lines[start : start + ROWS], split, row + start)
                if extra:
                    values = [{**value, **extra} if isinstance(value, dict) else value for value in values]
                place = Place(split.name, row + start, split.start, "line", gaps)
                batch = Records(self._typed(values, {**self.schema, **(split.extra or {})}, place)) if self.schema else Rows(values)
                yield Piece(batch, place, bad + (piece.bad if start == 0 else []), len(data) if start == 0 else 0)
            row += len(lines)

    def _typed(self, values: list[Any], types: Mapping[str, pa.DataType], place: Place) -> pa.Table:
        """Objects as records of the types that were said."""
        for at, value in enumerate(values):
            strange = [name for name in value if name not in types] if isinstance(value, dict) else None
            if strange:
                text = f"a record has a column {strange[0]!r}, which schema= does not name"
                raise SchemaError(Report(text, record=shorten(value), location=place.of(at), hint=column_meant(strange[0], types)))
            if strange is None:
                raise SchemaError(Report("a line is no record, as schema= says", record=shorten(value), location=place.of(at)))
        columns = {name: [value.get(name) for value in values] for name in types}
        try:
            return pa.table({name: _column(items, types[name]) for name, items in columns.items()})
        except _WRONG:
            for at, value in enumerate(values):
                for name, kind in types.items():
                    try:
                        _column([value.get(name)], kind)
                    except _WRONG as error:
                        text = f"column {name!r} is not {kind}, as schema= says: {error}"
                        raise SchemaError(Report(text, record=shorten(value), location=place.of(at))) from error
            raise

    def _parse(self, lines: list[str | None], split: Split, row: int) -> tuple[list[Any], list[BadRow], tuple[int, ...]]:
        try:
            return list(map(json.loads, lines)), [], ()  # type: ignore[arg-type]
        except (ValueError, RecursionError, TypeError):
            return self._one_by_one(lines, split, row)

    def _one_by_one(self, lines: list[str | None], split: Split, row: int) -> tuple[list[Any], list[BadRow], tuple[int, ...]]:
        values: list[Any] = []
        bad: list[BadRow] = []
        gaps: list[int] = []
        for index, line in enumerate(lines):
            if line is None or not line.strip():
                gaps.append(index)
                continue
            try:
                values.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                where = f"{split.name}, line {line_number(self, split, row + index)}"
                if not self.skip_bad:
                    hint = 'read_jsonl(…, on_error="skip") sets such lines aside'
                    raise InputError(Report(f"a line is not JSON: {error}", record=shorten(line), location=where, hint=hint)) from error
                bad.append(BadRow(where, shorten(line), str(error)))
                gaps.append(index)
        return values, bad, tuple(gaps)


def _column(items: list[Any], kind: pa.DataType) -> Any:
    """Values of JSON in a type: its texts may be days, times and decimals."""
    if not pa.types.is_nested(kind) and set(map(type, items)) <= {str, type(None)}:
        return pa.array(items, pa.string()).cast(kind)
    return as_declared(items, kind)
