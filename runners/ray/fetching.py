"""What an attempt is going to read from other machines is fetched before it asks, in large portions, within a bound of bytes.

    wanted ranges, in the order of reading ─ a portion, at most half of the bound ─> one call a place ─> held ─ `take` ─> the reader
                                                └─ waits while what is held and what is coming reach the bound

A shuffle of many mappers is read in many small blocks: a call for each costs half a millisecond, and a reader of 2,000 files a second
in which it does nothing. The bound is a part of the attempt's memory: a machine that reads slowly is not flooded by all that have
something for it. Who asks for what is not there yet, because it reads in another order, reads it itself: nobody ever waits for the
order of another.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator

__all__ = ["Fetcher", "Range"]

Range = tuple[str, str, int, int]  # place, path, offset, length
MANY = 4096  # ranges of a portion


class Fetcher:
    """Fetches ranges by ``ask(place, ranges)``, which gives their bytes in the same order, and may fail or stop at any."""

    def __init__(self, ask: Callable[[str, list[Range]], Iterator[memoryview]], wanted: Iterable[Range], most: int) -> None:
        self.ask, self.most = ask, most
        self.left = dict.fromkeys(one for one in wanted if one[3] <= most // 2)
        self.coming: set[Range] = set()
        self.held: dict[Range, memoryview] = {}
        self.in_flight = self.highest = 0  # bytes that are held or coming
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="fetching", daemon=True).start()

    def take(self, wanted: Range) -> memoryview | None:
        """The bytes of a range, once; None where the reader is to read it itself."""
        with self._changed:
            while (wanted in self.coming or self._is_next(wanted)) and not self._closed:
                self._changed.wait()
            self.left.pop(wanted, None)
            data = self.held.pop(wanted, None)
            if data is not None:
                self.in_flight -= wanted[3]
                self._changed.notify_all()
            return data

    def _is_next(self, wanted: Range) -> bool:
        """Whether a range is the first of the next portion, for which there is room."""
        return self.in_flight <= self.most // 2 and next(iter(self.left), None) == wanted

    def close(self) -> None:
        """Fetch no more, and let go of what is held."""
        with self._changed:
            self._closed = True
            self.left.clear()
            self.held.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while portion := self._portion():
            for place, ranges in itertools.groupby(sorted(portion, key=lambda one: one[0]), key=lambda one: one[0]):
                self._fetch(place, list(ranges))

    def _portion(self) -> list[Range]:
        """What to fetch next, as soon as half of the bound is free; nothing at the end."""
        with self._changed:
            while self.left and self.in_flight > self.most // 2 and not self._closed:
                self._changed.wait()
            found: list[Range] = []
            for one in self.left:
                if self.in_flight + one[3] > self.most or len(found) == MANY:
                    break
                found.append(one)
                self.in_flight += one[3]
            self.highest = max(self.highest, self.in_flight)
            for one in found:
                del self.left[one]
            self.coming.update(found)
            self._changed.notify_all()
            return found

    def _fetch(self, place: str, ranges: list[Range]) -> None:
        came = 0
        try:
            for one, data in zip(ranges, self.ask(place, ranges), strict=False):
                with self._changed:
                    if self._closed:
                        return
                    self.held[one] = data
                    self.coming.discard(one)
                    came += 1
                    self._changed.notify_all()
        except Exception:  # who reads them meets with the same, and says what it was
            pass
        finally:
            with self._changed:
                self.coming.difference_update(ranges[came:])
                self.in_flight -= sum(one[3] for one in ranges[came:])
                self._changed.notify_all()
