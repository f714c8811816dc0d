"""What the columns of records look like: a record for every statistic, with the columns' own names, as Polars spells it.

    records ─ group_by().agg(all statistics of all columns) ─> one record ─┬─ select count of each    ─┐
                                                                           ├─ select null_count …     ─┼─ concat ─ sort ─> nine records
                                                                           └─ select max of each      ─┘

Written with the verbs on columns alone, so it runs wherever they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.api.building import plan_error
from dataflow.plan.origin import caller

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.expr.expression import Expr
    from dataflow.expr.types import DType

__all__ = ["described"]


def described(of: PCollection[Any], percentiles: Sequence[float], interpolation: str, label: str) -> PCollection[dict[str, Any]]:
    """The statistics of all columns, one record each, in the order in which they are listed here."""
    from dataflow.expr.functions import col, lit

    origin = caller()
    known = of.pipeline.columns(of.node)
    if known is None:
        hint = "give the function a return type (a dataclass or TypedDict); dataflow.lib.describe is for collections of numbers"
        raise plan_error("describe takes records whose columns are known, and these are not known yet", origin, hint)
    if "statistic" in known:
        raise plan_error("a column is called 'statistic', as that of the statistics' names", origin, 'rename({"statistic": "…"}) first')
    if wrong := [q for q in percentiles if not 0 <= q <= 1]:
        raise plan_error(f"a percentile lies between 0 and 1, not {wrong[0]!r}", origin, "0.25 is 25%")
    quantiles = {f"{q * 100:g}%": q for q in percentiles}
    names = ["count", "null_count", "mean", "std", "min", *quantiles, "max"]
    found = {name: _statistics(name, kind, quantiles, interpolation) for name, kind in known.items()}
    places = {name: place for place, name in enumerate(known)}  # names of two parts could meet
    one = of.group_by().agg(
        *(expr.alias(f"{places[name]} {what}") for name, exprs in found.items() for what, expr in exprs.items()), label=label
    )
    order = "place"
    while order in known:
        order += "_"
    parts = []
    for at, what in enumerate(names):
        columns = [
            (col(f"{places[name]} {what}").cast(_form(kind)) if what in found[name] else lit(None, _form(kind))).alias(name)
            for name, kind in known.items()
        ]
        parts.append(one.select(lit(at).alias(order), lit(what).alias("statistic"), *columns, label=f"{label} {what}"))
    return parts[0].concat(*parts[1:], label=f"{label} together").sort(order, label=f"{label} order").drop(order, label=f"{label} columns")


def _form(kind: DType) -> str:
    """The type of a column's statistics: text for what has an order and is no number, else float64."""
    return "string" if kind.name in ("string", "date", "datetime", "time") else "float64"


def _statistics(name: str, kind: DType, quantiles: Mapping[str, float], interpolation: str) -> dict[str, Expr]:
    """The statistics that a column has, by their names. Those of durations are in seconds, those of bools of 0 and 1."""
    from dataflow.expr.functions import col, len_
    from dataflow.expr.types import is_fixed_offset

    column = col(name)
    found = {"count": column.count(), "null_count": len_() - column.count()}
    if kind.name == "datetime" and is_fixed_offset(kind.args[1]):
        column = column.dt.convert_time_zone("UTC")
    if kind.name == "duration":
        column = column.dt.total_microseconds() / 1e6
    elif kind.name == "bool":
        column = column.cast("int8")
    elif _form(kind) == "string":
        return {**found, "min": column.min(), "max": column.max()}
    elif not kind.is_numeric:
        return found
    found |= {"mean": column.mean(), "min": column.min(), "max": column.max()}
    if kind.name != "bool":
        found |= {"std": column.std(), **{what: column.quantile(q, interpolation) for what, q in quantiles.items()}}
    return found
