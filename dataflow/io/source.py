"""What a source is: where elements come from, in splits that can be read alone, in any order, again.

    Source.splits() ──> Split Split Split ──> (tasks) ──> Source.read(split) ──> Piece Piece …

A `Piece` is a batch and where it came from, so that an error can name file and row. A split remembers the
file's version at listing; a file that is another one when it is read is an error, not a mixture.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from dataflow.errors import InputError, Report, nearest
from dataflow.io.files import FileInfo, file_system, is_remote
from dataflow.io.listings import RealPaths, listed
from dataflow.record import record
from dataflow.shard.batch import Batch

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.expr.types import Schema
    from dataflow.io.folders import Chosen, FolderValues
    from dataflow.plan.statistics import Statistics

UNKNOWN = "what was written there had no rows and no known columns; give the write schema=, or its function a return type"
LONGEST = 256 << 20  # bytes of a line or row: a kilobyte of gzip may hold one of a megabyte, and a file one without end
GROWTH = 3  # text as columns takes about as much as its file, compressed files five times that

__all__ = ["LONGEST", "BadRow", "FileSource", "Piece", "Place", "Source", "Split"]


@record(eq=True)
class Split:
    """A part of a source that one task reads whole. ``start`` and ``stop`` mean bytes, row groups, …, as the source likes."""

    name: str
    start: int = 0
    stop: int = 0
    bytes: int = 0
    version: str = ""
    extra: Any = None


@record(eq=True)
class Place:
    """Where a batch came from: its first row counts from 1 in its split. ``gaps`` are places that gave no row (empty, or
    set aside), counted from the batch's first, in order. ``parts`` of a batch from several places: from which row on each is."""

    name: str
    row: int
    split_start: int = 0
    unit: str = "row"
    gaps: tuple[int, ...] = ()
    parts: tuple[tuple[int, Place], ...] = ()

    def of(self, offset: int) -> str:
        """The place of a row of the batch, for people."""
        if self.parts:
            first, part = self.parts[bisect_right(self.parts, offset, key=itemgetter(0)) - 1]
            return part.of(offset - first)
        for gap in self.gaps:
            offset += gap <= offset
        row = self.row + offset
        if self.split_start:
            return f"{self.name}, {self.unit} {row} after byte {self.split_start}"
        return f"{self.name}, {self.unit} {row}"

    def span(self, offset: int, count: int) -> str:
        """The places of some rows of the batch."""
        if count <= 1:
            return self.of(offset)
        return f"{self.of(offset)} to {self.of(offset + count - 1) if self.parts else self.row + offset + count - 1}"


@record(eq=True)
class BadRow:
    """A row of the input that could not be read, where the source was told to skip such rows."""

    place: str
    text: str
    reason: str


@record(frozen=False, eq=True)
class Piece:
    """A batch with its place, and rows that were set aside while it was read."""

    batch: Batch
    place: Place
    bad: list[BadRow] = field(default_factory=list)
    bytes: int = 0


class Source:
    """Where elements come from. Immutable and picklable."""

    def describe(self) -> str:
        """What the plan's text says."""
        raise NotImplementedError

    def identity(self) -> tuple[Any, ...]:
        """Equal for two sources that give the same elements."""
        return (id(self),)

    def check(self) -> list[Report]:
        """What is wrong, found from metadata alone."""
        return []

    scans = False  # whether the kernel can read its files itself, at least where they are local
    keeps_keys = False  # whether all records of a key are in one split
    skip_bad = False  # whether what cannot be read is passed over, and counted
    sampled = False  # whether `columns` are those of the first records, and others may have more
    has_columns = False  # whether `columns` is known from metadata alone, so that a query may read the source itself

    def columns(self) -> Any:
        """The Arrow schema of the records, None where only reading tells."""
        return None

    def column_types(self) -> Any:
        """The columns and their plan types, None where only reading tells."""
        from dataflow.kernels.types import schema_from_arrow

        layout = self.columns() if self.has_columns else None
        return schema_from_arrow(layout) if layout is not None else None

    def kernel_scan(self) -> Any:
        """What the kernel needs to read the files itself (`kernels.query.ParquetScan`); None if it must go through `read`."""
        return None

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        """About how much the elements take in memory; ``names``: of those columns."""
        return 0

    def scanned_bytes(self) -> int:
        """About how much the kernel reads of files that it scans itself."""
        return 0

    def statistics(self, schema: Schema) -> Statistics | None:
        """What is known of these columns from metadata or a sample, None where nothing is; see `io.statistics`."""
        return None

    def without_nulls(self, names: frozenset[str]) -> frozenset[str]:
        """Those of these columns that are known from metadata to hold no null, in any record."""
        return frozenset()

    def smaller(self, split: Split) -> list[Split]:
        """What may be read instead of a split that was too much for a task; none where it cannot be cut."""
        return []

    def scan_splits(self, splits: Sequence[Split]) -> Sequence[Any]:
        """What the kernel needs to read splits itself, where `kernel_scan` is not None: one, or several that are whole files. Of sources
        that are read together one scan each. Fails if a file has changed."""
        raise NotImplementedError

    def splits(self, target: int) -> list[Split]:
        """Parts of about ``target`` bytes; they do not depend on how many workers there are."""
        raise NotImplementedError

    def read(self, split: Split) -> Iterator[Piece]:
        """The elements of a split in order."""
        raise NotImplementedError

    def read_all(self, splits: Sequence[Split]) -> Iterator[Piece]:
        """The elements of splits, one after another."""
        for split in splits:
            yield from self.read(split)


