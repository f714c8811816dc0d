"""Lines of text: split at line boundaries, plain or compressed, bounded in memory but for a single line.

    file    |----- split 1 -----|----- split 2 -----|
    lines   aaaa\\nbbbbb\\ncccc\\nddd ddd ddd\\neeee\\n
                              └ a line belongs to the split in which it starts

Compressed files cannot be split: one task streams each. All members of a concatenated file are read, and a
truncated one is an error, never a silent end.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import itertools
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from dataflow.errors import InputError, Report, shorten
from dataflow.io.files import FileInfo
from dataflow.io.source import BadRow, FileSource, Piece, Place, Split
from dataflow.record import record
from dataflow.shard.batch import Lines

__all__ = ["COMPRESSED", "TextSource", "decompressed", "is_ascii_superset", "line_number", "recoded"]

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".lzma": "xz"}
CHUNK = 1 << 20
HUGE = 1 << 30


def decompressed(name: str, raw: BinaryIO) -> BinaryIO:
    """The content of a file, decompressed by its name's ending."""
    kind = next((kind for ending, kind in COMPRESSED.items() if name.endswith(ending)), None)
    match kind:
        case "gzip":
            return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
        case "bz2":
            return cast(BinaryIO, io.BufferedReader(_Members(raw, bz2.BZ2Decompressor)))
        case "xz":
            return cast(BinaryIO, io.BufferedReader(_Members(raw, lzma.LZMADecompressor)))
        case "zstd":
            return cast(BinaryIO, io.BufferedReader(_Zstd(raw)))
        case _:
            return raw


def is_ascii_superset(encoding: str) -> bool:
    """Whether bytes below 128 mean in this encoding what they mean in ASCII, so that lines can be found undecoded."""
    return codecs.lookup(encoding).name.startswith(("utf-8", "ascii", "iso8859", "cp125", "koi8", "latin"))


def recoded(raw: BinaryIO, encoding: str, errors: str) -> BinaryIO:
    """A file in any encoding, as UTF-8."""
    return cast(BinaryIO, io.BufferedReader(_Recoded(raw, encoding, errors)))


class _Recoded(io.RawIOBase):
    """A file in any encoding, as UTF-8."""

    def __init__(self, raw: BinaryIO, encoding: str, errors: str) -> None:
        self._raw, self._decoder = raw, codecs.getincrementaldecoder(encoding)(errors)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b"?"
        while not self._rest and data:
            data = self._raw.read(CHUNK // 4)
            self._rest = self._decoder.decode(data, final=not data).encode("utf-8", "replace")  # a last character may be cut
        out, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(out)] = out
        return len(out)


class _Members(io.RawIOBase):
    """All members of a bz2 or xz file. The standard library's readers take a damaged second member for rubbish at the end
    and stop in silence; here what follows a member is another, or padding of zeros, or an error."""

    def __init__(self, raw: BinaryIO, make: Callable[[], Any]) -> None:
        self._raw, self._make = raw, make
        self._member = make()
        self._rest = b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._member.eof:
                rest = self._member.unused_data or self._rest
                rest = rest or self._raw.read(CHUNK)
                while rest and not rest.strip(b"\0"):
                    rest = self._raw.read(CHUNK)
                if not rest:
                    return 0
                self._member, self._rest, self._begun = self._make(), rest.lstrip(b"\0"), False
            if self._member.needs_input:
                data, self._rest = self._rest or self._raw.read(CHUNK), b""
                if not data:
                    if not self._begun:
                        return 0
                    raise EOFError("the file ends inside a member")
                self._begun = True
            else:
                data = b""
            out = self._member.decompress(data, len(buffer))
            if out:
                buffer[: len(out)] = out
                return len(out)


class _Zstd(io.RawIOBase):
    """A zstd file through Arrow's codec, which ends silently at a truncation: the last frame must have ended."""

    def __init__(self, raw: BinaryIO) -> None:
        import pyarrow as pa

        self._raw = raw
        self._stream = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@record(eq=True, slots=False)
