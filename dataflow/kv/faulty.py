"""A store that answers "unknown", for tests of what stands on one: as a network does, but from a seed.

    mutation -> the store makes it, or does not   -> True, False
             -> unknown: half of them were made   -> OutcomeUnknownError, which is among the answers of mutate_many
                of the others some come late      -> made at one of the next calls, whoever makes it
             -> some are sent twice               -> made again at one of the next calls, if their conditions hold then

Random, never by the clock: with one thread a seed repeats a run.

>>> from random import Random
>>> from dataflow.kv import Edit, MemoryStore, Mutation
>>> store = FaultyStore(MemoryStore(), Random(0), unknown=0.5, late=0.5)
>>> create = [Mutation(b"%d" % number, (), (Edit("data", b"%d" % number, b""),)) for number in range(8)]
>>> [answer is True for answer in store.mutate_many(create)]
[True, False, False, True, False, True, True, True]
>>> [key.decode() for key, _ in store.store.scan("data", b"0", b"9")]
['0', '1', '3', '5', '6', '7']
>>> store.deliver()
>>> [key.decode() for key, _ in store.store.scan("data", b"0", b"9")]
['0', '1', '2', '3', '5', '6', '7']
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from dataflow.errors import OutcomeUnknownError, Report
from dataflow.kv.store import Edit, Entry, Mutation, Outcome, Range, Store

__all__ = ["FaultyStore"]

_DELIVERED = 0.25  # of the calls, so many bring one of what is under way: four calls late in the middle


class FaultyStore:
    """A store whose answers get lost.

    ``unknown``: the probability that the answer to a mutation is lost; ``made``: how many of those the store has made by then.
    ``late``: how many of the others it makes at a later call. ``twice``: the probability that a mutation comes again at a later call,
    whatever its answer. ``writes``: the probability that the answer to a `write` is lost.
    """

    def __init__(
        self,
        store: Store,
        random: Random,
        unknown: float = 0.1,
        *,
        made: float = 0.5,
        late: float = 0.0,
        twice: float = 0.0,
        writes: float = 0.0,
    ) -> None:
        self.store = store
        self.name = f"faulty {store.name}"
        self.atomic: Literal["row", "store"] = store.atomic
        self.shared = store.shared
        self._random = random
        self._unknown, self._made, self._late_share, self._twice, self._writes = unknown, made, late, twice, writes
        self._under_way: list[Mutation] = []
        self._lock = threading.Lock()

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        self._arrive()
        return self.store.get(family, key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        self._arrive()
        return self.store.get_many(family, keys)

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries with ``start <= key < stop``, in the order of their keys."""
        self._arrive()
        return self.store.scan(family, start, stop, reverse=reverse, limit=limit)

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range."""
        self._arrive()
        return self.store.firsts(ranges)

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together."""
        self._arrive()
        with self._lock:
            lost = self._random.random() < self._writes
            made = not lost or self._random.random() < self._made
        if made:
            self.store.write(edits, sync=sync)
        if lost:
            raise OutcomeUnknownError(Report(f"{self.name} gave no answer to a write"))

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold; whether they were may stay unknown."""
        answer = self._sent(mutation, sync)
        if isinstance(answer, OutcomeUnknownError):
            raise answer
        return answer

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently."""
        return [self._sent(mutation, sync) for mutation in mutations]

    def deliver(self) -> None:
        """Let everything arrive that is under way, for the end of a test."""
        while self._under_way:
            self._arrive(1.0)

    def close(self) -> None:
        """Close the store; what is under way is lost."""
        self.store.close()

    def _sent(self, mutation: Mutation, sync: bool) -> Outcome:
        self._arrive()
        with self._lock:
            lost = self._random.random() < self._unknown
            made = not lost or self._random.random() < self._made
            again = self._random.random() < (self._twice if made else self._late_share)
        answer: Outcome = self.store.mutate(mutation, sync=sync) if made else False
        if again:
            with self._lock:
                self._under_way.append(mutation)
        if lost:
            return OutcomeUnknownError(Report(f"{self.name} gave no answer to a mutation of row {mutation.row[:60]!r}"))
        return answer

    def _arrive(self, share: float = _DELIVERED) -> None:
        with self._lock:
            if not self._under_way or self._random.random() >= share:
                return
            mutation = self._under_way.pop(self._random.randrange(len(self._under_way)))
        self.store.mutate(mutation)
