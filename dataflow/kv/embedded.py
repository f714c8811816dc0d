"""What the embedded stores have in common: a frozen view, sizes, the format's version, and what went wrong in words.

Under the key ``format`` of the family "meta" stands the version of the format and of the package that wrote it. A store of a newer
format is refused: who reads it by old rules may take a live lock for rubbish.

>>> check_format("rocksdb:old", stamp())
>>> check_format("rocksdb:new", b"99 8.1.0")
Traceback (most recent call last):
  ...
dataflow.errors.StoreError: rocksdb:new was written by dataflow-engine 8.1.0 in format 99; this one knows format 1
  hint     upgrade: pip install -U 'dataflow-engine>=8.1.0'
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Protocol

from dataflow.errors import Report, StoreError
from dataflow.kv.store import Entry

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "WRONG_ADDRESS",
    "Closed",
    "Sizes",
    "Snapshot",
    "check_format",
    "copied_to",
    "immortal",
    "in_child",
    "missing_package",
    "pages",
    "refuse_existing",
    "stamp",
    "to_disk",
    "unfinished",
    "why",
]

FORMAT = 1
FORMAT_KEY = b"format"
"""In the family "meta"; it sorts above every packed key."""
WRONG_ADDRESS = "look at the address; Database.open makes a store where there is none"
"""The hint where a store is to be there already."""


class Sizes(NamedTuple):
    """What a store takes: bytes on disk, and about how many keys each family has."""

    disk: int
    keys: dict[str, int]


class Snapshot(Protocol):
    """A family as it was at one moment. Close it, or leave its ``with``: while it lives, nothing that it sees can be thrown away."""

    def get(self, key: bytes) -> bytes | None:
        """The value that the key had."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values that the keys had, in their order."""
        ...

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries that were there with ``start <= key < stop``, in the order of their keys."""
        ...

    def close(self) -> None:
        """Let go of it. Twice is no error."""
        ...

    def __enter__(self) -> Snapshot: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


_FIRST_PAGE, _PAGE = 16, 1024  # entries read at once: few for who wants few, then more


def pages(read: Callable[[bytes, bytes, int], list[Entry]], start: bytes, stop: bytes, reverse: bool, limit: int | None) -> Iterator[Entry]:
    """The entries with ``start <= key < stop``, in order, from pages: the last key of each says where the next one begins.

    >>> list(pages(lambda start, stop, most: [(start, b"")], b"a", b"b", False, 1))
    [(b'a', b'')]
    """
    left = limit if limit is not None else 1 << 62
    most = _FIRST_PAGE
    while left > 0 and start < stop:
        most = min(left, most)
        page = read(start, stop, most)
        yield from page
        left -= most
        if len(page) < most:
            return
        start, stop = (start, page[-1][0]) if reverse else (page[-1][0] + b"\x00", stop)
        most = min(4 * most, _PAGE)


def stamp() -> bytes:
    """What a new store is marked with.

    >>> stamp().split()[0]
    b'1'
    """
    return f"{FORMAT} {getattr(sys.modules['dataflow'], '__version__', '?')}".encode()


def check_format(name: str, found: bytes) -> None:
    """Raises `StoreError` if a store is marked with a newer format, or with none at all that we wrote."""
    number, _, version = found.decode(errors="replace").partition(" ")
    if not number.isdigit():
        raise StoreError(Report(f"{name} is marked with a format that is none: {found[:40]!r}"))
    if int(number) > FORMAT:
        raise StoreError(
            Report(
                f"{name} was written by dataflow-engine {version} in format {number}; this one knows format {FORMAT}",
                hint=f"upgrade: pip install -U 'dataflow-engine>={version}'",
            )
        )


def missing_package(package: str, extra: str) -> StoreError:
    """The error for a store whose package is not installed.

    >>> print(missing_package("rocksdict", "rocksdb"))
    this store needs the package rocksdict, which is not installed
      hint     pip install 'dataflow-engine[rocksdb]'
    """
    sentence = f"this store needs the package {package}, which is not installed"
    return StoreError(Report(sentence, hint=f"pip install 'dataflow-engine[{extra}]'"))


_REASONS = (
    (("no space left", "too large", "quota"), "the disk is full", "free some space and open it again; what was acknowledged is there"),
    (("corruption", "checksum", "invalid", "corrupted", "version_mismatch"), "it is damaged", "restore it from a checkpoint"),
    (("permission denied", "read-only", "read only"), "it cannot be written", "open it with read_only=True, or change its permissions"),
    (("no such file", "not a directory", "file exists"), "there is no such folder", "the address names a folder"),
    # what LMDB says of a write that the disk took half, as full ones do
    (("input/output error",), "the disk is full, or fails", "free some space, or see what the system's log says, and open it again"),
    (("too many open files",), "this process may open no more files", "raise the limit: ulimit -n"),
)  # fmt: skip


def why(name: str, doing: str, reason: BaseException) -> Report:
    """What a store's library said, as a report.

    >>> print(why("rocksdb:x", "written", OSError("IO error: No space left on device: x/000012.log")).render())
    rocksdb:x cannot be written: the disk is full (IO error: No space left on device: x/000012.log)
      hint     free some space and open it again; what was acknowledged is there
    """
    text = " ".join(str(reason).split())
    for words, meaning, hint in _REASONS:
        if any(word in text.lower() for word in words):
            return Report(f"{name} cannot be {doing}: {meaning} ({text[:300]})", hint=hint)
    return Report(f"{name} cannot be {doing}: {text[:300] or type(reason).__name__}")


@contextlib.contextmanager
def copied_to(name: str, folder: str | os.PathLike[str]) -> Generator[str]:
    """A folder to copy a store to; it has another name until the copy is whole and on the disk, so that half of one is never taken for one.

    >>> import tempfile
    >>> place = tempfile.mkdtemp()
    >>> with copied_to("lmdb:x", os.path.join(place, "copy")) as made:
    ...     [name.startswith("copy.partial-") for name in os.listdir(place)]
    [True]
    >>> os.listdir(place)
    ['copy']
    >>> with copied_to("lmdb:x", place): pass
    Traceback (most recent call last):
      ...
    dataflow.errors.StoreError: lmdb:x cannot be copied to ...: it is there already
      hint     a copy is made in a new folder
    """
    target = os.path.abspath(os.fspath(folder))
    refuse_existing(name, folder)
    partial = unfinished(target)
    os.makedirs(partial)
    try:
        yield partial
        to_disk(*(os.path.join(partial, file) for file in os.listdir(partial)), partial)
        os.rename(partial, target)
        to_disk(os.path.dirname(target))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def refuse_existing(name: str, folder: str | os.PathLike[str]) -> None:
    """Raises `StoreError` if a store is to be copied to what is there already.

    >>> refuse_existing("lmdb:x", "nowhere")
    """
    if os.path.lexists(folder):
        raise StoreError(
            Report(f"{name} cannot be copied to {os.fspath(folder)}: it is there already", hint="a copy is made in a new folder")
        )


def unfinished(target: str | os.PathLike[str]) -> str:
    """A name beside a target that is nobody else's, for what is made before it has its own.

    >>> unfinished("copies/a").startswith("copies/a.partial-")
    True
    """
    return f"{os.fspath(target)}.partial-{secrets.token_hex(4)}"


def to_disk(*paths: str | os.PathLike[str]) -> None:
    """Have files, and the names in folders, on the disk.

    >>> to_disk(os.curdir)
    """
    for path in paths:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


class Closed(dict[str, Any]):
    """Stands where a store had its families, so that being open costs no check.

    >>> Closed("rocksdb:x is closed")["data"]
    Traceback (most recent call last):
      ...
    dataflow.errors.StoreError: rocksdb:x is closed
    """

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence

    def __missing__(self, family: str) -> NoReturn:
        raise StoreError(self.sentence)


_open: weakref.WeakKeyDictionary[Any, Callable[[], None]] = weakref.WeakKeyDictionary()


def in_child(store: Any, then: Callable[[Any], None]) -> None:
    """Have something done to a store in every process forked from this one, before anything else there.

    A fork copies the store's memory but not its threads, its locks or its place in the table of readers.
    """
    known = weakref.ref(store)

    def do() -> None:
        alive = known()
        if alive is not None:
            then(alive)

    _open[store] = do


def immortal(thing: object) -> None:
    """Never throw a thing away, not even when the process ends."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _forked() -> None:
    for do in list(_open.values()):
        do()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