class TextSource(FileSource):
    """The lines of text files as strings without their line ends."""

    encoding: str = "utf-8"
    errors: str = "strict"

    format = "text"

    def split_file(self, info: FileInfo, target: int) -> list[Split]:
        if info.path.endswith(tuple(COMPRESSED)) or not self._splittable():
            if info.size > HUGE:
                warnings.warn(f"{info.path} is compressed and cannot be split: one task reads all of it", stacklevel=2)
            return [Split(info.path, 0, -1, info.size, info.version)]
        if info.size == 0:
            return []
        count = max(1, round(info.size / target))
        edges = [info.size * i // count for i in range(count + 1)]
        return [Split(info.path, a, b, b - a, info.version) for a, b in itertools.pairwise(edges)]

    def _splittable(self) -> bool:
        return is_ascii_superset(self.encoding)

    def read(self, split: Split) -> Iterator[Piece]:
        row = 1
        for data in self.blocks(split):
            piece = self._decoded(data, split, row)
            row += len(piece.batch) + len(piece.bad)
            yield piece

    def blocks(self, split: Split) -> Iterator[bytes]:
        """The split's bytes in blocks of whole lines."""
        with self.open(split) as raw:
            try:
                plain = decompressed(split.name, raw)
                if not self._splittable():  # a line end may be other bytes than 0A alone: decoded first, as UTF-8 from here on
                    plain = recoded(plain, self.encoding, self.errors)
                yield from _whole_lines(plain, split.start, split.stop, self.longest)
            except _TooLong as error:
                raise self.too_long("line", split.name) from error
            except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
                raise InputError(Report(f"a compressed file is truncated or corrupt: {error}", location=split.name)) from error
            except UnicodeDecodeError as error:
                text = f"the file is not {self.encoding} text: {error.reason}"
                raise InputError(Report(text, location=split.name, hint='give read_text another encoding, or errors="replace"')) from error
            except OSError as error:
                if error.errno is None and split.stop == -1:  # bz2 and Arrow's codecs raise plain OSErrors
                    raise InputError(Report(f"a compressed file is truncated or corrupt: {error}", location=split.name)) from error
                raise

    def _decoded(self, data: bytes, split: Split, row: int) -> Piece:
        place = Place(split.name, row, split.start, "line")
        if not self._splittable():
            return Piece(Lines(data), place, bytes=len(data))
        if codecs.lookup(self.encoding).name == "utf-8" or (data.isascii() and self._splittable()):
            if data.isascii():
                return Piece(Lines(data), place, bytes=len(data))
            try:
                data.decode()
                return Piece(Lines(data), place, bytes=len(data))
            except UnicodeDecodeError as error:
                if self.errors == "strict":
                    return self._bad_lines(data, split, row, error)
        try:
            text = data.decode(self.encoding, self.errors)
        except UnicodeDecodeError as error:
            return self._bad_lines(data, split, row, error)
        return Piece(Lines(text.encode("utf-8", "replace")), place, bytes=len(data))

    @property
    def _not_text(self) -> str:
        """What to do about a line that is no text."""
        return f'give read_text an encoding, as encoding="latin-1", or errors="replace"; {self.encoding} was assumed'

    def _bad_lines(self, data: bytes, split: Split, row: int, error: UnicodeDecodeError) -> Piece:
        """Name the first line that is not text, or set such lines aside."""
        good: list[bytes] = []
        bad: list[BadRow] = []
        gaps: list[int] = []
        for index, line in enumerate(data.removesuffix(b"\n").split(b"\n")):
            try:
                good.append(line.decode(self.encoding).encode() + b"\n")
            except UnicodeDecodeError as reason:
                number = line_number(self, split, row + index)
                where = f"{split.name}, line {number}"
                if not self.skip_bad:
                    from dataflow.io.mistaken import mistaken_for

                    hint = (mistaken_for(line) if number == 1 else "") or self._not_text
                    raise InputError(
                        Report(
                            f"a line is not {self.encoding} text: {reason.reason} at byte {reason.start}",
                            record=shorten(line),
                            location=where,
                            hint=hint,
                        )
                    ) from error
                bad.append(BadRow(where, shorten(line), str(reason)))
                gaps.append(index)
        return Piece(Lines(b"".join(good)), Place(split.name, row, split.start, "line", tuple(gaps)), bad, len(data))


def line_number(source: FileSource, split: Split, row: int) -> int:
    """The line's number in its file; costs a read of what is before the split, so only errors ask for it."""
    before, last = 0, b"\n"
    if split.start:
        with source.open(split) as raw:
            left = split.start
            while left > 0 and (data := raw.read(min(left, CHUNK))):
                before += data.count(b"\n")
                left -= len(data)
                last = data[-1:]
            if last != b"\n":  # the split starts inside a line that belongs to the one before
                before += 1
    return before + row


class _TooLong(Exception):
    """A line that is longer than it may be."""


def _whole_lines(raw: BinaryIO, start: int, stop: int, longest: int) -> Iterator[bytes]:
    """Blocks of whole lines of those that start in [start, stop); ``stop`` -1: to the end, not seekable."""
    position = 0
    if start:
        raw.seek(start - 1)
        position = start - 1
        while data := raw.read(CHUNK):
            cut = data.find(b"\n")
            if cut >= 0:
                position += cut + 1
                raw.seek(position)
                break
            position += len(data)
        else:
            return
    if 0 <= stop <= position:
        return
    held: list[bytes] = []
    first = start == 0
    while True:
        data = raw.read(CHUNK)
        if first and data.startswith(codecs.BOM_UTF8):
            data = data[3:]
            position += 3
        first = False
        if not data:
            break
        begin = position
        position += len(data)
        if 0 <= stop <= position:  # the line that holds byte stop - 1 is the last
            end = data.find(b"\n", max(0, stop - 1 - begin))
            if end >= 0:
                held.append(data[: end + 1])
                break
        cut = data.rfind(b"\n") + 1
        if cut:
            held.append(data[:cut])
            yield b"".join(held)
            held = [data[cut:]] if cut < len(data) else []
        else:
            held.append(data)
            if sum(map(len, held)) > longest:
                raise _TooLong
    last = b"".join(held)
    if last:
        yield last
