"""Files that hold columns, as a source: one layout for all of them, and columns that are in the names of their folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from dataflow.errors import InputError, Report, SchemaError, column_meant
from dataflow.io.files import FileInfo, file_system
from dataflow.io.layouts import one_layout
from dataflow.io.source import FileSource, Piece, Place, Split, at_least_eight
from dataflow.record import record
from dataflow.shard.batch import Records

__all__ = ["ColumnarSource", "skipped_file"]


@record(eq=True, slots=False)
class ColumnarSource(FileSource):
    """What Parquet and Arrow IPC have in common. ``union``: files may lack columns of others; ``only``: the columns wanted."""

    union: bool = False
    only: tuple[str, ...] | None = None

    has_columns = True

    def columns(self) -> pa.Schema:
        """The columns that are read, the ones in folder names last."""
        files = self.files()
        layout = self._with_folders(self._layout(files), files)
        if layout is None:
            raise InputError(Report(f"no file of {', '.join(self.paths)} can be read"))
        return layout if self.only is None else pa.schema([layout.field(name) for name in self.only])

    def file_columns(self) -> pa.Schema:
        layout = self._layout(self.files())
        return layout if layout is not None else pa.schema([])

    def _with_folders(self, layout: pa.Schema | None, files: list[FileInfo]) -> pa.Schema | None:
        """A layout with the columns that are in folder names and not in the files."""
        if layout is None:
            return None
        extra = [pa.field(name, kind) for name, kind in self.hive_types(files).items() if layout.get_field_index(name) < 0]
        return pa.schema([*layout, *extra], layout.metadata)

    def _unreadable(self, path: str, error: Exception) -> InputError:
        size = "unknown"
        try:
            fs, inner = file_system(path, self.options)
            size = str(fs.info(inner).size)
        except OSError:
            pass
        sentence = f"a {self.format} file cannot be read: {' '.join(str(error).split())[:200]}"
        hint = 'the file may be truncated or not of this format; on_error="skip" passes over such files'
        return InputError(Report(sentence, location=f"{path} ({size} bytes)", hint=hint))

    def _guarded(self, path: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise self._unreadable(path, error) from error

    def _schema_of(self, info: FileInfo) -> pa.Schema:
        raise NotImplementedError

    def check(self) -> list[Report]:
        problems = super().check()
        if problems:
            return problems
        try:
            files = self.files()[:100]
            layout = self._with_folders(self._layout(files), files)
            for name in self.only or ():
                if layout is not None and layout.get_field_index(name) < 0:
                    return [Report(f"there is no column {name!r}", hint=column_meant(name, layout.names))]
        except (InputError, SchemaError) as error:
            return [error.report]
        return []

    def _layout(self, files: list[FileInfo]) -> pa.Schema | None:
        """The one schema of the files; files that disagree are an error that names both."""
        if self.chosen is not None:
            return self.chosen.layout
        return one_layout(self._schemas(files), union=self.union)

    def _schemas(self, files: list[FileInfo]) -> Iterator[tuple[str, pa.Schema]]:
        for info in files:
            try:
                yield info.path, self._schema_of(info)
            except InputError:
                if not self.skip_bad:
                    raise

    def splits(self, target: int) -> list[Split]:
        found = self.files()
        if not found:
            raise InputError(Report(f"no file matches {', '.join(self.paths)}", hint="an empty input is an error"))
        layout = self._with_folders(self._layout(found), found)
        target = at_least_eight(sum(info.size for info in found), target)
        return [split for info in found for split in self._parts(info, target, layout)]

    def _parts(self, info: FileInfo, target: int, layout: pa.Schema | None) -> list[Split]:
        raise NotImplementedError

    def _aligned(self, table: pa.Table, layout: pa.Schema, path: str) -> Records:
        columns: list[Any] = []
        folders = self.hive(path)
        for field in layout:
            at = table.schema.get_field_index(field.name)
            if at >= 0:
                column = table.column(at)
                columns.append(column if column.type == field.type else column.cast(field.type))
            elif folders.get(field.name) is not None:
                columns.append(pa.repeat(pa.scalar(folders[field.name]).cast(field.type), table.num_rows))
            else:
                columns.append(pa.nulls(table.num_rows, field.type))
        return Records(pa.Table.from_arrays(columns, schema=layout))


def skipped_file(split: Split, reason: str) -> Piece:
    """What comes of a file that cannot be read and is passed over."""
    from dataflow.io.source import BadRow
    from dataflow.shard.batch import Rows

    return Piece(Rows([]), Place(split.name, 1), [BadRow(split.name, "the whole file", reason)])
