"""Conditions asked of a few rows at hand, such as the values in the names of folders."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dataflow.expr.nodes import ExprNode
from dataflow.kernels.expressions import lower
from dataflow.kernels.query import as_frame
from dataflow.kernels.types import schema_from_arrow

__all__ = ["rows_where"]


def rows_where(table: pa.Table, conditions: Sequence[ExprNode]) -> list[int] | None:
    """The places of the rows for which all the conditions are true; None where one fails, which is for the run to say.

    >>> from dataflow import col
    >>> rows_where(pa.table({"day": [1, 2, None]}), [(col("day") > 1).node])
    [1]
    """
    schema = schema_from_arrow(table.schema)
    try:
        frame = as_frame(table).with_row_index("#row")
        for one in conditions:
            frame = frame.filter(lower(one, schema))
        return frame.get_column("#row").to_list()
    except Exception:  # whatever the kernel makes of an overflow, or of a text that is no date
        return None
