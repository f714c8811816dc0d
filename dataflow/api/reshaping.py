"""Verbs that turn columns into records and back: explode, unnest, unpivot and pivot; and what every verb on columns is made with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dataflow.api.base import Deferred
from dataflow.api.building import plan_error
from dataflow.plan.origin import caller

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.expr.expression import Expr

__all__ = ["Reshaping", "names_of", "relation"]

T = TypeVar("T")
Record = dict[str, Any]


def relation(of: Deferred[Any], kind: Any, verb: str, label: str | None, inputs: dict[str, Any], /, **fields: Any) -> PCollection[Record]:
    """A relational node over collections, its schema derived and checked; errors are at the user's line."""
    from dataclasses import replace

    from dataflow.expr.typing import ExprError
    from dataflow.plan.columns_out import schema_of

    origin = caller()
    for name, child in inputs.items():
        inputs[name] = tuple(map(of.pipeline.table, child)) if isinstance(child, tuple) else of.pipeline.table(child)
    node = kind(label=of.pipeline.labels.unique(label or verb), origin=origin, element=Record, **inputs, **fields)
    try:
        schema = schema_of(node, tuple(of.pipeline.columns(child) for child in node.inputs))
    except ExprError as error:
        raise plan_error(str(error), origin, error.hint) from None
    if schema == {} and any(of.pipeline.columns(child) for child in node.inputs):
        raise plan_error(f"{verb} leaves no columns", origin, "keep one: records without columns cannot be counted")
    return of._collection(replace(node, schema=schema))


def names_of(verb: str, columns: Sequence[Any]) -> tuple[str, ...]:
    """Names of columns, one by one or in lists."""
    from dataflow.expr.built import Built

    one_by_one = (str, Built)
    flat = [name for value in columns for name in (value if isinstance(value, Iterable) and not isinstance(value, one_by_one) else [value])]
    for name in flat:
        if not isinstance(name, str):
            raise plan_error(f"{verb} takes names of columns, not {type(name).__name__}", hint="select takes expressions")
    return tuple(flat)


class Reshaping(Deferred[T]):
    """The part of `PCollection` that gives records another shape."""

    def explode(self, *columns: str, label: str | None = None) -> PCollection[Record]:
        """A record for every item of the lists in these columns; an empty or null list gives one with null.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": [1, 2]}]).explode("a").collect()
        [{'a': 1}, {'a': 2}]
        """
        from dataflow.plan.relational import Explode

        return relation(self, Explode, "explode", label, {"input": self.node}, columns=names_of("explode", columns))

    def unnest(self, *columns: str, label: str | None = None) -> PCollection[Record]:
        """Struct columns replaced by their fields.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"s": {"x": 1, "y": 2}}]).unnest("s").collect()
        [{'x': 1, 'y': 2}]
        """
        from dataflow.plan.relational import Unnest

        return relation(self, Unnest, "unnest", label, {"input": self.node}, columns=names_of("unnest", columns))

    def unpivot(
        self,
        on: Sequence[str],
        *,
        index: Sequence[str] = (),
        variable_name: str = "variable",
        value_name: str = "value",
        label: str | None = None,
    ) -> PCollection[Record]:
        """Columns to rows: for every record and each of ``on`` the ``index`` columns, the column's name and its value.

        >>> from dataflow import Pipeline
        >>> sorted(r["value"] for r in Pipeline().create([{"k": 1, "a": 2, "b": 3}]).unpivot(["a", "b"], index=["k"]).collect())
        [2, 3]
        """
        from dataflow.plan.relational import Unpivot

        fields = {"on": names_of("unpivot", [on]), "index": names_of("unpivot", [index]), "name": variable_name, "value": value_name}
        return relation(self, Unpivot, "unpivot", label, {"input": self.node}, **fields)

    def pivot(
        self, on: str, values: Sequence[Any], *, index: Sequence[str], value: str, aggregate: str = "first", label: str | None = None
    ) -> PCollection[Record]:
        """Rows to columns: one record for every ``index``, with a column for each of ``values`` of the column ``on``.

        The values must be named, because columns are part of the plan; None is the column "null".

        >>> from dataflow import Pipeline
        >>> rows = Pipeline().create([{"k": 1, "c": "a", "x": 5}, {"k": 1, "c": "b", "x": 6}])
        >>> rows.pivot("c", ["a", "b"], index=["k"], value="x").collect()
        [{'k': 1, 'a': 5, 'b': 6}]
        """
        from dataflow.expr.functions import col

        def where(one: Any) -> Expr:
            return col(on).is_null() if one is None else col(on) == one

        if aggregate not in ("first", "last", "sum", "mean", "min", "max", "count", "len"):
            raise plan_error(f"pivot has no aggregate {aggregate!r}", hint="first, last, sum, mean, min, max, count, len")
        names = ["null" if one is None else str(one) for one in values]
        aggs = [getattr(col(value), aggregate)().filter(where(one)).alias(name) for one, name in zip(values, names, strict=True)]
        return cast("PCollection[Any]", self).group_by(*names_of("pivot", [index])).agg(*aggs, label=label or "pivot")
