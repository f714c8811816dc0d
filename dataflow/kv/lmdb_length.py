"""Whether LMDB's file is as long as its trees need: reading a page behind its end would end the process (SIGBUS), without a word.

    page 0, page 1   each a root: of the tree of free pages, of the tree of families; the last page's number; the later commit counts
    other pages      16 bytes: number, flags, where its free space begins; then where its entries are, and they

A file that was copied and not to its end is such a one. One that ends before its last page need not be: LMDB does not write pages that a
commit took and gave back, so in our tests each fourth of whole stores was shorter. But those pages are in the tree of free ones, and a
page behind the end that is not, is missed. So that tree is read, if the file is short; it is small, and nothing else is looked at.

>>> is_whole("/dev/null")  # no store: that is for LMDB to say
True
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["is_whole"]

_VERSION = struct.Struct("=16xII")  # of LMDB's first page: its mark, the version of its format
_ROOTS = struct.Struct("=40xI36xQ40xQQQ")  # the size of pages, the root of free pages, that of families, the last page, the commit
_MARK = (0xBEEFC0DE, 1)
_NONE = (1 << 64) - 1  # the root of an empty tree
_HEAD = 16
_LOOKS = 10
_BRANCH, _LEAF, _ELSEWHERE = 1, 2, 1  # flags of pages, and of an entry whose data has pages of its own


class _Roots(NamedTuple):
    page: int
    free: int
    families: int
    last: int
    commit: int


class _CutError(Exception):
    """A page that is in use is not in the file."""


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Whether the pages that are in use are in the file, though another process may be writing it."""
    with open(path, "rb") as file:
        for _ in range(_LOOKS):
            roots = _roots(file)
            if roots is None:
                break
            end = file.seek(0, os.SEEK_END) // roots.page  # asked for after the roots: what they name was written before them
            if roots.last < end:
                return True
            try:
                behind = set(range(end, roots.last + 1))
                for free in _free(file, roots, roots.free):
                    behind.difference_update(free)
                whole = not behind
            except (_CutError, struct.error, ArithmeticError, RecursionError, OSError):  # whatever a page may hold that is no such page
                whole = False
            if whole or roots == _roots(file):  # else pages that we read may be of a later commit
                return whole
    return True  # to what commits all the time it is whole


def _roots(file: BinaryIO) -> _Roots | None:
    """The roots of the last commit; None if it is no file of LMDB, or of another version."""
    file.seek(0)
    first = file.read(_ROOTS.size)
    if len(first) < _ROOTS.size or _VERSION.unpack_from(first) != _MARK:
        return None
    one = _Roots(*_ROOTS.unpack(first))
    file.seek(one.page)
    second = file.read(_ROOTS.size)
    if len(second) < _ROOTS.size or _VERSION.unpack_from(second) != _MARK:
        return one
    other = _Roots(*_ROOTS.unpack(second))._replace(page=one.page)
    return max(one, other, key=lambda roots: roots.commit)


def _free(file: BinaryIO, roots: _Roots, number: int) -> Iterator[tuple[int, ...]]:
    """The numbers of free pages in the tree below a page."""
    if number == _NONE:
        return
    page = _read(file, number * roots.page, roots.page)
    flags, end = struct.unpack_from("=10xHH", page)
    for (at,) in struct.iter_unpack("=H", page[_HEAD:end]):
        low, high, kind, key = struct.unpack_from("=HHHH", page, at)
        if flags & _BRANCH:
            yield from _free(file, roots, low | high << 16 | kind << 32)
        elif flags & _LEAF:
            data, size = page[at + 8 + key :], low | high << 16
            if kind & _ELSEWHERE:
                data = _read(file, int.from_bytes(data[:8], sys.byteorder) * roots.page + _HEAD, size)
            count = int.from_bytes(data[:8], sys.byteorder)
            yield struct.unpack_from(f"={count}Q", data, 8)


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    read = file.read(size)
    if len(read) < size:
        raise _CutError
    return read
