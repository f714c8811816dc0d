"""The different values of a key column, or their bounds where there are many."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

__all__ = ["keys_of"]

ROWS_A_KEY = 16  # above, few different values are not looked for


def keys_of(column: pa.ChunkedArray, most: int) -> tuple[list[Any] | None, tuple[Any, Any]]:
    """Up to ``most`` different values that are not null, in order; None for more. And the least and the greatest, None of nothing.

    Of many rows only the bounds are told, and of whole numbers that stand close together.

    >>> keys_of(pa.chunked_array([[3, None, 9, 3]]), 4)
    ([3, 9], (3, 9))
    >>> keys_of(pa.chunked_array([[3, 4, 5, 7]]), 4)
    (None, (3, 7))
    """
    values = pl.Series(column)
    low, high = values.min(), values.max()
    if low is None:
        return [], (None, None)
    if len(values) > ROWS_A_KEY * most:
        return None, (low, high)
    some = values.drop_nulls().unique()
    if len(some) > most or (isinstance(low, int) and isinstance(high, int) and high - low < 2 * len(some)):
        return None, (low, high)
    return some.sort().to_list(), (low, high)
