"""CSV by Arrow's parser: one header, one set of types for all files, bad rows named by file and line.

Types are those of the first rows of the first file, or ``schema``. A file whose header differs is an error that
names it, unless ``columns="union"`` fills what is missing with null. A large file is split at line ends outside
quotes, found by counting quotes, so a newline within quotes is never a boundary.
"""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from dataflow.errors import InputError, Report, SchemaError, shorten
from dataflow.io.csv_errors import unreadable
from dataflow.io.files import FileInfo, file_system
from dataflow.io.layouts import same_columns
from dataflow.io.schema import widen
from dataflow.io.source import BadRow, FileSource, Piece, Place, Split, at_least_eight
from dataflow.io.text import COMPRESSED, decompressed, is_ascii_superset, recoded
from dataflow.record import record
from dataflow.shard.batch import Records

__all__ = ["CsvSource"]

SAMPLE = 1 << 20
BLOCK = 1 << 22
HEADER = 1 << 14
SAMPLED = 8


@record(eq=True, slots=False)
class CsvSource(FileSource):
    """The rows of CSV files as records."""

    delimiter: str = ","
    header: bool = True
    names: tuple[str, ...] = ()
    schema: Mapping[str, pa.DataType] = field(default_factory=dict)
    encoding: str = "utf-8"
    union: bool = False

    format = "csv"

    @property
    def has_columns(self) -> bool:  # type: ignore[override]
        """Whether the first rows tell all columns; where files differ, each may add some."""
        return not self.union

    def columns(self) -> pa.Schema | None:  # type: ignore[override]
        files = self.files()
        if not files:
            return None
        _, layout = self._layout(files)
        for name, kind in self.hive_types(files).items():
            if layout.get_field_index(name) < 0:
                layout = layout.append(pa.field(name, kind))
        return layout

    def file_columns(self) -> pa.Schema:
        return self._layout(self.files())[1]

    def splits(self, target: int) -> list[Split]:
        found = self.files()
        if not found:
            raise InputError(Report(f"no file matches {', '.join(self.paths)}", hint="an empty input is an error"))
        layout = (*self._layout(found), self.hive_types(found))
        target = at_least_eight(sum(info.size for info in found), target)
        return [split for info in found for split in self.split_file(info, target, layout)]

    def split_file(self, info: FileInfo, target: int, layout: Any = None) -> list[Split]:
        layout = layout or (*self._layout(self.files()), self.hive_types(self.files()))
        whole = Split(info.path, 0, info.size, info.size, info.version, layout)
        if info.size <= 2 * target or info.path.endswith(tuple(COMPRESSED)) or self.encoding != "utf-8":
            return [whole]
        edges = [0, *self._boundaries(info, target), info.size]
        return [Split(info.path, a, b, b - a, info.version, layout) for a, b in itertools.pairwise(edges) if b > a]

    def _strays(self, block: bytes, inside: int = 0) -> bool:
        """Whether quotes stand inside plain fields (as in ``5" wide`` or ``5"``): counting them then says nothing about rows. ``inside``:
        whether the block begins within quotes."""
        if b'"' not in block:
            return False
        mark = re.escape(self.delimiter.encode())
        if re.search(rb'[^"\r\n' + mark + rb']"[^"\r\n' + mark + rb"]", block) is not None:
            return True
        bytes_ = np.frombuffer(block, np.uint8)
        opening = np.flatnonzero(bytes_ == 34)[inside::2]  # a quote of two within quotes closes them, and opens them again
        before = bytes_[opening[opening > 0] - 1]
        return not np.isin(before, np.frombuffer(self.delimiter.encode() + b'\r\n"', np.uint8)).all()

    def _boundaries(self, info: FileInfo, target: int) -> Iterator[int]:
        """Line ends outside quotes, one after every ``target`` bytes. One pass over the file at memory speed."""
        fs, inner = file_system(info.path, self.options)
        inside, position, wanted = 0, 0, target
        with fs.open(inner) as raw:
            while data := raw.read(BLOCK):
                if self._strays(data, inside):
                    return
                if position + len(data) <= wanted:
                    inside ^= data.count(b'"') & 1
                else:
                    bytes_ = np.frombuffer(data, np.uint8)
                    parity = (np.cumsum(bytes_ == 34) + inside) & 1
                    ends = np.flatnonzero((bytes_ == 10) & (parity == 0)) + position + 1
                    while len(ends := ends[ends > wanted]):
                        yield int(ends[0])
                        wanted = int(ends[0]) + target
                    inside = int(parity[-1])
                position += len(data)

    def _layout(self, files: list[FileInfo]) -> tuple[tuple[str, ...], pa.Schema]:
        """The column names of the first file that is not empty, and types that hold what the first rows of several have."""
        if self.chosen is not None:
            return tuple(self.chosen.layout.names), self.chosen.layout
        schemas: list[tuple[str, pa.Schema]] = []
        for info in files:
            with self.open(Split(info.path)) as raw:
                data = self._guarded(info.path, partial(self._sample, info.path, raw))
            if len(data) >= SAMPLE:
                data = data[: _last_row_end(data)] or data
            if not data:
                continue
            if b"\0" in data[:4096]:  # which is in no text
                from dataflow.io.mistaken import mistaken_for

                if hint := mistaken_for(data):
                    raise InputError(Report("this is no CSV file", location=info.path, hint=hint))
            table = self._parse(data, None, Place(info.path, 1), [])
            schemas.append((info.path, table.schema))
            if len(schemas) == SAMPLED:
                break
        if not schemas:
            return tuple(self.names), pa.schema([])
        names = schemas[0][1].names
        fields = []
        for name in names:
            kind: pa.DataType = pa.null()
            for path, schema in schemas:
                if schema.get_field_index(name) >= 0:
                    other = schema.field(name).type
                    if {str(kind), str(other)} == {"bool", "int64"} and name not in self.schema:
                        text = f"column {name!r} is {kind} in an earlier file, and {other} in this one"  # 1 would be read as true
                        raise SchemaError(Report(text, location=path, hint=f"read_csv(…, schema={{{name!r}: …}}) says which"))
                    kind = widen(kind, other) or kind  # what disagrees is an error where it is read
            # a column without a value so far may hold anything later
            fields.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
            if pa.types.is_binary(kind):
                hint = f'give read_csv an encoding, as encoding="latin-1"; {self.encoding} was assumed'
                raise InputError(Report(f"column {name!r} is not {self.encoding} text", location=schemas[0][0], hint=hint))
        return tuple(names), pa.schema(fields)

    def _sample(self, path: str, raw: BinaryIO) -> bytes:
        return self._utf8(decompressed(path, raw)).read(SAMPLE)

    def _utf8(self, plain: BinaryIO) -> BinaryIO:
        """Encodings in which a line end is not the byte 0A are decoded before anything looks for rows."""
        return plain if is_ascii_superset(self.encoding) else recoded(plain, self.encoding, "strict")

    def _guarded(self, path: str, read: Callable[[], bytes]) -> bytes:
        """A read whose failure to decompress names the file."""
        try:
            return read()
        except UnicodeError as error:
            hint = f"is the file in another encoding? {self.encoding} was given"
            raise InputError(Report(f"a CSV file is not all {self.encoding} text: {error}", location=path, hint=hint)) from error
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise InputError(Report(f"a compressed file is truncated or corrupt: {error}", location=path)) from error
        except OSError as error:
            if error.errno is None:
                raise InputError(Report(f"a compressed file is truncated or corrupt: {error}", location=path)) from error
            raise

    def read(self, split: Split) -> Iterator[Piece]:
        names, schema, folders = split.extra
        with self.open(split) as raw:
            plain = self._utf8(decompressed(split.name, raw))
            own = names
            row = 1
            left = -1
            if split.start == 0 and split.stop == 0:
                return
            if not split.name.endswith(tuple(COMPRESSED)) and is_ascii_superset(self.encoding):  # else it is read to its end
                if split.start:
                    raw.seek(split.start)
                left = split.stop - split.start
            rest, first = b"", split.start == 0
            if split.start and self.header:  # the columns of this file may stand in another order than those of the first
                own = self._header(split.name)
                self._same_columns(own, names, split.name)
            while True:
                size = max(BLOCK, len(rest))  # twice as much while no row ends
                data = self._guarded(split.name, partial(plain.read, size if left < 0 else min(size, left)))
                left -= len(data) if left >= 0 else 0
                if not data and not rest:
                    return
                block = rest + data
                if data:
                    strays = self._strays(block)  # a plain file that has some is taken whole
                    cut = 0 if strays else _last_row_end(block)
                    block, rest = block[:cut], block[cut:]
                    if len(rest) > self.longest and (left < 0 or not strays):
                        raise self.too_long("row", f"{split.name}, behind row {row}")
                    if not block:
                        continue
                else:
                    rest = b""
                bad: list[BadRow] = []
                gaps: list[int] = []
                own_now = None if first and self.header else own
                table = self._parse(block, own_now, Place(split.name, row, split.start), bad, schema, gaps)
                if first and self.header:
                    own = tuple(table.column_names)
                    self._same_columns(own, names, split.name)
                    row += 1
                first = False
                table = self._aligned(table, names, schema)
                yield Piece(
                    self._with_hive(table, split.name, folders),
                    Place(split.name, row, split.start, "row", tuple(gap - row for gap in gaps)),
                    bad,
                    len(data),
                )
                row += table.num_rows + len(bad)
                if not data:
                    return

    def read_all(self, splits: Sequence[Split]) -> Iterator[Piece]:
        """The elements of splits; small files one after another are parsed together where they are plain, as to parse one takes half a
        millisecond, whatever it holds. Whatever is wrong in one of them is said when each is read by itself."""
        from dataflow.io.csv_together import joined, together

        able = self.header and self.encoding == "utf-8"
        for some in together(splits) if able else [[split] for split in splits]:
            if len(some) == 1:
                yield from self.read(some[0])
                continue
            at = 0
            for count, data, rows in joined([self._small(split) for split in some], self._strays):
                own = some[at : at + count]
                at += count
                piece = self._joined(own, data, rows) if count > 1 else None
                if piece is not None:
                    yield piece
                else:
                    for split in own:
                        yield from self.read(split)

    def _joined(self, splits: list[Split], data: bytes, counts: list[int]) -> Piece | None:
        names, schema, folders = splits[0].extra
        try:
            table = self._parse(data, None, Place(splits[0].name, 1), [], schema)
            self._same_columns(tuple(table.column_names), names, splits[0].name)
        except (InputError, SchemaError):
            return None
        if table.num_rows != sum(counts):
            return None
        table = self._aligned(table, names, schema)
        parts = tuple(zip(itertools.accumulate(counts, initial=0), (Place(split.name, 2) for split in splits), strict=False))
        return Piece(self._with_hive(table, splits[0].name, folders), Place("", 1, parts=parts), [], len(data))

    def _small(self, split: Split) -> bytes:
        with self.open(split) as raw:
            return raw.read()

    def _header(self, path: str) -> tuple[str, ...]:
        data, end = b"", 0
        with self.open(Split(path)) as raw:
            while not end and (more := raw.read(HEADER)):  # a name may have a line end in it
                data += more
                end = _first_row_end(data)
        return tuple(self._parse(data[:end] or data, None, Place(path, 1), []).column_names)

    def _parse(
        self,
        data: bytes,
        names: tuple[str, ...] | None,
        place: Place,
        bad: list[BadRow],
        schema: pa.Schema | None = None,
        gaps: list[int] | None = None,
    ) -> pa.Table:
        rejected: list[Any] = []
        encoding = self.encoding if is_ascii_superset(self.encoding) else "utf-8"

        def reject(found: Any) -> str:
            rejected.append(found)
            return "skip"

        if names is None and not self.header:
            names = self.names
        types = {f.name: f.type for f in schema} if schema is not None else {}
        types.update(self.schema)
        if not names and self.header:
            data = data.lstrip(b"\r\n")
            data += b"" if b"\n" in data or not data else b"\n"  # a header alone
        one = len(names) == 1 if names else self.delimiter.encode() not in _unquoted(data[: _first_row_end(data)] or data)
        try:
            table = pacsv.read_csv(
                io.BytesIO(data),
                pacsv.ReadOptions(
                    use_threads=False, block_size=max(len(data), 1), encoding=encoding,
                    column_names=list(names) if names else None, autogenerate_column_names=not names and not self.header,
                ),
                pacsv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=reject,
                    ignore_empty_lines=not one,  # which is how a record of one null is written
                ),
                pacsv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            guessed = f"types were taken from the first rows; give schema= to read_csv, here {self._types_text(schema)}"
            raise unreadable(error, data, names, place, self.delimiter, "" if self.schema else guessed) from error
        for item in rejected:
            where = place.of((item.number or 1) - 1)
            reason = f"{item.actual_columns} columns instead of {item.expected_columns}"
            if not self.skip_bad:
                hint = 'read_csv(…, on_error="skip") sets such rows aside'
                raise InputError(Report(f"a CSV row has {reason}", record=shorten(item.text), location=where, hint=hint))
            bad.append(BadRow(where, shorten(item.text), reason))
            if gaps is not None:
                gaps.append(place.row + (item.number or 1) - 1)
        if len(set(table.column_names)) != len(table.column_names):
            twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
            raise SchemaError(Report(f"a CSV file has columns of the same name: {', '.join(twice)}", location=place.name))
        return table

    @staticmethod
    def _types_text(schema: pa.Schema | None) -> str:
        return "{" + ", ".join(f"{f.name!r}: {f.type}" for f in schema or [])[:120] + "}"

    def _same_columns(self, own: tuple[str, ...], names: tuple[str, ...], path: str) -> None:
        if not self.union:
            same_columns(own, names, f"{path}, against {self.paths[0]}", fix='columns="union"')

    def _aligned(self, table: pa.Table, names: tuple[str, ...], schema: pa.Schema) -> pa.Table:
        extra = [name for name in table.column_names if name not in names] if self.union else []
        columns = [
            table.column(name) if name in table.column_names else pa.nulls(table.num_rows, schema.field(name).type)
            for name in [*names, *extra]
        ]
        return pa.table(dict(zip([*names, *extra], columns, strict=True)))

    def _with_hive(self, table: pa.Table, path: str, kinds: Mapping[str, pa.DataType]) -> Records:
        values = self.hive(path)
        for name, kind in kinds.items():
            if name not in table.column_names:
                value = values.get(name)
                column = pa.nulls(table.num_rows, kind) if value is None else pa.repeat(pa.scalar(value).cast(kind), table.num_rows)
                table = table.append_column(name, column)
        return Records(table)


def _first_row_end(block: bytes) -> int:
    """Just past the first line end outside quotes of a block that begins outside quotes; 0 where there is none."""
    at = 0
    while (end := block.find(b"\n", at) + 1) and block.count(b'"', 0, end) & 1:
        at = end
    return end


def _unquoted(row: bytes) -> bytes:
    return re.sub(rb'"[^"]*"', b"", row)


def _last_row_end(block: bytes) -> int:
    """Just past the last line end outside quotes; blocks begin outside quotes."""
    bytes_ = np.frombuffer(block, np.uint8)
    if block.count(b'"') == 0:
        return block.rfind(b"\n") + 1
    parity = np.cumsum(bytes_ == 34, dtype=np.uint8) & 1  # around 256 it stays what it is
    ends = np.flatnonzero((bytes_ == 10) & (parity == 0))
    return int(ends[-1]) + 1 if len(ends) else 0
