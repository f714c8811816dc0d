"""Relational nodes to one lazy Polars query, which the streaming engine then runs on all cores in bounded pieces.

    inputs (LazyFrame each, with schema) ──> Frame ──node by node──> Frame(LazyFrame, schema)

Each function here is one node; schemas are derived again from what the inputs really hold, so a plan whose types were not
known when it was written is checked now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataflow.expr.nodes import Call, ExprNode, Literal, columns_of, transform
from dataflow.expr.types import INT64, Schema, promoted
from dataflow.expr.typing import type_of
from dataflow.kernels.expressions import lower
from dataflow.kernels.types import to_polars
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Relation,
    Union,
    Unnest,
    Unpivot,
    Where,
    named,
    schema_of,
    shared_keys,
)  # fmt: skip
from dataflow.plan.traversal import topological

__all__ = ["Frame", "query"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A lazy query and the columns it gives."""

    lazy: pl.LazyFrame
    schema: Schema


def query(root: Relation, inputs: Mapping[int, Frame]) -> Frame:
    """The query of a tree of relational nodes; ``inputs`` by the id of the node that stands for each."""
    done: dict[int, Frame] = dict(inputs)
    for node in topological((root,)):
        if id(node) in done:
            continue
        assert isinstance(node, Relation), type(node).__name__
        given = [done[id(child)] for child in node.inputs]
        schema = schema_of(node, tuple(frame.schema for frame in given))
        assert schema is not None
        done[id(node)] = Frame(_lowered(node, given, schema), schema)
    return done[id(root)]


def _lowered(node: Relation, given: list[Frame], schema: Schema) -> pl.LazyFrame:
    first = given[0]
    lazy = first.lazy
    match node:
        case Project():
            return _project(node, first, schema)
        case Where(predicate=predicate):
            return lazy.filter(lower(predicate, first.schema))
        case GroupAggregate():
            return _aggregate(node, first, schema)
        case Join():
            return _join(node, given[0], given[1], schema)
        case AsOfJoin():
            return _as_of(node, given[0], given[1], schema)
        case OrderBy(keys=keys, limit=limit):
            ordered = lazy.sort(
                [lower(key.expr, first.schema) for key in keys],
                descending=[key.descending for key in keys],
                nulls_last=[key.nulls_last for key in keys],
                maintain_order=True,
            )
            return ordered.head(limit) if limit is not None else ordered
        case Limit(count=count, offset=offset):
            return lazy.slice(offset, count)
        case Distinct(columns=columns):
            return lazy.unique(list(columns) if columns is not None else None, keep="any", maintain_order=False)
        case Explode(columns=columns):
            return lazy.explode(list(columns), empty_as_null=True, keep_nulls=True)
        case Unnest(columns=columns):
            return lazy.unnest(list(columns))
        case Unpivot():
            if not node.on:
                return lazy.select(pl.col(name) for name in node.index).head(0).with_columns(
                    pl.lit("", dtype=pl.String).alias(node.name), pl.lit(None).alias(node.value)
                )
            kind = to_polars(schema[node.value])
            cast = lazy.with_columns(pl.col(name).cast(kind) for name in node.on)
            return cast.unpivot(list(node.on), index=list(node.index), variable_name=node.name, value_name=node.value).select(list(schema))
        case Union():
            return pl.concat([_as_schema(frame, schema) for frame in given], how="vertical")
        case _:
            raise AssertionError(type(node).__name__)


def _as_schema(frame: Frame, schema: Schema) -> pl.LazyFrame:
    """The columns of a schema in its order, cast where a part has a narrower type, null where it lacks one."""
    columns = []
    for name, kind in schema.items():
        if name not in frame.schema:
            columns.append(pl.lit(None, dtype=to_polars(kind)).alias(name))
        elif frame.schema[name] != kind:
            columns.append(pl.col(name).cast(to_polars(kind)))
        else:
            columns.append(pl.col(name))
    return frame.lazy.select(columns)


def _project(node: Project, frame: Frame, schema: Schema) -> pl.LazyFrame:
    exprs = named(node.exprs, tuple(frame.schema))
    lowered = [lower(expr, frame.schema).alias(name) for name, expr in exprs.items()]
    if node.keep:
        return frame.lazy.with_columns(lowered)
    if not any(columns_of(expr) for expr in exprs.values()) and frame.schema:
        # literals alone would give one row: they are added to the input's rows, whatever those hold
        return frame.lazy.with_columns(lowered).select(list(exprs))
    return frame.lazy.select(lowered)


