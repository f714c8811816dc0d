"""Expressions to Polars'. The only meaning they may have is the reference's; where Polars differs, a cast or a `when` makes up.

    ExprNode + schema ──lower──> Lowered(pl.Expr, DType)      types go along, so that literals and casts are exact

Where Polars differs from us, and what is done: sums of integers are made in 128 bits and must fit 64 (Polars wraps);
decimals multiply at the scale of both (Polars keeps the larger one); counts and lengths are int64 (uint32 there); halves
round away from zero; windows with an order include peers.
"""

from __future__ import annotations

import contextlib
from typing import Any

import polars as pl

from dataflow.errors import shorten
from dataflow.expr.nodes import (
    Aggregate,
    Alias,
    Apply,
    Call,
    Case,
    Cast,
    Column,
    ExprNode,
    Literal,
    Window,
    has_aggregate,
)  # fmt: skip
from dataflow.expr.operations import OPERATIONS
from dataflow.expr.types import NULL, Schema
from dataflow.expr.typing import ExprError, fitted, type_of, type_of_call, type_of_value
from dataflow.kernels import arithmetic, comparison, nested, texts, times
from dataflow.kernels.aggregates import AGGREGATE_KERNELS, aggregate
from dataflow.kernels.arithmetic import EXACT, exact
from dataflow.kernels.casts import cast
from dataflow.kernels.lowered import Kernel, Lowered, Walk, as_condition, as_type, literal, nothing
from dataflow.kernels.types import to_polars
from dataflow.kernels.windows import RANKING_KERNELS, window

__all__ = ["AGGREGATE_KERNELS", "KERNELS", "RANKING_KERNELS", "Lowered", "condition", "lower", "lower_rows"]

KERNELS: dict[str, Kernel] = {**arithmetic.KERNELS, **comparison.KERNELS, **texts.KERNELS, **times.KERNELS, **nested.KERNELS}


def lower(node: ExprNode, schema: Schema) -> pl.Expr:
    """The Polars expression of a node over these columns."""
    return _lower(node, schema).expr


def lower_rows(node: ExprNode, schema: Schema) -> pl.Expr:
    """The same with a value for every row, also of what reads no column."""
    return Walk(schema, _lower).rows(node).expr


def condition(node: ExprNode, schema: Schema) -> pl.Expr:
    """The same of a condition."""
    return as_condition(_lower(node, schema))


def _lower(node: ExprNode, schema: Schema) -> Lowered:
    walk = Walk(schema, _lower)
    match node:
        case Column(name):
            return Lowered(pl.col(name), schema[name])
        case Literal(value, kind):
            return literal(value, kind if kind is not None else type_of_value(value))
        case Alias(input, name):
            inner = walk(input)
            return Lowered(inner.expr.alias(name), inner.type)
        case Cast(input, to, strict):
            return Lowered(cast(walk(input), to, strict), to)
        case Call(operation, args, options):
            parts = [walk(arg) for arg in args]
            types = fitted(args, tuple(part.type for part in parts))
            kind = type_of_call(node, types)
            for at, (arg, want) in enumerate(zip(args, types, strict=True)):
                if want != parts[at].type:
                    parts[at] = walk.typed(arg, want)
            if NULL in types and not OPERATIONS[operation].own_nulls:
                return Lowered(nothing(parts, kind), kind)
            if kind.name == "decimal" and operation in EXACT:
                return exact(EXACT[operation], parts[0], parts[1], kind)
            return Lowered(KERNELS[operation](parts, dict(options), kind), kind)
        case Case(branches, otherwise):
            kind = type_of(node, schema)
            chain: Any = pl
            for test, value in branches:
                chain = chain.when(as_condition(walk(test))).then(as_type(walk.typed(value, kind), kind))
            return Lowered(chain.otherwise(as_type(walk.typed(otherwise, kind), kind)), kind)
        case Aggregate():
            return aggregate(node, walk)
        case Window():
            return window(node, walk)
        case Apply():
            return _apply(node, walk)
        case _:
            raise AssertionError(f"{type(node).__name__} has no kernel of its own")


def _as_said(values: list[Any], target: Any, node: Apply) -> pl.Series:
    try:
        return pl.Series(values, dtype=target, strict=True)
    except (TypeError, pl.exceptions.PolarsError) as error:
        for value in values:
            try:
                pl.Series([value], dtype=target, strict=True)
            except (TypeError, pl.exceptions.PolarsError):
                raise ExprError(f"the function gave {shorten(value)}, and was said to return {node.returns}") from error
        raise


def _apply(node: Apply, walk: Walk) -> Lowered:
    """A Python function of values, or of Arrow arrays."""
    args = [walk(arg).expr.alias(f"a{i}") for i, arg in enumerate(node.args)]
    fn, target = node.fn, to_polars(node.returns)

    def run(series: pl.Series) -> pl.Series:
        columns = [series.struct.field(f"a{i}") for i in range(len(args))]
        if node.batches:
            return pl.Series(fn(*[column.to_arrow() for column in columns])).cast(target)
        given = [column.to_list() for column in columns]
        values: list[Any] = []
        try:
            values.extend(map(fn, *given))
        except Exception as error:
            with contextlib.suppress(AttributeError):  # for the report; the values that worked are there before
                error.record = shorten(tuple(arg[len(values)] for arg in given) if len(given) > 1 else given[0][len(values)])  # type: ignore[attr-defined]
            raise
        return _as_said(values, target, node)

    # Of an aggregate in a group_by the kernel would make a list of one value, unless it knows that each value is made of one
    return Lowered(pl.struct(args).map_batches(run, return_dtype=target, is_elementwise=has_aggregate(node)), node.returns)
