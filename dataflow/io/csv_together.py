"""Small CSV files put end to end under one header, where that says the same as each by itself.

a: n,x\n1,2\n    b: n,x\n3,4\n   ──joined──>   n,x\n1,2\n3,4\n    rows 1, 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dataflow.io.source import Split
from dataflow.io.text import COMPRESSED

__all__ = ["joined", "together"]

SMALL = 1 << 16  # bytes of a file
MOST_BYTES = 1 << 20
MOST_FILES = 1024


def together(splits: Sequence[Split]) -> Iterator[list[Split]]:
    """Splits that may be read together: small plain files of one folder, one after another. They grow, so that the first rows come soon."""
    some: list[Split] = []
    size, most, folder = 0, 1, ""
    for split in splits:
        own = split.name.rpartition("/")[0]
        small = 0 < split.bytes <= SMALL and not split.start and not split.name.endswith(tuple(COMPRESSED))
        if some and (not small or own != folder or len(some) >= most or size + split.bytes > MOST_BYTES):
            yield some
            some, size, most = [], 0, min(MOST_FILES, 2 * most)
        folder = own
        if not small:
            yield [split]
            continue
        some.append(split)
        size += split.bytes
    if some:
        yield some


def joined(files: Sequence[bytes], strays: Callable[[bytes], bool]) -> Iterator[tuple[int, bytes, list[int]]]:
    """Runs of files that begin with the same header: how many files each takes, their text under one header, the rows of each. A file of
    which it is not plain which rows are its own comes alone, without text: with empty lines, line ends of old, odd quotes (``strays``)."""
    header, texts, counts = b"", list[bytes](), list[int]()
    for data in files:
        own = data[: data.find(b"\n") + 1]
        count = _rows(data, own, strays)
        if texts and (count is None or own != header):
            yield len(texts), b"".join((header, *texts)), counts
            texts, counts = [], []
        if count is None:
            yield 1, b"", []
            continue
        header = own
        texts.append(data[len(own) :] if data.endswith(b"\n") else data[len(own) :] + b"\n")
        counts.append(count)
    if texts:
        yield len(texts), b"".join((header, *texts)), counts


def _rows(data: bytes, header: bytes, strays: Callable[[bytes], bool]) -> int | None:
    """The rows of a file below its header, None where that is not plain."""
    if not header.strip() or b'"' in header or b"\n\n" in data or b"\n\r" in data or data.count(b"\r") != data.count(b"\r\n"):
        return None
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if (quotes := data.count(b'"')) == 0:
        return lines - 1
    if quotes % 2 or strays(data):
        return None
    found = np.frombuffer(data, np.uint8)
    inside = np.count_nonzero((found == 10) & (np.cumsum(found == 34) & 1 == 1))
    return lines - 1 - int(inside)