def _around(url: str, inner: str) -> tuple[str, str]:
    """What stands before and behind the paths of a file system, in URLs that name them.

    >>> _around("s3://bucket/day", "bucket/day"), _around("sftp://host/day", "/day"), _around("zip://a.csv::/x.zip", "a.csv")
    (('s3://', ''), ('sftp://host', ''), ('zip://', '::/x.zip'))
    """
    head, mark, tail = url.rstrip("/").partition("::")
    for start, end in ((url.rstrip("/"), ""), (head, mark + tail)):
        if start.endswith(inner.rstrip("/")):
            return start[: len(start) - len(inner.rstrip("/"))], end
    return f"{url.partition('://')[0]}://", ""


@record(eq=True, slots=False)
class FileSource(Source):
    """A source over files: paths, globs, directories, or lists of them, anywhere fsspec reaches.

    ``skip_bad_files``: a file that cannot be read is skipped and reported instead of failing the run.
    """

    paths: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    skip_bad: bool = False
    base: str = ""
    chosen: Chosen | None = field(default=None, kw_only=True)
    longest: int = field(default=LONGEST, kw_only=True)  # bytes of one line or row of text

    format = "files"

    def describe(self) -> str:
        some = f" [{self.chosen.text}]" if self.chosen is not None else ""
        return f"{self.format} {', '.join(self.paths[:3])}{' …' if len(self.paths) > 3 else ''}{some}"

    def identity(self) -> tuple[Any, ...]:
        return (type(self).__name__, repr(self), tuple(sorted((k, repr(v)) for k, v in self.options.items())))

    def files(self) -> list[FileInfo]:
        """All the files now, in order of path, with full URLs where remote."""
        found = listed((self.paths, repr(self.options)), self._find)
        if self.chosen is not None:
            wanted = set(self.chosen.folders)
            return [info for info in found if info.path.rpartition("/")[0] in wanted]
        return found

    def _find(self) -> list[FileInfo]:
        found: dict[str, FileInfo] = {}
        real = RealPaths()
        for path in self.paths:
            remote = is_remote(path)
            before, behind = _around(path, file_system(path, self.options)[1]) if remote else ("", "")
            for info in self._named(path):
                url = f"{before}{info.path}{behind}"
                same = url if remote else real.of(url)  # one file under two names is read once
                found.setdefault(same, FileInfo(url, info.size, info.version) if remote else info)
        return list(found.values())

    def _named(self, path: str) -> list[FileInfo]:
        """The files that one of the paths names, when it holds what was decided before."""
        from dataflow.io.recovery import recover

        def find() -> list[FileInfo]:
            fs, inner = file_system(path, self.options)
            recover(fs, inner, self.options)
            return fs.find(inner)

        return listed((path, repr(self.options)), find)

    def check(self) -> list[Report]:
        from dataflow.io.staging import manifest

        problems: list[Report] = []
        for path in self.paths:
            try:
                if not self._named(path):
                    written = manifest(*file_system(path, self.options))
                    unknown = written is not None and not written["files"]
                    problems.append(Report(f"no file matches {path}", hint=UNKNOWN if unknown else _nearby(path)))
            except (OSError, ValueError, ImportError) as error:
                problems.append(Report(f"cannot list {path}: {error}"))
        return problems

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        """About how much the elements take in memory, guessed from the size of the files; ``names``: of those columns."""
        return GROWTH * sum(info.size for info in self.files())

    def splits(self, target: int) -> list[Split]:
        found = self.files()
        if not found:
            raise InputError(Report(f"no file matches {', '.join(self.paths)}", hint="an empty input is an error"))
        target = at_least_eight(sum(info.size for info in found), target)
        return [split for info in found for split in self.split_file(info, target)]

    def split_file(self, info: FileInfo, target: int) -> list[Split]:
        """The splits of one file; the whole file unless a format can do better."""
        return [Split(info.path, 0, info.size, info.size, info.version)]

    def open(self, split: Split) -> BinaryIO:
        """The file of a split, if it is still the one that was listed."""
        fs, inner = file_system(split.name, self.options)
        try:
            file, info = fs.opened(inner)
            if split.version and info.version != split.version:
                file.close()
                raise InputError(Report(f"the input changed during the run: {split.name}", hint="run again over the new file"))
            return file
        except FileNotFoundError as error:
            raise InputError(Report(f"the input vanished during the run: {split.name}")) from error

    def too_long(self, what: str, place: str) -> InputError:
        """The error of a record that does not end."""
        sentence = f"a {what} is longer than {self.longest:,} bytes"
        return InputError(Report(sentence, location=place, hint=f'if it should be, read_{self.format}(…, longest="2GiB")'))

    def hive(self, path: str) -> dict[str, str | None]:
        """The ``key=value`` folders between a path that was given and a file; null for Hive's default partition."""
        if "=" not in path:
            return {}
        from dataflow.io.folders import in_path  # most inputs are in no such folders

        return in_path([self._fixed(given) for given in self.paths], path)

    def hive_types(self, files: Sequence[FileInfo]) -> Mapping[str, pa.DataType]:
        """The columns in folder names and their types."""
        if self.chosen is not None:
            return self.chosen.types
        if not any("=" in info.path for info in files):
            return {}
        from dataflow.io.folders import types_in_folders

        return types_in_folders(self._in_folders(files), self.hive)

    def _in_folders(self, files: Sequence[FileInfo]) -> list[FileInfo]:
        """The files that were found in folders: of one that was given itself, no folder tells anything."""
        given = set(self.paths)
        return [info for info in files if info.path not in given]

    def folders(self) -> FolderValues | None:
        """The values in the names of all folders, of columns that come from there alone; None where there are none."""
        files = self.files()
        if self.chosen is not None or not self.has_columns or not (types := self.hive_types(files)):
            return None
        if len(self._in_folders(files)) < len(files):
            return None
        from dataflow.io.folders import folder_values

        inside = () if self.overrides else self.file_columns().names
        return folder_values(files, self.hive, {name: kind for name, kind in types.items() if name not in inside})

    overrides = False  # whether the value of a folder stands in the place of one in the file

    def file_columns(self) -> pa.Schema:
        """The columns that are in the files."""
        raise NotImplementedError

    def of_folders(self, folders: tuple[str, ...], text: str) -> Source:
        """The same source, of which only the files in some folders are read; ``text`` says which."""
        from dataflow.io.folders import Chosen

        if not folders:
            from dataflow.io.whole import ArrowSource

            return ArrowSource(self.columns().empty_table())
        return replace(self, chosen=Chosen(folders, self.file_columns(), self.hive_types(self.files()), text))

    @staticmethod
    def _fixed(given: str) -> str:
        """The part of a path before its first wildcard, up to a folder, as files below it are named."""
        if not is_remote(given):
            given = file_system(given)[1]
        at = min((given.find(c) for c in "*?[" if c in given), default=-1)
        return given if at < 0 else given[: given.rfind("/", 0, at) + 1]


def at_least_eight(total: int, target: int) -> int:
    """A split size that gives small inputs eight parts, of a megabyte or more, so that several workers have work."""
    return min(target, max(1 << 20, total // 8))


def _nearby(path: str) -> str:
    """A hint with names like the one that is missing."""
    folder, name = os.path.split(path)
    if is_remote(path) or not os.path.isdir(folder or "."):
        return "the folder does not exist" if folder and not is_remote(path) else ""
    close = nearest(name, os.listdir(folder or "."))
    if close == name:
        return "the folder holds no data files"
    return f"did you mean {os.path.join(folder, close)}?" if close is not None else ""
