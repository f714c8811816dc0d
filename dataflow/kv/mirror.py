"""Two stores in lockstep, each the other's judge: every call goes to both, and the first answer that differs is an error.

>>> from dataflow.kv import Edit, MemoryStore
>>> left, right = MemoryStore(), MemoryStore()
>>> both = Mirror(left, right)
>>> both.write([Edit("data", b"k", b"v")])
>>> both.get("data", b"k")
b'v'
>>> right.write([Edit("data", b"k", b"w")])
>>> both.get("data", b"k")
Traceback (most recent call last):
  ...
dataflow.errors.StoreError: two stores differ in get('data', b'k')
  record   memory: answers b'v'
  from     memory: answers b'w'
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal

from dataflow.errors import OutcomeUnknownError, Report, StoreError, shorten
from dataflow.kv.store import Edit, Entry, Mutation, Outcome, Range, Store

__all__ = ["Mirror"]


class Mirror:
    """A store made of two. One call at a time, so that both see the same order; a change that one refuses, the other must refuse.

    A scan is compared entry by entry as it goes, so nothing may change the store meanwhile.
    """

    def __init__(self, first: Store, second: Store) -> None:
        self.first, self.second = first, second
        self.name = f"mirror of {first.name} and {second.name}"
        self.atomic: Literal["row", "store"] = "store" if first.atomic == second.atomic == "store" else "row"
        self.shared = False
        self._lock = threading.RLock()

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        return self._both("get", family, key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        return self._both("get_many", family, keys)

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries with ``start <= key < stop``, in the order of their keys."""
        asked = (family, start, stop)
        one = self.first.scan(*asked, reverse=reverse, limit=limit)
        other = self.second.scan(*asked, reverse=reverse, limit=limit)
        for left, right in zip_longest(one, other):
            if left != right:
                raise self._differ("scan", (*asked, f"reverse={reverse}", f"limit={limit}"), left, right)
            yield left

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range."""
        return self._both("firsts", ranges)

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together."""
        self._both("write", edits, sync=sync)

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold."""
        return self._both("mutate", mutation, sync=sync)

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently."""
        return self._both("mutate_many", mutations, sync=sync)

    def close(self) -> None:
        """Close both."""
        self.first.close()
        self.second.close()

    def _both(self, call: str, *given: Any, **options: Any) -> Any:
        with self._lock:
            left, right = (_answer(getattr(store, call), given, options) for store in (self.first, self.second))
        raised = isinstance(left, Exception)
        if raised != isinstance(right, Exception) or (not raised and left != right):
            raise self._differ(call, given, left, right)
        if raised:
            raise left
        return left

    def _differ(self, call: str, given: tuple[Any, ...], left: Any, right: Any) -> StoreError:
        asked = ", ".join(shorten(one, 300) for one in given)
        return StoreError(
            Report(
                f"two stores differ in {call}({asked})",
                record=f"{self.first.name} answers {shorten(left, 300)}",
                location=f"{self.second.name} answers {shorten(right, 300)}",
            )
        )


def _answer(call: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> Any:
    try:
        return call(*given, **options)
    except OutcomeUnknownError:
        raise  # then nobody can say what the other should do
    except Exception as reason:
        return reason
