"""The checksums of Parquet pages, verified beside a query whose kernel reads the files but does not look at them.

    column chunk:  header[crc] page  header[crc] page  …        CRC-32 of each page's bytes as they lie in the file

Polars 2.1 ignores page checksums: of 200 flips of one bit in a file that has them, it read 155 back as wrong values, without an
error. Verifying takes a core a second for about a gigabyte (`zlib.crc32`), of the columns that are used; it runs in a thread
beside the query, and the query's last record waits for it. A file whose first page has no checksum has none.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Sequence
from typing import Any, BinaryIO

from dataflow.errors import InputError, Report
from dataflow.io.files import LocalFiles
from dataflow.io.footer_reader import opened_footer

__all__ = ["Verification", "chunks_of", "has_checksums", "skipped", "varint", "verify_chunk"]

WINDOW = 1 << 20
HEADER = 1 << 13
FIRST = 512
MOST_KNOWN = 1 << 16  # column chunks that are remembered as verified

_known: dict[tuple[Any, ...], None] = {}


class Verification:
    """The pages of some columns of some files, being verified in a thread. `finish` waits, and raises what was found."""

    def __init__(self, files: Sequence[tuple[str, str]], columns: Collection[str], rows: tuple[int, int] | None = None) -> None:
        self.files, self.columns, self.rows = files, frozenset(columns), rows
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="dataflow-checksums", daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Wait until all is verified. Raises InputError for a page that is not what was written, and for a file that is not the
        one that was listed."""
        while self.thread.is_alive():  # waits in short turns, between which Python looks for signals
            self.thread.join(1.0)
        for path, version in self.files:
            try:
                now = LocalFiles().info(path).version
            except FileNotFoundError as error:
                raise InputError(Report(f"the input vanished during the run: {path}")) from error
            if version and now != version:
                raise InputError(Report(f"the input changed during the run: {path}", hint="run again over the new file"))
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Verify no more: nobody wants the result."""
        self.stopped.set()
        self.thread.join()

    def _run(self) -> None:
        try:
            for path, version in self.files:
                self._file(path, version)
        except BaseException as error:  # handed to the thread that waits
            self.error = error

    def _file(self, path: str, version: str) -> None:
        if (path, version) in _known:  # has no checksums
            return
        with open(path, "rb") as file:
            if _has_none(file):
                _remember((path, version))
                return
            for place, name, start, size in chunks_of(path, self.columns, self.rows):
                if self.stopped.is_set():
                    return
                key = (path, version, start)
                if key in _known:
                    continue
                try:
                    checked = verify_chunk(file, start, size)
                except _Damaged as error:
                    text = f"a parquet file is damaged: {error} in column {name!r}"
                    hint = "a page is not what its checksum says; write the file again"
                    raise InputError(Report(text, location=f"{path}, row group {place}", hint=hint)) from error
                if not checked:
                    _remember((path, version))
                    return
                _remember(key)


def _has_none(file: BinaryIO) -> bool:
    """Whether the page at the begin of a file has no checksum, so that no page has one; to parse a footer takes much longer."""
    try:
        return file.read(4) == b"PAR1" and _page_header(file.read(FIRST))[2] is None
    except (IndexError, ValueError):  # no page, or one with long statistics: the footer will tell
        return False


def _remember(key: tuple[Any, ...]) -> None:
    if not key[1]:  # a file without a version may be another one tomorrow
        return
    while len(_known) >= MOST_KNOWN:
        del _known[next(iter(_known))]
    _known[key] = None


def has_checksums(path: str) -> bool:
    """Whether a file's writer made checksums, as far as its first page tells."""
    with opened_footer(path) as file:
        first = file.schema_arrow.names[:1] if file.metadata.num_row_groups else []
    with open(path, "rb") as raw:
        try:
            return any(verify_chunk(raw, start, size) for _, _, start, size in chunks_of(path, first, (0, 1))[:1])
        except _Damaged:
            return True


