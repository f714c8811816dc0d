"""How many bytes Python values take, from a sample."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["estimated_bytes", "value_bytes"]

SAMPLE = 16


def value_bytes(value: Any) -> int:
    """The bytes of one value, one level into containers, array bytes counted."""
    if isinstance(value, (tuple, list)):
        if len(value) > SAMPLE:
            return 64 + estimated_bytes(value)
        return 64 + sum(map(value_bytes, value))
    if isinstance(value, dict):
        return 64 + sum(value_bytes(k) + value_bytes(v) for k, v in list(value.items())[:64]) * max(1, len(value) // 64)
    size = getattr(value, "nbytes", None)
    return int(size) if isinstance(size, int) else sys.getsizeof(value, 64)


def estimated_bytes(values: Sequence[Any]) -> int:
    """About how many bytes the values take: an evenly spaced sample, scaled.

    >>> 5_000 < estimated_bytes(["abc"] * 100) < 10_000
    True
    """
    count = len(values)
    if not count:
        return 0
    step = max(1, count // SAMPLE)
    sample = [value_bytes(values[i]) for i in range(0, count, step)]
    return int(sum(sample) / len(sample) * count) + 8 * count
