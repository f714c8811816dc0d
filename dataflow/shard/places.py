"""Where the files of a run are, and how a reader gets at their bytes.

    RunFile(path, place) ─> read_range ─┬─ place "" or this process's own ──> the operating system
                                        ├─ another ──> the transport that this process was connected with ──> who serves it there
                                        └─ a path that is a URL: storage that every process sees ──> fsspec

On one machine every file has the place "" and nobody is connected. A runner of several machines gives each of them a place (the
address at which its files are served), stamps it on the files its tasks write, and connects every process it starts. A file in
storage that all machines see is at no place, and does not go with a machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

from dataflow.errors import DataflowError, Report, redact

__all__ = ["Transport", "connect", "create_file", "expect_reads", "is_shared", "make_folder", "read_range", "remove_file", "remove_folder"]

_log = logging.getLogger("dataflow")


class Transport(Protocol):
    """How a process reaches the files of other places."""

    here: tuple[str, ...]  # the places whose files this process opens itself

    def read(self, place: str, path: str, offset: int, length: int) -> bytes | memoryview:
        """A range of a file of another place. Raises FileNotFoundError where the file or the whole place is gone."""
        ...

    def expect(self, wanted: list[tuple[str, str, int, int]], most: int) -> None:
        """These ranges (place, path, offset, length) are going to be read, and no others: fetch at most so many bytes ahead."""
        ...

    def remove(self, place: str, path: str) -> None:
        """Remove a file of another place, now or soon; a place that is gone has no files."""
        ...


_connected: list[Transport] = []


def connect(transport: Transport | None) -> None:
    """From now on, this process reaches other places so; None: it reaches none."""
    _connected[:] = [transport] if transport is not None else []


def is_shared(path: str) -> bool:
    """Whether a path is a URL, of storage that all machines see: an object store, or ``file://`` for a folder they share."""
    return "://" in path


def create_file(path: str) -> Any:
    """A new file of the run, open for writing."""
    if not is_shared(path):
        return open(path, "wb", buffering=0)  # what is written are blocks, which are large
    if not path.startswith(_FOLDER):
        fs, inner = _storage(path)
        return fs.open(inner, "wb")
    local = path.removeprefix(_FOLDER)
    if not os.path.isdir(folder := os.path.dirname(local)):  # the driver has made it
        text = f"machine {os.uname().nodename} does not see {os.path.dirname(folder)}, where shuffles are to go"
        raise DataflowError(Report(text, hint="it must be a folder that all machines share, or a URL such as s3://bucket/folder"))
    return open(local, "wb", buffering=0)


def make_folder(path: str) -> None:
    """A folder for files of the run, in shared storage or here."""
    if path.startswith(_FOLDER) or not is_shared(path):
        os.makedirs(path.removeprefix(_FOLDER), exist_ok=True)
        return
    fs, inner = _storage(path)
    fs.makedirs(inner, exist_ok=True)


def remove_folder(path: str) -> None:
    """Remove a folder of the run in shared storage, with all in it. What cannot be removed stays, with a warning: the run is done."""
    try:
        fs, inner = _storage(path)
        fs.rm(inner, recursive=True)
    except FileNotFoundError:
        return
    except Exception as error:  # a straggler writes there still, or the storage does not answer
        _log.warning("%s could not be removed: %s", redact(path), redact(str(error)))


def read_range(place: str, path: str, offset: int, length: int) -> bytes | memoryview:
    """A range of a file of the run, shorter only if the file is. Raises FileNotFoundError."""
    if is_shared(path):
        if not path.startswith(_FOLDER):
            fs, inner = _storage(path)
            return bytes(fs.cat_file(inner, start=offset, end=offset + length))
        path = path.removeprefix(_FOLDER)
    elif place and _connected and place not in _connected[0].here:
        return _connected[0].read(place, path, offset, length)
    with open(path, "rb", buffering=0) as handle:
        data = os.pread(handle.fileno(), length, offset)
        while 0 < len(data) < length and (more := os.pread(handle.fileno(), length - len(data), offset + len(data))):
            data += more
    return data


def expect_reads(wanted: Callable[[], list[tuple[str, str, int, int]]], most: int) -> None:
    """Say which ranges are going to be read, in about this order, by a process that reaches other places."""
    if _connected:
        _connected[0].expect([one for one in wanted() if one[0] and not is_shared(one[1])], most)


def remove_file(place: str, path: str) -> None:
    """Remove a file of the run, if it is still there."""
    with contextlib.suppress(FileNotFoundError):
        if is_shared(path):
            fs, inner = _storage(path)
            fs.rm_file(inner)
        elif place and _connected and place not in _connected[0].here:
            _connected[0].remove(place, path)
        else:
            os.unlink(path)


_FOLDER = "file://"


def _storage(url: str) -> tuple[Any, str]:
    import fsspec

    found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    return found
