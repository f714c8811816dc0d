"""Aggregates that may be a little wrong, in two halves: a small sketch of any part of a group, and the answer from all its sketches.

    approx_n_unique(x)     every part: the 4,096 least hashes of its values      ──>  all of them, or by how dense they lie
    approx_quantile(x, q)  every part: 1,000 of its sorted values, for n rows each ──>  the value up to which a share q of rows lies

A query that runs whole needs no sketch: there the exact answer is faster (and Polars' own approximations are not the same in every
run, or 7% off). So these are the forms of queries in pieces, and what a sketch does not have to leave out is exact there too.

The least hashes: Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan 2002; the estimate (k - 1) / k-th least with its error 1 / sqrt(k - 2):
Beyer, Haas, Reinwald, Sismanis, Gemulla 2007. Quantiles know no chance: the middle of n sorted rows is at most n / 2 places off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dataflow.expr.types import DType
from dataflow.kernels.lowered import Kernel, Lowered
from dataflow.kernels.types import to_polars

__all__ = ["HASHES", "RUNS", "SKETCH_KERNELS", "at_rank"]

HASHES = 4096  # the error is 1 / sqrt(4094), 1.6%
RUNS = 1000  # ranks are off by a thousandth of the rows at most


def _hashes(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Equal values have equal hashes in every process: the same type, the same seed, NaN and -0.0 made one by Polars."""
    (one,) = args
    return one.expr.cast(to_polars(one.type)).drop_nulls().hash(seed=0).unique().bottom_k(HASHES).implode()


def _count(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    hashes = args[0].expr.explode().drop_nulls().unique()
    last = hashes.bottom_k(HASHES).max().cast(pl.Float64)
    found = pl.when(hashes.len() < HASHES).then(hashes.len().cast(pl.Float64)).otherwise((HASHES - 1) * 2.0**64 / (last + 1))
    return found.round().cast(pl.Int64)


def _runs(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """The sorted values in runs of one length, of each the middle value and how many rows it has."""
    ordered = args[0].expr.drop_nulls().sort()
    rows = ordered.len().cast(pl.Int64)
    length = ((rows + RUNS - 1) // RUNS).clip(1)
    start = pl.int_range((rows + length - 1) // length, dtype=pl.Int64) * length
    held = pl.min_horizontal(length, rows - start)
    return pl.struct(ordered.gather(start + (held - 1) // 2).alias("value"), held.alias("rows")).implode()


def _quantile(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    runs = args[0].expr.explode().drop_nulls()
    value = runs.struct.field("value")
    rows = runs.struct.field("rows").sort_by(value)
    return value.sort().filter(rows.cum_sum() >= rows.sum() * options["q"]).first()


def at_rank(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """The least value up to which a share ``q`` of the values lies."""
    ordered = args[0].expr.drop_nulls().sort()
    place = (ordered.len() * options["q"]).ceil().cast(pl.Int64) - 1
    return ordered.get(place.clip(0), null_on_oob=True)


SKETCH_KERNELS: dict[str, Kernel] = {
    "distinct_sketch": _hashes, "distinct_of_sketches": _count, "quantile_sketch": _runs, "quantile_of_sketches": _quantile,
}  # fmt: skip
