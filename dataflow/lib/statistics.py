"""What numbers look like: a summary, a histogram."""

from __future__ import annotations

import math
from typing import Any

from dataflow.aggregators import AllOf, Count, Max, Mean, Min, Variance
from dataflow.api.collection import PCollection
from dataflow.api.pobject import PObject
from dataflow.api.table import PTable

__all__ = ["describe", "histogram"]


def describe(numbers: PCollection[Any]) -> PObject[dict[str, Any]]:
    """Count, mean, standard deviation, min and max of a collection of numbers, in one pass.

    >>> from dataflow import Pipeline
    >>> describe(Pipeline().create([1, 2, 3, 4])).get()["max"]
    4
    """
    return numbers.combine(AllOf(Count(), Mean(), Variance(), Min(), Max()), label="describe").operate(_named, label="describe names")


def _named(found: tuple[Any, ...]) -> dict[str, Any]:
    count, mean, variance, low, high = found
    return {"count": count, "mean": mean, "std": math.sqrt(variance) if variance is not None else None, "min": low, "max": high}


def histogram(numbers: PCollection[Any], width: float) -> PTable[float, int]:
    """How many numbers fall into each bin [n * width, (n + 1) * width), by the bin's lower edge.

    >>> from dataflow import Pipeline
    >>> sorted(histogram(Pipeline().create([1, 2, 11]), 10).collect())
    [(0, 2), (10, 1)]
    """
    if not width > 0:
        raise ValueError(f"width must be above 0, not {width}")
    return numbers.map(_Bin(width), label="bin").count(label="histogram")


class _Bin:
    """The lower edge of a number's bin."""

    def __init__(self, width: float) -> None:
        self.width = width

    def __call__(self, number: float) -> float:
        return math.floor(number / self.width) * self.width
