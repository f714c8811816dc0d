"""Sources whose files are read whole or in the order they come: bytes of files, Avro, and data at hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.errors import InputError, Report
from dataflow.io.source import FileSource, Piece, Place, Source, Split
from dataflow.record import record
from dataflow.shard.batch import Batch, Records, Rows

if TYPE_CHECKING:
    from dataflow.expr.types import Schema
    from dataflow.plan.statistics import Statistics

__all__ = ["ArrowSource", "AvroSource", "BinarySource", "ListSource"]

ROWS = 8192
SAMPLE = 1024  # rows that statistics look at
UNSAMPLED = ("datetime", "time", "duration", "other")  # as Python values, those in nanoseconds would need pandas


@record(eq=True, slots=False)
class BinarySource(FileSource):
    """Each file whole, as the pair (path, bytes)."""

    format = "binary"

    def read(self, split: Split) -> Iterator[Piece]:
        with self.open(split) as raw:
            data = raw.read()
        yield Piece(Rows([(split.name, data)]), Place(split.name, 1, unit="file"), bytes=len(data))


@record(eq=True, slots=False)
class AvroSource(FileSource):
    """The records of Avro files. Needs the extra ``avro``."""

    format = "avro"

    def check(self) -> list[Report]:
        try:
            import fastavro as _  # noqa: F401 - only whether it is there
        except ImportError:
            return [Report("reading Avro needs: pip install 'dataflow-engine[avro]'")]
        return super().check()

    def read(self, split: Split) -> Iterator[Piece]:
        import fastavro

        rows: list[Any] = []
        done = 0
        with self.open(split) as raw:
            try:
                for record in fastavro.reader(raw):
                    rows.append(record)
                    if len(rows) == ROWS:
                        yield Piece(Rows(rows), Place(split.name, done + 1))
                        done += len(rows)
                        rows = []
            except Exception as error:  # fastavro raises whatever a damaged byte leads it to
                raise InputError(
                    Report(f"an Avro file cannot be read: {error}", location=f"{split.name}, after row {done + len(rows)}")
                ) from error
        if rows:
            yield Piece(Rows(rows), Place(split.name, done + 1), bytes=split.bytes)


@record(slots=False)
class ListSource(Source):
    """Values at hand."""

    items: Sequence[Any]

    @property
    def has_columns(self) -> bool:  # type: ignore[override]
        """Whether these are records. Looked at when a step on columns follows, not before."""
        return bool(self.items) and all(isinstance(item, dict) for item in self.items)

    def columns(self) -> Any:
        found = self._table() if self.has_columns else None
        return None if found is None or isinstance(found, Exception) else found.schema  # the values may not agree; the run says where

    def disagreement(self) -> Any:
        """Why the columns of records are not known, None if they are."""
        found = self._table() if self.has_columns else None
        return found if isinstance(found, Exception) else None

    def _table(self) -> Any:
        """The records as a table, or what keeps them from being one."""
        from dataflow.errors import SchemaError
        from dataflow.io.schema import table_of

        try:
            return table_of(Rows(list(self.items)), None)
        except SchemaError as error:
            return error

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        from dataflow.shard.size import estimated_bytes

        return estimated_bytes(self.items)

    def statistics(self, schema: Schema) -> Statistics | None:
        from dataflow.io.statistics import of_sample, scattered

        if not self.has_columns:
            return None
        sample = [self.items[at] for at in scattered(len(self.items), SAMPLE)]
        return of_sample({name: [item.get(name) for item in sample] for name in schema}, len(self.items), schema, {})

    def describe(self) -> str:
        return f"{len(self.items)} values"

    def splits(self, target: int) -> list[Split]:
        from dataflow.shard.size import estimated_bytes

        size = estimated_bytes(self.items)
        pieces = max(1, min(len(self.items), round(size / target)))
        edges = [len(self.items) * i // pieces for i in range(pieces + 1)]
        return [Split(f"values {a} to {b}", a, b, size // pieces, extra=list(self.items[a:b])) for a, b in itertools.pairwise(edges)]

    def read(self, split: Split) -> Iterator[Piece]:
        for start in range(0, len(split.extra), ROWS):
            yield Piece(Rows(split.extra[start : start + ROWS]), Place("the given values", split.start + start + 1))

    def __reduce__(self) -> tuple[type[ListSource], tuple[list[Any]]]:
        return ListSource, ([],)  # workers get their values with the split


@record(slots=False)
class ArrowSource(Source):
    """A table of anyone's who speaks the Arrow stream interface (pandas, Polars, DuckDB, …)."""

    table: Any

    has_columns = True

    def columns(self) -> Any:
        return self.table.schema

    def check(self) -> list[Report]:
        names = self.table.column_names
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        return [Report(f"there are several columns called {', '.join(map(repr, twice))}", hint="rename them first")] if twice else []

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        return int(self.table.nbytes if names is None else self.table.select(list(names)).nbytes)

    def statistics(self, schema: Schema) -> Statistics | None:
        from dataflow.io.statistics import of_sample, scattered

        rows = self.table.num_rows
        known = [name for name in schema if name in self.table.column_names]
        plain = [name for name in known if not (schema[name].is_nested or schema[name].name in UNSAMPLED)]
        places = scattered(rows, SAMPLE)
        sample = {name: [column[at].as_py() for at in places] for name in plain for column in (self.table.column(name),)}
        widths = {name: self.table.column(name).nbytes / max(1, rows) for name in known}
        return of_sample(sample, rows, schema, widths)

    def without_nulls(self, names: frozenset[str]) -> frozenset[str]:
        return frozenset(name for name in names.intersection(self.table.column_names) if _is_full(self.table.column(name)))

    def describe(self) -> str:
        return f"table of {self.table.num_rows} rows"

    def splits(self, target: int) -> list[Split]:
        rows, size = self.table.num_rows, self.table.nbytes
        pieces = max(1, min(rows, round(size / target)))
        edges = [rows * i // pieces for i in range(pieces + 1)]
        return [Split(f"rows {a} to {b}", a, b, size // pieces, extra=self.table.slice(a, b - a)) for a, b in itertools.pairwise(edges)]

    def read(self, split: Split) -> Iterator[Piece]:
        for start in range(0, split.extra.num_rows, 65_536):
            batch: Batch = Records(split.extra.slice(start, 65_536))
            yield Piece(batch, Place("the given table", split.start + start + 1))

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowSource, (None,)


def _is_full(column: Any) -> bool:
    """Whether Arrow counts the nulls of such a column, and there are none."""
    import pyarrow as pa

    kind, is_ = column.type, pa.types
    uncounted = is_.is_dictionary(kind) or is_.is_run_end_encoded(kind) or is_.is_union(kind) or isinstance(kind, pa.BaseExtensionType)
    return not uncounted and not column.null_count
