"""Run files served between machines, over Arrow Flight: ranges of bytes of files below a few folders, for who has the run's token.

    reader ─ do_action("read", {path, offset, length}) ─> FileServer ─ pread ─> bytes, as they lie (they carry their checksum)
           ─ do_action("ranges", {files: [[path, [offset, length, …]], …]}) ─> all of them one after another, in parts of about a MiB

Bytes and not record batches: a block is checked against its checksum before Arrow looks at it, by the reader.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from runners.ray.tls import flight_server, uses_tls

__all__ = ["FileServer"]

PART = 1 << 20  # bytes of a message


class _Token(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Refuses calls without the run's token."""

    def __init__(self, token: str) -> None:
        self.expected = f"Bearer {token}"

    def start_call(self, info: Any, headers: Any) -> None:
        given = (headers.get("authorization") or [""])[0]
        if not hmac.compare_digest(given, self.expected):
            raise flight.FlightUnauthenticatedError("the token of the run is needed")


class FileServer(flight.FlightServerBase):  # type: ignore[misc]
    """Serves the files below ``folders``, until `shutdown`."""

    def __init__(self, host: str, token: str, folders: Iterable[str]) -> None:
        scheme = "grpc+tls" if uses_tls() else "grpc"
        super().__init__(f"{scheme}://{host}:0", middleware={"token": _Token(token)}, **flight_server())
        self.folders = [os.path.realpath(folder) for folder in folders]
        self.place = f"{scheme}://{host}:{self.port}"

    def _allowed(self, path: str) -> str:
        real = os.path.realpath(path)
        if not any(real.startswith(f"{folder}{os.sep}") for folder in self.folders):
            raise flight.FlightUnauthorizedError(f"{path} is not a file of the run")
        return real

    def do_action(self, context: Any, action: Any) -> Iterable[Any]:
        """``read``: a range of a file. ``ranges``: many of several, while the reader takes them. ``remove``: files."""
        asked = json.loads(action.body.to_pybytes())
        if action.type == "remove":
            for path in asked["paths"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._allowed(path))
            return []
        if action.type == "ranges":
            return self._ranges(asked["files"])
        if action.type != "read":
            raise flight.FlightServerError(f"there is no {action.type!r} here")
        try:
            with open(self._allowed(asked["path"]), "rb", buffering=0) as file:
                return [flight.Result(pa.py_buffer(os.pread(file.fileno(), asked["length"], asked["offset"])))]
        except FileNotFoundError:
            raise KeyError(f"{asked['path']} is not there") from None

    def _ranges(self, files: list[tuple[str, list[int]]]) -> Iterator[Any]:
        """Ranges of files. Ends before the first that is not there, or is not whole."""
        parts: list[bytes] = []
        size = 0
        for path, ranges in files:
            try:
                with open(self._allowed(path), "rb", buffering=0) as file:
                    for offset, length in zip(ranges[::2], ranges[1::2], strict=True):
                        data = os.pread(file.fileno(), length, offset)
                        if len(data) < length:
                            raise FileNotFoundError
                        parts.append(data)
                        size += length
                        if size >= PART:
                            yield flight.Result(pa.py_buffer(b"".join(parts)))
                            parts, size = [], 0
            except FileNotFoundError:
                break
        if parts:
            yield flight.Result(pa.py_buffer(b"".join(parts)))
