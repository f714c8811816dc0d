"""Parquet files: columns in, with page checksums verified where the writer made them (ours always does)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from dataflow.errors import InputError
from dataflow.io.columnar import ColumnarSource, skipped_file
from dataflow.io.files import FileInfo, file_system, is_remote
from dataflow.io.footer_reader import LIMITS, opened_footer
from dataflow.io.layouts import untyped
from dataflow.io.remembered import Footer, footer_of, metadata_of, statistics_of, without_nulls_of
from dataflow.io.source import Piece, Place, Source, Split
from dataflow.io.struct_fields import chosen_leaves, has_dots, leaf_bytes, narrowed_schema
from dataflow.record import record

if TYPE_CHECKING:
    from dataflow.expr.types import DType, Schema
    from dataflow.io.key_ranges import RangedParquet
    from dataflow.kernels.query import ParquetScan
    from dataflow.plan.statistics import Statistics

__all__ = ["ParquetSource"]

ROWS = 65_536
AHEAD = 1 << 18
FOOTERS, FAR = 100, 16  # that are looked at for what a plan may rely on; if they are of another machine
DECODED = 2  # dictionaries and run lengths grow to about twice when they are decoded, on TPC-H


@record(eq=True, slots=False)
class ParquetSource(ColumnarSource):
    """The rows of Parquet files as records, a split per run of row groups."""

    fields: tuple[tuple[str, DType], ...] = ()  # structs of which only these fields are read

    format = "parquet"
    scans = True

    def pruned(self, names: tuple[str, ...]) -> ParquetSource:
        """The same files, of which only these columns are read."""
        return replace(self, only=names)

    def narrowed(self, fields: Mapping[str, DType], names: tuple[str, ...], filtered: bool) -> ParquetSource | None:
        """The same files, of which structs have only these fields, if that pays; of the columns, ``names`` will be read.

        Only our own reading passes over leaves, on one core; the kernel's decodes structs whole (Polars 2.1: 27 ms and 22 ms for a
        number beside texts of 600 bytes, where one leaf takes 2 ms), but on all cores, and skips rows that a filter drops.
        """
        if has_dots(self.columns()):  # a path would be ambiguous
            return None
        made = replace(self, fields=(*self.fields, *fields.items()))
        if self.kernel_scan() is None:
            return made
        metas = list(self._metadatas(self.files()[:16]))
        whole, leaves = (sum(leaf_bytes(meta, names, kept) for meta in metas) for kept in ({}, fields))
        return made if not filtered and leaves * max(2, os.cpu_count() or 1) < whole else None

    def columns(self) -> pa.Schema:
        return narrowed_schema(super().columns(), dict(self.fields))

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        """About how much the records take in memory, see `_page_bytes`."""
        return int(DECODED * self._page_bytes(names))

    def scanned_bytes(self) -> int:
        return int(self._page_bytes(self.only))

    def _page_bytes(self, names: tuple[str, ...] | None) -> float:
        """About how many bytes the pages of some columns are uncompressed, from the footers of at most a hundred files."""
        files = self.files()
        looked, total, size = files[:100], 0, 0
        for info in looked:
            size += info.size
            for meta in self._metadatas([info]):
                total += leaf_bytes(meta, names, dict(self.fields))
        return total * (sum(info.size for info in files) / max(1, size))

    def statistics(self, schema: Schema) -> Statistics | None:
        """What the footers of at most sixteen files, spread over all, say of these columns."""
        from dataflow.io.statistics import of_footers, spread

        files = self.files()
        looked = spread(files, 16)
        share = sum(info.size for info in looked) / max(1, sum(info.size for info in files))

        def guess(columns: Schema) -> Statistics | None:
            metas = list(self._metadatas(looked))
            return of_footers(metas, share, columns) if metas else None

        return statistics_of(looked, share, schema, guess)

    def scan_splits(self, splits: Sequence[Split]) -> tuple[ParquetScan]:
        """What the kernel needs to read splits itself: one, or several whole files."""
        from dataflow.kernels.query import ParquetScan

        for split in splits:
            self.open(split).close()
        layout, _, rows = splits[0].extra
        schema = layout if self.only is None else pa.schema([layout.field(name) for name in self.only])
        names, versions = tuple(split.name for split in splits), tuple(split.version for split in splits)
        folders = [layout.field(name) for name in self.hive(names[0])]
        return (ParquetScan(names, schema, self.only, rows, versions, folders=pa.schema(folders) if folders else None),)

    def tables_by(self, column: str) -> list[tuple[ParquetSource, str]]:
        """The tables that are read together, each with what a column of the first is called in it: this one."""
        return [(self, column)]

    def in_ranges(self, key: str, beside: Sequence[tuple[ParquetSource, str]], target: int, most: int) -> RangedParquet | None:
        """These files, and others that are read beside them, in ranges of about ``target`` bytes of a key of each, see
        `io.key_ranges`; None where they are not in its order, where there is but one range, or one has more than ``most``."""
        from dataflow.io.key_ranges import RangedParquet

        found = RangedParquet((self, *(one for one, _ in beside)), (key, *(name for _, name in beside)))
        ranges = found.ranges(target, most)
        return found if ranges is not None and len(ranges) > 1 else None

    def layout(self) -> pa.Schema:
        """The columns of the files, read or not."""
        return replace(self, only=None).columns()

    def row_groups_by(self, column: str) -> list[tuple[int, int, int, int, int, Any, Any]] | None:
        """All row groups, of which the footers tell between which values a column without nulls lies: the number of the file, of the group
        and of its first row in it, how many rows, their bytes in memory as far as they are read, the least and the greatest value. None
        where they do not, where the groups are not in order of it, which the first of many footers tell, or where the kernel cannot scan
        the files."""
        from dataflow.io.footers import is_exact, places_of

        layout = self.columns()
        at = layout.get_field_index(column)
        if column in self.hive_types(self.files()):  # the footers know nothing of it, but perhaps of a field that is called so
            return None
        if at < 0 or not is_exact(layout.field(at).type) or self.kernel_scan() is None:
            return None
        found: list[tuple[int, int, int, int, int, Any, Any]] = []
        for file, meta in enumerate(map(self._metadata, self.files())):
            share = leaf_bytes(meta, self.only, dict(self.fields)) / max(1, leaf_bytes(meta, None, {})) if self.only is not None else 1.0
            place = places_of(meta).get(column)
            first = 0
            for number in range(meta.num_row_groups):
                group = meta.row_group(number)
                stats = group.column(place).statistics if place is not None else None
                if stats is None or not stats.has_min_max or not stats.has_null_count or stats.null_count:
                    return None
                if found and stats.min < found[-1][-1]:
                    return None
                size = int(group.total_byte_size * share * DECODED)
                found.append((file, number, first, group.num_rows, size, stats.min, stats.max))
                first += group.num_rows
        return found

    def from_metadata(self, asked: Mapping[str, tuple[str, str | None]]) -> Source | None:
        """The one record that answers an aggregation of all rows, if the footers can; see `io.footers`."""
        from dataflow.io.footers import answered
        from dataflow.io.whole import ArrowSource

        files = self.files()
        if self.skip_bad or self.fields or not files:
            return None
        kinds = self.hive_types(files)  # of which the footers know nothing
        if any(column in kinds for _, column in asked.values()):
            return None
        layout = self.columns()
        if all(column is None for _, column in asked.values()):
            rows = sum(rows for info in files for _, rows in self._footer(info).groups)
            return ArrowSource(pa.table({result: pa.array([rows], pa.int64()) for result in asked}))
        table = answered(map(self._metadata, files), layout, asked)
        return ArrowSource(table) if table is not None else None

    def without_nulls(self, names: frozenset[str]) -> frozenset[str]:
        """What the footers say, where they are not many."""
        from dataflow.io.footers import no_nulls

        files = self.files()
        if len(files) > (FAR if any(is_remote(info.path) for info in files) else FOOTERS):
            return frozenset()
        found = names.difference(self.hive_types(files))  # of which the footers know nothing
        for info in files:
            found &= without_nulls_of(info, found, lambda asked, info=info: no_nulls(self._metadata(info), asked))  # type: ignore[misc]
        return found

    def kernel_scan(self) -> ParquetScan | None:
        """Plain local files of one layout; remote files, lenient reading, folders with values that the kernel would read otherwise, and
        columns that it would change go through `read`."""
        from dataflow.kernels.carrying import is_plain
        from dataflow.kernels.query import ParquetScan

        files = self.files()
        if self.fields or self.union or self.skip_bad or any(is_remote(info.path) for info in files) or not files:
            return None
        paths, kinds = tuple(info.path for info in files), self.hive_types(files)
        if kinds and not self._folders_are_plain(paths, [*kinds]):
            return None
        layout = self.columns()
        first = self._schema_of(files[0])  # to which the kernel holds all others
        if not all(map(is_plain, layout.types)) or untyped(first, layout):
            return None
        versions = tuple(info.version for info in files)
        return ParquetScan(paths, layout, self.only, versions=versions, folders=pa.schema([*kinds.items()]) if kinds else None)

    def _folders_are_plain(self, paths: Sequence[str], names: list[str]) -> bool:
        """Whether the kernel, which looks at whole paths, reads these columns of folders as we do, in all files."""
        from dataflow.io.folders import as_the_kernel_does, folder_of

        if any("=" in self._fixed(given) for given in self.paths) or any("=" in path.rpartition("/")[2] for path in paths):
            return False
        folders = [*dict.fromkeys(map(folder_of, paths))]
        return as_the_kernel_does(folders, names) and set(names).isdisjoint(self.file_columns().names)

    def _file(self, path: str) -> Any:
        fs, inner = file_system(path, self.options)
        return opened_footer(fs.open(inner))

    def _schema_of(self, info: FileInfo) -> pa.Schema:
        return self._footer(info).schema

    def _footer(self, info: FileInfo) -> Footer:
        return self._guarded(info.path, lambda: footer_of(info, self._file, None if is_remote(info.path) else self._end_of))

    def _end_of(self, path: str, count: int) -> bytes:
        """The last bytes of a file."""
        fs, inner = file_system(path, self.options)
        with fs.open(inner) as raw:
            raw.seek(max(0, raw.seek(0, os.SEEK_END) - count))
            return raw.read(count)

    def _metadata(self, info: FileInfo) -> Any:
        return self._guarded(info.path, lambda: metadata_of(info, self._file))

    def _metadatas(self, files: Iterable[FileInfo]) -> Iterator[Any]:
        """The footers of files, without those that cannot be read where these are passed over."""
        for info in files:
            try:
                yield self._metadata(info)
            except InputError:
                if not self.skip_bad:
                    raise

    def _parts(self, info: FileInfo, target: int, layout: pa.Schema | None) -> list[Split]:
        try:
            footer = self._footer(info)
        except InputError as error:
            if self.skip_bad:
                return [Split(info.path, 0, 0, 0, info.version, (layout, error.report.sentence, None))]
            raise
        share = 1.0
        if self.only is not None and len(footer.groups) > 1:  # what a task reads, and writes, is of the columns that are used
            meta = self._metadata(info)
            share = leaf_bytes(meta, self.only, dict(self.fields)) / max(1, leaf_bytes(meta, None, {}))
        splits, start, held, first, rows = [], 0, 0, 0, 0
        for index, (size, count) in enumerate(footer.groups):
            held += int(size * share)
            rows += count
            if held >= target or index == len(footer.groups) - 1:
                splits.append(Split(info.path, start, index + 1, held, info.version, (layout, "", (first, rows))))
                start, held, first, rows = index + 1, 0, first + rows, 0
        with_others = layout is None or not untyped(footer.schema, layout)
        if len(splits) == 1 and with_others:
            return [replace(splits[0], extra=(layout, "", None))]  # a whole file, which the kernel may read together with others
        return splits

    def read(self, split: Split) -> Iterator[Piece]:
        layout, reason, _ = split.extra
        if reason:
            yield skipped_file(split, reason)
            return
        row = 1
        ahead = is_remote(split.name) or split.bytes > AHEAD  # to read ahead takes threads, and half a millisecond
        with self.open(split) as raw, self._guarded(split.name, lambda: _parquet(raw, ahead)) as file:
            names = list(self.only) if self.only else None
            groups = list(range(split.start, split.stop))
            fields = dict(self.fields)
            paths = [path for name in names or layout.names for path in (chosen_leaves(name, fields[name]) if name in fields else [name])]
            # Arrow cannot put dictionaries within lists and structs together that come of several row groups
            runs = [[group] for group in groups] if any(map(_has_inner_dictionaries, file.schema_arrow.types)) else [groups]
            columns = paths if fields else names
            batches = chain.from_iterable(file.iter_batches(ROWS, row_groups=run, columns=columns, use_threads=False) for run in runs)
            wanted = narrowed_schema(layout if names is None else pa.schema([layout.field(n) for n in names]), fields)
            while True:
                batch = self._guarded(split.name, lambda: next(batches, None))
                if batch is None:
                    return
                place = Place(f"{split.name}, row group {split.start}", row)
                yield Piece(self._aligned(pa.table(batch), wanted, split.name), place, bytes=batch.nbytes)
                row += batch.num_rows


def _has_inner_dictionaries(kind: pa.DataType) -> bool:
    inner = [kind.field(at).type for at in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return any(pa.types.is_dictionary(one) or _has_inner_dictionaries(one) for one in inner)


def _parquet(raw: BinaryIO, ahead: bool) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(raw, page_checksum_verification=True, pre_buffer=ahead, **LIMITS)