def chunks_of(path: str, columns: Collection[str], rows: tuple[int, int] | None = None) -> list[tuple[int, str, int, int]]:
    """Row group, column, place and length of the chunks of columns; ``rows``: only of row groups in which those are."""
    found, first = [], 0
    with opened_footer(path) as file:
        meta = file.metadata
        tops = [meta.schema.column(at).path.split(".")[0] for at in range(meta.num_columns)]
        names = list(zip(range(meta.num_columns), tops, strict=True))
        # a name with a dot in it cannot be told from a field of a struct; then all columns are verified
        wanted = [at for at, top in names if top in columns] if not any("." in name for name in columns) else range(meta.num_columns)
        for place in range(meta.num_row_groups):
            group = meta.row_group(place)
            last = first + group.num_rows
            if group.num_rows and (rows is None or (first < rows[0] + rows[1] and last > rows[0])):
                for at in wanted:
                    chunk = group.column(at)
                    start = chunk.data_page_offset
                    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                        start = min(start, chunk.dictionary_page_offset)
                    found.append((place, tops[at], start, chunk.total_compressed_size))
            first = last
    return found


class _Damaged(Exception):
    """A page that is not what was written."""


def verify_chunk(file: BinaryIO, start: int, size: int) -> bool:
    """Whether a column chunk's pages have checksums, all of which are right. Raises for one that is wrong."""
    position, end = start, start + size
    while position < end:
        file.seek(position)
        window = file.read(min(HEADER, end - position))
        try:
            length, compressed, crc = _page_header(window)
        except IndexError:
            file.seek(position)
            window = file.read(end - position)  # a header with long statistics
            try:
                length, compressed, crc = _page_header(window)
            except (IndexError, ValueError) as error:
                raise _Damaged(f"the header of a page at byte {position} cannot be read") from error
        except ValueError as error:
            raise _Damaged(f"the header of a page at byte {position} cannot be read") from error
        if crc is None:
            if position == start:
                return False
            position += length + compressed
            continue
        body = position + length
        if compressed < 0 or body + compressed > end:
            raise _Damaged(f"the page at byte {position} is longer than its column")
        file.seek(body)
        found, left = 0, compressed
        while left:
            data = file.read(min(WINDOW, left))
            if not data:
                raise _Damaged(f"the file ends within the page at byte {position}")
            found = zlib.crc32(data, found)
            left -= len(data)
        if found != crc & 0xFFFFFFFF:
            raise _Damaged(f"the page at byte {position} has another checksum")
        position = body + compressed
    return True


def _page_header(data: bytes) -> tuple[int, int, int | None]:
    """Length of a page's header (Thrift's compact protocol), of the page, and the checksum. IndexError: ``data`` ends within."""
    at, number = 0, 0
    compressed, crc = -1, None
    while True:
        byte = data[at]
        at += 1
        kind, step = byte & 15, byte >> 4
        if byte == 0:
            break
        if step:
            number += step
        else:
            raw, at = varint(data, at)
            number = (raw >> 1) ^ -(raw & 1)
        if kind == 5 and number in (3, 4):
            raw, at = varint(data, at)
            value = (raw >> 1) ^ -(raw & 1)
            compressed, crc = (value, crc) if number == 3 else (compressed, value)
        else:
            at = skipped(data, at, kind, 0)
    if compressed < 0:
        raise ValueError("no size")
    return at, compressed, crc


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of the compact protocol, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def skipped(data: bytes, at: int, kind: int, depth: int) -> int:
    """The place behind a value of the compact protocol."""
    if depth > 8:
        raise ValueError("nested too deeply")
    match kind:
        case 1 | 2:
            return at
        case 3:
            return at + 1
        case 4 | 5 | 6:
            return varint(data, at)[1]
        case 7:
            return at + 8
        case 8:
            length, at = varint(data, at)
            if at + length > len(data):
                raise IndexError
            return at + length
        case 9 | 10:
            count, item = data[at] >> 4, data[at] & 15
            at += 1
            if count == 15:
                count, at = varint(data, at)
            for _ in range(count):
                at = skipped(data, at, item, depth + 1) if item > 2 else at + 1
            return at
        case 12:
            while data[at]:
                inner, step = data[at] & 15, data[at] >> 4
                at += 1
                if not step:
                    _, at = varint(data, at)
                at = skipped(data, at, inner, depth + 1)
            return at + 1
        case _:
            raise ValueError(f"no such type {kind}")
