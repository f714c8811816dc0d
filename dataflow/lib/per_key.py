"""One answer per key: top, mean, distinct values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dataflow.aggregators import CollectSet, Mean, Top
from dataflow.api.table import PTable

__all__ = ["distinct_per_key", "mean_per_key", "top_per_key"]

K = TypeVar("K")
V = TypeVar("V")


def top_per_key(table: PTable[K, V], n: int, key: Callable[[V], Any] | None = None, *, smallest: bool = False) -> PTable[K, list[V]]:
    """Each key's ``n`` largest values by ``key``, largest first.

    >>> from dataflow import Pipeline
    >>> top_per_key(Pipeline().create([("a", 1), ("a", 5), ("a", 3)]).as_table(), 2).collect()
    [('a', [5, 3])]
    """
    return table.combine_per_key(Top(n, key, smallest=smallest), label="top_per_key")


def mean_per_key(table: PTable[K, Any]) -> PTable[K, float]:
    """Each key's mean value.

    >>> from dataflow import Pipeline
    >>> mean_per_key(Pipeline().create([("a", 1), ("a", 2)]).as_table()).collect()
    [('a', 1.5)]
    """
    return table.combine_per_key(Mean(), label="mean_per_key")


def distinct_per_key(table: PTable[K, V]) -> PTable[K, list[V]]:
    """Each key's different values, in order. They are held in memory while they are merged.

    >>> from dataflow import Pipeline
    >>> distinct_per_key(Pipeline().create([("a", 2), ("a", 1), ("a", 2)]).as_table()).collect()
    [('a', [1, 2])]
    """
    return table.combine_per_key(CollectSet(), label="distinct_per_key")
