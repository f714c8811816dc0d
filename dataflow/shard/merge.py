"""Merging sorted runs in bounded memory, by rounds instead of row by row.

Each run is an iterator of sorted parts. A round's bound is the smallest of the runs' current last keys: all rows up
to the bound are at hand, so they are cut off every run and given out together, to be sorted by one vector operation.

    run 1   [1 3 5]  [7 9]           bound 5:  round 1 = 1 3 5 | 2 4
    run 2   [2 4 8]  [8 8]           bound 8:  round 2 = 7 | 8 | 8 8 …
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

__all__ = ["Part", "merge_rounds"]

P = TypeVar("P", bound="Part")


class Part(Protocol):
    """A sorted piece of a run."""

    @property
    def last(self) -> Any: ...

    def __len__(self) -> int: ...

    def cut(self: P, bound: Any) -> tuple[P, P]:
        """The rows up to and with ``bound``, and the rest."""
        ...


def merge_rounds(runs: list[Iterator[P]]) -> Iterator[tuple[list[P], Any]]:
    """Rounds of parts with the bound they reach; keys never descend from one round to the next."""
    heads: list[P | None] = [_next(run) for run in runs]
    while any(head is not None for head in heads):
        bound = min(head.last for head in heads if head is not None)
        parts: list[P] = []
        for index, head in enumerate(heads):
            if head is None:
                continue
            if head.last <= bound:  # one part a run and round, however long a key goes on: that bounds the memory
                parts.append(head)
                heads[index] = _next(runs[index])
                continue
            before, heads[index] = head.cut(bound)
            if len(before):
                parts.append(before)
        yield parts, bound


def _next(run: Iterator[P]) -> P | None:
    return next((part for part in run if len(part)), None)
