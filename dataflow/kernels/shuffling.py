"""What a shuffle of records needs of their columns: a hash of the keys, or bytes that compare as the order does."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from dataflow.expr.nodes import ExprNode, SortKey, columns_of
from dataflow.expr.types import DType, Schema
from dataflow.expr.typing import ExprError, type_of
from dataflow.kernels.expressions import lower_rows
from dataflow.kernels.query import as_frame
from dataflow.kernels.types import schema_from_arrow, to_polars

__all__ = ["check_order", "key_hashes", "order_bytes"]


def key_hashes(table: pa.Table, keys: tuple[ExprNode, ...], types: tuple[DType, ...]) -> np.ndarray:
    """A 64-bit hash of the key columns of every row: equal for equal values, as the types they are joined in.

    It is the kernel library's own, so it is the same in all processes of a run, and is not stored beyond it.
    """
    if not keys:
        return np.zeros(table.num_rows, np.uint64)
    schema = schema_from_arrow(table.schema)
    exprs = []
    for at, (key, kind) in enumerate(zip(keys, types, strict=True)):
        expr = lower_rows(key, schema)
        if type_of(key, schema) != kind:
            expr = expr.cast(to_polars(kind))
        if kind.is_float:
            expr = expr + 0.0  # -0.0 equals 0.0
        exprs.append(expr.alias(f"k{at}"))
    found = _frame(table, keys).select(exprs)
    return found.hash_rows(seed=0).to_numpy()


def check_order(order: tuple[SortKey, ...], schema: Schema) -> None:
    """Raises ExprError for an order of what is only carried: its bytes have one, its values may have another."""
    for key in order:
        if (kind := type_of(key.expr, schema)).name == "other":
            raise ExprError(f"{kind} has no order that a query knows", "sort by a column made from it")


def order_bytes(table: pa.Table, order: tuple[SortKey, ...]) -> pa.Array:
    """One binary value a row that compares, byte by byte, as the sort keys do.

    The encoding is the kernel library's row encoding, which its own sort uses; it has no public name yet, and a property
    test holds it to the reference's order.
    """
    schema = schema_from_arrow(table.schema)
    check_order(order, schema)
    keys = _frame(table, [key.expr for key in order]).select(lower_rows(key.expr, schema).alias(f"k{at}") for at, key in enumerate(order))
    rows: pl.Series = keys._row_encode(
        unordered=False, descending=[key.descending for key in order], nulls_last=[key.nulls_last for key in order]
    )
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _frame(table: pa.Table, exprs: Iterable[ExprNode]) -> pl.DataFrame:
    """The columns of a table that expressions read: to look at another costs a pass over its texts."""
    used = {name for expr in exprs for name in columns_of(expr)}
    names = [name for name in table.column_names if name in used]
    return as_frame(table.select(names or table.column_names[:1]))
