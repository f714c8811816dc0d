"""Sums that do not fit their type: the kernel's error names a column of its own making, and says nothing of a sum."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from dataflow.expr.nodes import Aggregate, show, walk
from dataflow.expr.typing import ExprError
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import expressions_of
from dataflow.plan.traversal import topological

__all__ = ["sums_named"]

_OVERFLOW = re.compile(r"conversion from `i128` to `i64` failed in column .*?: \[(-?\d+)", re.DOTALL)  # only sums are made in 128 bits


def sums_named(root: Relation, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The results of a tree; that a sum does not fit is told with the sums it has, as the user wrote them."""
    try:
        yield from tables
    except pl.exceptions.PolarsError as error:
        found = _OVERFLOW.search(str(error))
        parts = (part for node in topological((root,)) for expr in expressions_of(node) for part in walk(expr))
        sums = list(dict.fromkeys(show(part) for part in parts if isinstance(part, Aggregate) and part.function == "sum"))
        if found is None or not sums:
            raise
        hint = f"it is of {' or '.join(sums[:4])}; integers cast to decimal(38, 0) before have room"
        raise ExprError(f"a sum, {found[1]}, does not fit 64 bits", hint) from error