def _aggregate(node: GroupAggregate, frame: Frame, schema: Schema) -> pl.LazyFrame:
    keys = named(node.keys, tuple(frame.schema))
    aggs = named(node.aggs, tuple(frame.schema))
    sets = node.sets if node.sets is not None else (tuple(range(len(keys))),)
    parts = [_one_set(frame, keys, aggs, tuple(list(keys)[at] for at in chosen), schema) for chosen in sets]
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="vertical")


def _one_set(frame: Frame, keys: dict[str, ExprNode], aggs: dict[str, ExprNode], chosen: tuple[str, ...], schema: Schema) -> pl.LazyFrame:
    def grouping(node: ExprNode) -> ExprNode:
        """``grouping(key)``: 1 where the key is not in this set. A key that is not in the set is null within aggregates' results."""
        if isinstance(node, Call) and node.operation == "grouping":
            bits = [0 if any(keys[name] == arg for name in chosen) else 1 for arg in node.args]
            return Literal(int("".join(map(str, bits)), 2), INT64)
        return node

    lowered = []
    for name, expr in aggs.items():
        lowered.append(lower(transform(expr, grouping), frame.schema).alias(name))
    if not chosen:
        found = frame.lazy.select(lowered or [pl.len().alias("#")])
    else:
        found = frame.lazy.group_by([lower(keys[name], frame.schema).alias(name) for name in chosen], maintain_order=False).agg(lowered)
    missing = [pl.lit(None, dtype=to_polars(schema[name])).alias(name) for name in keys if name not in chosen]
    if missing:
        found = found.with_columns(missing)
    return found.select(list(schema))


_JOINS = {"inner": "inner", "left": "left", "right": "right", "full": "full", "semi": "semi", "anti": "anti"}
_LEFT, _RIGHT = "#l", "#r"


def _join(node: Join, left: Frame, right: Frame, schema: Schema) -> pl.LazyFrame:
    """Polars joins on equal columns; what it does not do (conditions besides equality, single, mark) is built around it.

    Key columns are made apart (``#l0``, ``#r0``) with one type, right columns carry the names they come out with; so no
    name of Polars' own making appears.
    """
    shared = shared_keys(node)
    renames = {name: (name + node.suffix if name in left.schema else name) for name in right.schema if name not in shared}
    keys_l, keys_r = [], []
    for at, (one, two) in enumerate(zip(node.left_on, node.right_on, strict=True)):
        kind = promoted(type_of(one, left.schema), type_of(two, right.schema))
        assert kind is not None
        keys_l.append(_key(one, left.schema, kind).alias(f"{_LEFT}{at}"))
        keys_r.append(_key(two, right.schema, kind).alias(f"{_RIGHT}{at}"))
    a = left.lazy.with_columns(keys_l)
    need_shared = node.how in ("full", "right")
    b = right.lazy.select(
        *keys_r,
        *(pl.col(name).alias(new) for name, new in renames.items()),
        *((pl.col(name).alias(f"{_RIGHT}{name}") for name in shared) if need_shared else ()),
    )
    on_l, on_r = [f"{_LEFT}{i}" for i in range(len(keys_l))], [f"{_RIGHT}{i}" for i in range(len(keys_r))]
    how = node.how
    if how == "single":
        b = _at_most_one(b, on_r)
        how = "left" if on_r else "cross"
        if not on_r:  # one row beside every row, null where there is none
            empty = b.select(pl.len().alias("#n"))
            b = pl.concat([b, empty.filter(pl.col("#n") == 0).drop("#n")], how="diagonal") if renames else b
    if how == "cross" or (not on_l and how == "inner"):
        found = a.join(b, how="cross")
        if node.residual is not None:
            found = found.filter(lower(node.residual, {**left.schema, **{new: right.schema[name] for name, new in renames.items()}}))
        return found.select(list(schema))
    if node.residual is not None or how == "mark" or not on_l:
        return _conditioned(node, how, a, b, left, right, renames, on_l, on_r).select(list(schema))
    found = a.join(b, left_on=on_l, right_on=on_r, how=_JOINS[how], nulls_equal=node.null_equal, coalesce=False)  # type: ignore[arg-type]
    if need_shared:
        found = found.with_columns(
            pl.coalesce(pl.col(name).cast(to_polars(schema[name])), pl.col(f"{_RIGHT}{name}").cast(to_polars(schema[name]))).alias(name)
            if how == "full"
            else pl.col(f"{_RIGHT}{name}").cast(to_polars(schema[name])).alias(name)
            for name in shared
        )
    return found.select(list(schema))


