"""Measures operations in turns, chunk by chunk, so that a noisy moment falls on all; the medians of their chunks are compared.

A chunk takes milliseconds, less than what the machine gives a process at a time, so that most of them are not interrupted.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Counted", "Operation", "counting", "measured", "report"]


@dataclass
class Operation:
    """``run(chunk)`` does one operation for each of a chunk of numbers. ``against``: the name of what it is compared with."""

    name: str
    run: Callable[[Sequence[int]], object]
    against: str | None = None
    goal: float | None = None
    calls: str = ""


def measured(operations: Sequence[Operation], chunks: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The rate of each operation, and its ratio to what it is compared with."""
    seconds: dict[str, list[float]] = {operation.name: [] for operation in operations}
    apart = len(chunks) // len(operations)  # who comes after another would find the same cells in the processor's cache
    for turn in range(len(chunks)):
        for place, operation in enumerate(operations):
            chunk = chunks[(turn + place * apart) % len(chunks)]
            begun = time.perf_counter()
            operation.run(chunk)
            seconds[operation.name].append((time.perf_counter() - begun) / len(chunk))
    each = {name: median(found) for name, found in seconds.items()}
    return [
        {
            "name": operation.name,
            "rate": 1 / each[operation.name],
            "ratio": each[operation.against] / each[operation.name] if operation.against else None,
            "goal": operation.goal,
            "calls": operation.calls,
        }
        for operation in operations
    ]


def chunks_of(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    return [numbers[at : at + size] for at in range(0, len(numbers) - size + 1, size)]


def report(rates: list[dict[str, Any]], seconds: float, **more: Any) -> None:
    print(json.dumps({"seconds": seconds, "rates": rates, **more}))


class Counted:
    """An object whose calls of some methods are counted."""

    def __init__(self, wrapped: Any, names: dict[str, str], calls: Counter[str]) -> None:
        self._wrapped, self._names, self._calls = wrapped, names, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if name not in self._names:
            return found

        def counted(*arguments: Any) -> Any:
            self._calls[self._names[name]] += 1
            return found(*arguments)

        return counted


def counting(store: Any) -> Counter[str]:
    """Count a RocksStore's calls of RocksDB from now on."""
    calls: Counter[str] = Counter()
    gets = dict(store._gets)

    def get(family: str) -> Callable[[Any], Any]:
        def counted(key: Any) -> Any:
            calls["list get" if type(key) is list else "get"] += 1
            return gets[family](key)

        return counted

    store._gets = {family: get(family) for family in gets}
    store._families = {name: Counted(found, {"iter": "seek", "put": "put"}, calls) for name, found in store._families.items()}
    store._db = Counted(store._db, {"write": "batch"}, calls)
    store.puts = {sync: Counted(found, {"put": "put"}, calls).put for sync, found in store._putting.items()}
    return calls


def calls_of(run: Callable[[Sequence[int]], object], chunk: Sequence[int], calls: Counter[str]) -> str:
    """How often an operation calls the store."""
    calls.clear()
    run(chunk)
    return ", ".join(f"{count / len(chunk):.3g} {name}" for name, count in sorted(calls.items()))
