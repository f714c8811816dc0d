"""How a process reads the run files of other machines: from their `FileServer`, over Arrow Flight."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from runners.ray.fetching import Fetcher, Range
from runners.ray.tls import flight_client

__all__ = ["FlightTransport", "copied"]

PATIENCE = 30.0  # seconds for one range; a machine that is gone answers at once or never
PORTION = 60.0  # for many ranges, an eighth of an attempt's memory: their reader waits for the first, and then asks for it itself


class FlightTransport:
    """Reads files of other places; ``here`` are those whose files this process opens itself."""

    def __init__(self, here: tuple[str, ...], token: str) -> None:
        self.here, self.token = here, token
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._fetcher: Fetcher | None = None

    def _ask(self, place: str, what: str, patience: float = PATIENCE, **asked: Any) -> list[Any]:
        return list(self._answers(place, what, patience, **asked))

    def _answers(self, place: str, what: str, patience: float, **asked: Any) -> Any:
        import pyarrow.flight as flight  # 20 ms, for those only that read from other machines

        with self._lock:
            client = self._clients.get(place)
            if client is None:
                client = self._clients[place] = flight.connect(place, **flight_client())
        options = flight.FlightCallOptions(timeout=patience, headers=[(b"authorization", f"Bearer {self.token}".encode())])
        return client.do_action(flight.Action(what, json.dumps(asked).encode()), options)

    def expect(self, wanted: list[Range], most: int) -> None:
        """These ranges are going to be read, in about this order: fetch them ahead, at most so many bytes."""
        if self._fetcher is not None:
            self._fetcher.close()
        far = [one for one in wanted if one[0] not in self.here]
        self._fetcher = Fetcher(self._ranges, far, most) if len(far) > 1 else None

    def _ranges(self, place: str, ranges: list[Range]) -> Iterator[memoryview]:
        """The bytes of many ranges of a place."""
        files = [(path, [n for one in of for n in one[2:]]) for path, of in itertools.groupby(ranges, key=lambda one: one[1])]
        lengths = iter([one[3] for one in ranges])
        for part in self._answers(place, "ranges", PORTION, files=files):
            data, at = memoryview(part.body), 0
            while at < len(data):
                length = next(lengths)
                yield data[at : at + length]
                at += length

    def read(self, place: str, path: str, offset: int, length: int) -> memoryview:
        """A range of a file. Raises FileNotFoundError where the file or the whole place is gone, ConnectionError for what may pass."""
        if self._fetcher is not None and (data := self._fetcher.take((place, path, offset, length))) is not None:
            return data
        import pyarrow.flight as flight

        try:
            parts = self._ask(place, "read", path=path, offset=offset, length=length)
        except (flight.FlightUnavailableError, flight.FlightTimedOutError, flight.FlightCancelledError, KeyError) as error:
            raise FileNotFoundError(f"{place}{path}: {error}") from error
        except (flight.FlightError, OSError) as error:  # what went wrong there, without its number: no file handle is free, say
            raise ConnectionError(f"{place}{path}: {error}") from error
        return memoryview(b"".join(part.body for part in parts)) if len(parts) > 1 else memoryview(parts[0].body)

    def remove(self, place: str, path: str) -> None:
        """Remove a file; a place that is gone has none."""
        with contextlib.suppress(Exception):
            self._ask(place, "remove", paths=[path])

    def answer(self, place: str) -> str:
        """Who is at a place: "here"; "nobody", if its machine says so: whoever served there has ended; "silent": that may pass."""
        import pyarrow.flight as flight

        try:
            self._ask(place, "remove", patience=2.0, paths=[])
        except flight.FlightUnavailableError as error:
            return "nobody" if "refused" in str(error) else "silent"
        except Exception:
            return "silent"
        return "here"

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
