"""Aggregates in Polars: sums are exact and must fit, counts are int64, nulls as in `docs/columns.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dataflow.expr.nodes import Aggregate, SortKey
from dataflow.expr.types import FLOAT64, INT64, DType
from dataflow.expr.typing import type_of
from dataflow.kernels.lowered import Kernel, Lowered, Walk, as_condition, as_type, own
from dataflow.kernels.sketches import SKETCH_KERNELS, at_rank
from dataflow.kernels.types import to_polars

__all__ = ["AGGREGATE_KERNELS", "aggregate", "sorted_by"]

_IN_ORDER = ("first", "last", "nth", "collect", "join")


def _sum(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    have = one.type
    if have.name == "decimal":
        return one.expr.sum()  # Polars sums decimals to 38 digits, and fails beyond
    if have.name in ("int64", "uint64"):
        return one.expr.cast(pl.Int128).sum().cast(pl.Int64)  # a sum that does not fit fails here
    if have.name == "duration":
        return one.expr.to_physical().cast(pl.Int128).sum().cast(pl.Int64).cast(to_polars(kind))
    if kind == INT64:
        return one.expr.cast(pl.Int64).sum()
    return as_type(one, kind).sum()


def _mean(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Of large integers the exact sum is divided: as floats they would cancel."""
    (one,) = args
    if one.type.name in ("int64", "uint64"):
        count = one.expr.count()
        return pl.when(count > 0).then(one.expr.cast(pl.Int128).sum().cast(pl.Float64) / count)
    if one.type.name in ("decimal", "duration"):
        return one.expr.mean().cast(to_polars(kind))
    return as_type(one, kind).mean()


def _quantile(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    if kind.name == "duration":  # cut to whole units
        found = one.expr.to_physical().cast(pl.Float64).quantile(options.get("q", 0.5), options.get("interpolation", "linear"))
        return found.cast(pl.Int64).cast(to_polars(kind))
    return as_type(one, FLOAT64).quantile(options.get("q", 0.5), options.get("interpolation", "linear"))


def _nth(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return args[0].expr.get(options["n"], null_on_oob=True)


AGGREGATE_KERNELS: dict[str, Kernel] = {
    "len": lambda a, o, k: pl.len().cast(pl.Int64), "count": lambda a, o, k: a[0].expr.count().cast(pl.Int64),
    "n_unique": lambda a, o, k: a[0].expr.drop_nulls().n_unique().cast(pl.Int64),
    "approx_n_unique": lambda a, o, k: a[0].expr.drop_nulls().n_unique().cast(pl.Int64), "approx_quantile": at_rank,
    "sum": _sum, "mean": _mean, "min": own("min"), "max": own("max"), "first": own("first"), "last": own("last"), "nth": _nth,
    "any": lambda a, o, k: a[0].expr.any(ignore_nulls=True), "all": lambda a, o, k: a[0].expr.all(ignore_nulls=True),
    "std": lambda a, o, k: as_type(a[0], FLOAT64).std(ddof=o["ddof"]), "var": lambda a, o, k: as_type(a[0], FLOAT64).var(ddof=o["ddof"]),
    "median": _quantile, "quantile": _quantile, "product": lambda a, o, k: as_type(a[0], FLOAT64).product(),
    "collect": lambda a, o, k: a[0].expr.implode(), "join": lambda a, o, k: a[0].expr.str.join(o["separator"], ignore_nulls=True),
}  # fmt: skip


def aggregate(node: Aggregate, lower: Walk) -> Lowered:
    """One value of many rows."""
    kind = type_of(node, lower.schema)
    args = [lower.rows(arg) for arg in node.args]
    if node.order:
        args = [Lowered(sorted_by(arg.expr, node.order, lower), arg.type) for arg in args]
    if node.where is not None:
        keep = as_condition(lower.rows(node.where))
        if node.order:
            keep = sorted_by(keep, node.order, lower)
        if node.function == "len":
            return Lowered(keep.fill_null(False).cast(pl.Int64).sum(), kind)
        args = [Lowered(arg.expr.filter(keep), arg.type) for arg in args]
    if node.distinct:
        if node.function in ("std", "var"):  # Polars' spread of the one null that is left of a group of nulls is 0
            args = [Lowered(arg.expr.drop_nulls(), arg.type) for arg in args]
        args = [Lowered(arg.expr.unique(maintain_order=node.function in _IN_ORDER), arg.type) for arg in args]
    if node.order and node.function == "first":  # of what is sorted by anything but columns Polars' own reads memory that is not its
        return Lowered(_nth(args, {"n": 0}, kind), kind)
    kernel = AGGREGATE_KERNELS.get(node.function) or SKETCH_KERNELS[node.function]
    return Lowered(kernel(args, dict(node.options), kind), kind)


def sorted_by(expr: pl.Expr, order: tuple[SortKey, ...], lower: Walk) -> pl.Expr:
    """Sorted by the keys; equal ones stay as they came."""
    return expr.sort_by(
        [lower.rows(key.expr).expr for key in order],
        descending=[key.descending for key in order],
        nulls_last=[key.nulls_last for key in order],
        maintain_order=True,
    )
