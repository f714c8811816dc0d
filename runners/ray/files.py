"""Run files served between machines, over Arrow Flight: ranges of bytes of files below a few folders, for who has the run's token.

    reader ─ do_action("read", {path, offset, length}) ─> FileServer ─ pread ─> bytes, as they lie (they carry their checksum)

Bytes and not record batches: a block is checked against its checksum before Arrow looks at it, by the reader.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

__all__ = ["FileServer", "FlightTransport"]

PATIENCE = 30.0  # seconds for one range; a machine that is gone answers at once or never


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
        super().__init__(f"grpc://{host}:0", middleware={"token": _Token(token)})
        self.folders = [os.path.realpath(folder) for folder in folders]
        self.place = f"grpc://{host}:{self.port}"

    def _allowed(self, path: str) -> str:
        real = os.path.realpath(path)
        if not any(real.startswith(f"{folder}{os.sep}") for folder in self.folders):
            raise flight.FlightUnauthorizedError(f"{path} is not a file of the run")
        return real

    def do_action(self, context: Any, action: Any) -> Iterable[Any]:
        """``read``: a range of a file. ``remove``: files."""
        asked = json.loads(action.body.to_pybytes())
        if action.type == "remove":
            for path in asked["paths"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._allowed(path))
            return []
        if action.type != "read":
            raise flight.FlightServerError(f"there is no {action.type!r} here")
        try:
            with open(self._allowed(asked["path"]), "rb", buffering=0) as file:
                return [flight.Result(pa.py_buffer(os.pread(file.fileno(), asked["length"], asked["offset"])))]
        except FileNotFoundError:
            raise KeyError(f"{asked['path']} is not there") from None


class FlightTransport:
    """Reads files of other places; ``here`` is this process's own."""

    def __init__(self, here: str, token: str) -> None:
        self.here, self.token = here, token
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def _ask(self, place: str, what: str, patience: float = PATIENCE, **asked: Any) -> list[Any]:
        with self._lock:
            client = self._clients.get(place)
            if client is None:
                client = self._clients[place] = flight.connect(place)
        options = flight.FlightCallOptions(timeout=patience, headers=[(b"authorization", f"Bearer {self.token}".encode())])
        return list(client.do_action(flight.Action(what, json.dumps(asked).encode()), options))

    def read(self, place: str, path: str, offset: int, length: int) -> memoryview:
        """A range of a file. Raises FileNotFoundError where the file, or the whole place, is gone."""
        try:
            parts = self._ask(place, "read", path=path, offset=offset, length=length)
        except (flight.FlightUnavailableError, flight.FlightTimedOutError, flight.FlightCancelledError, KeyError) as error:
            raise FileNotFoundError(f"{place}{path}: {error}") from error
        return memoryview(b"".join(part.body for part in parts)) if len(parts) > 1 else memoryview(parts[0].body)

    def remove(self, place: str, path: str) -> None:
        """Remove a file; a place that is gone has none."""
        with contextlib.suppress(Exception):
            self._ask(place, "remove", paths=[path])

    def refused(self, place: str) -> bool:
        """Whether nobody answers at a place, though its machine says so: whoever served there has ended."""
        try:
            self._ask(place, "remove", patience=1.0, paths=[])
        except flight.FlightUnavailableError as error:
            return "refused" in str(error)
        except Exception:  # it is there, or cannot be reached: that may pass
            return False
        return False

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            for client in self._clients.values():
                with contextlib.suppress(Exception):
                    client.close()
            self._clients.clear()


def copied(read: Callable[[int, int], bytes | memoryview], target: str) -> None:
    """A whole file of another place, into one of this."""
    step, offset = 8 << 20, 0
    with open(target, "wb") as out:
        while data := read(offset, step):
            out.write(data)
            offset += len(data)