def _key(expr: ExprNode, schema: Schema, kind: Any) -> pl.Expr:
    found = lower(expr, schema)
    return found if type_of(expr, schema) == kind else found.cast(to_polars(kind))


def _at_most_one(b: pl.LazyFrame, on: list[str]) -> pl.LazyFrame:
    """Fails where a key has two rows: a scalar subquery may give one value."""

    def check(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame.height > 1) if not on else frame.select(on).is_duplicated().any():
            raise ValueError("a subquery that stands for one value gave more than one row")
        return frame

    return b.map_batches(check, streamable=False)


def _conditioned(
    node: Join, how: str, a: pl.LazyFrame, b: pl.LazyFrame, left: Frame, right: Frame, renames: dict[str, str], on_l: list[str], on_r: list[str]
) -> pl.LazyFrame:  # fmt: skip
    """Joins with a condition besides equality: left rows are numbered, inner matches found, then the rest is made of those."""
    both = {**left.schema, **{new: right.schema[name] for name, new in renames.items()}}
    for name in shared_keys(node):
        both[name] = left.schema[name]
    a = a.with_row_index("#row")
    inner = a.join(b, left_on=on_l, right_on=on_r, how="inner", nulls_equal=node.null_equal, coalesce=False) if on_l else a.join(b, how="cross")
    if node.residual is not None:
        inner = inner.filter(lower(node.residual, both))
    if how == "inner":
        return inner
    hits = inner.select("#row").unique()
    if how == "semi":
        return a.join(hits, on="#row", how="semi")
    if how == "anti":
        return a.join(hits, on="#row", how="anti")
    if how == "mark":
        return a.join(hits.with_columns(pl.lit(True).alias(node.suffix)), on="#row", how="left").with_columns(pl.col(node.suffix).fill_null(False))
    new = list(renames.values())
    if how == "left":
        return a.join(inner.select("#row", *new), on="#row", how="left")
    b = b.with_row_index("#other")
    inner = a.join(b, left_on=on_l, right_on=on_r, how="inner", nulls_equal=node.null_equal, coalesce=False) if on_l else a.join(b, how="cross")
    if node.residual is not None:
        inner = inner.filter(lower(node.residual, both))
    shared = shared_keys(node)
    rest = b.join(inner.select("#other").unique(), on="#other", how="anti").with_columns(
        pl.col(f"{_RIGHT}{name}").alias(name) for name in shared
    )
    inner = inner.with_columns(pl.col(f"{_RIGHT}{name}").alias(name) for name in shared) if how == "right" else inner
    parts = [inner, rest]
    if how == "full":
        parts.append(a.join(inner.select("#row").unique(), on="#row", how="anti"))
    names = [*left.schema, *new]
    return pl.concat([part.select(pl.col(n) for n in names if n in part.collect_schema()) for part in parts], how="diagonal_relaxed")


def _as_of(node: AsOfJoin, left: Frame, right: Frame, schema: Schema) -> pl.LazyFrame:
    keep = {*right.schema} - set(node.right_by) - ({node.right_on} if node.left_on == node.right_on else set())
    renames = {name: (name + node.suffix if name in left.schema else name) for name in right.schema if name in keep}
    b = right.lazy.select(
        pl.col(node.right_on).alias("#on"),
        *(pl.col(name).alias(f"#by{i}") for i, name in enumerate(node.right_by)),
        *(pl.col(name).alias(new) for name, new in renames.items()),
    ).sort("#on")
    a = left.lazy.with_columns(pl.col(name).alias(f"#by{i}") for i, name in enumerate(node.left_by)).sort(node.left_on)
    by = [f"#by{i}" for i in range(len(node.left_by))]
    found = a.join_asof(
        b, left_on=node.left_on, right_on="#on", by=by or None, strategy=node.strategy, tolerance=node.tolerance, check_sortedness=False,
        coalesce=False,
    )  # fmt: skip
    return found.select(list(schema))


