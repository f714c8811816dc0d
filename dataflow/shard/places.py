"""Where the files of a run are, and how a reader gets at their bytes.

    RunFile(path, place) ─> read_range ─┬─ place "" or this process's own ──> the operating system
                                        └─ another ──> the transport that this process was connected with ──> who serves it there

On one machine every file has the place "" and nobody is connected. A runner of several machines gives each of them a place (the
address at which its files are served), stamps it on the files its tasks write, and connects every process it starts.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol

__all__ = ["Transport", "connect", "read_range", "remove_file"]


class Transport(Protocol):
    """How a process reaches the files of other places."""

    here: str  # the place whose files this process opens itself

    def read(self, place: str, path: str, offset: int, length: int) -> bytes | memoryview:
        """A range of a file of another place. Raises FileNotFoundError where the file or the whole place is gone."""
        ...

    def remove(self, place: str, path: str) -> None:
        """Remove a file of another place, now or soon; a place that is gone has no files."""
        ...


_connected: list[Transport] = []


def connect(transport: Transport | None) -> None:
    """From now on, this process reaches other places so; None: it reaches none."""
    _connected[:] = [transport] if transport is not None else []


def read_range(place: str, path: str, offset: int, length: int) -> bytes | memoryview:
    """A range of a file of the run, shorter only if the file is. Raises FileNotFoundError."""
    if place and _connected and place != _connected[0].here:
        return _connected[0].read(place, path, offset, length)
    with open(path, "rb", buffering=0) as handle:
        data = os.pread(handle.fileno(), length, offset)
        while 0 < len(data) < length and (more := os.pread(handle.fileno(), length - len(data), offset + len(data))):
            data += more
    return data


def remove_file(place: str, path: str) -> None:
    """Remove a file of the run, if it is still there."""
    if place and _connected and place != _connected[0].here:
        _connected[0].remove(place, path)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
