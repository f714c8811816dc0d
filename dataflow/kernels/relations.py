"""Relational nodes to one lazy Polars query, which the streaming engine then runs on all cores in bounded pieces.

    inputs (LazyFrame each, with schema) ──> Frame ──node by node──> Frame(LazyFrame, schema)

Each function here is one node; schemas are derived again from what the inputs really hold, so a plan whose types were not
known when it was written is checked now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import polars as pl

from dataflow.expr.nodes import Aggregate, Call, Column, ExprNode, Literal, children, columns_of, has_apply, transform
from dataflow.expr.types import INT64, Schema, promoted
from dataflow.expr.typing import type_of
from dataflow.kernels.expressions import condition, lower, lower_rows
from dataflow.kernels.joins import join
from dataflow.kernels.lowered import Lowered, as_type
from dataflow.kernels.types import to_polars
from dataflow.plan.columns_out import aggregates_of, named, schema_of
from dataflow.plan.nodes import Node
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
)  # fmt: skip
from dataflow.plan.traversal import topological
from dataflow.record import record

__all__ = ["Frame", "counts", "query"]


@record(eq=True)
class Frame:
    """A lazy query and the columns it gives."""

    lazy: pl.LazyFrame
    schema: Schema


def query(root: Relation, inputs: Mapping[int, Frame], *, ordered: bool = False) -> Frame:
    """The query of a tree of relational nodes; ``inputs`` by the id of the node that stands for each. ``ordered``: records come in the
    same order each time it runs over the same inputs, also where the plan has no order, which costs the kernel time."""
    return _frames(root, inputs, ordered)[id(root)]


def counts(root: Relation, inputs: Mapping[int, Frame]) -> dict[int, int]:
    """How many records each node of a tree gives, by its id: the whole tree is run once, and all are counted."""
    frames = _frames(root, inputs)
    found = pl.collect_all([frame.lazy.select(pl.len()) for frame in frames.values()], engine="streaming")
    return {at: one.item() for at, one in zip(frames, found, strict=True)}


def _frames(root: Relation, inputs: Mapping[int, Frame], ordered: bool = False) -> dict[int, Frame]:
    done: dict[int, Frame] = dict(inputs)
    readers = Counter(id(child) for node in topological((root,)) for child in node.inputs)
    for node in topological((root,)):
        if id(node) in done:
            continue
        assert isinstance(node, Relation), type(node).__name__
        given = [done[id(child)] for child in node.inputs]
        schema = schema_of(node, tuple(frame.schema for frame in given))
        assert schema is not None
        lazy = _lowered(node, given, schema, ordered)
        done[id(node)] = Frame(lazy.cache() if readers[id(node)] > 1 and not _is_read(node, inputs) else lazy, schema)
    return done


def _is_read(node: Node, inputs: Mapping[int, Frame]) -> bool:
    """Whether it is an input, chosen from: read again for each reader, which may then read less of it.

    Anything else of several readers is made once. Polars sees equal parts by itself, but not within parts that are shared
    themselves; and some results are not the same when made twice (a limit, `first`).
    """
    while isinstance(node, (Project, Where)) and id(node) not in inputs:
        exprs = node.exprs if isinstance(node, Project) else (node.predicate,)
        if any(map(has_apply, exprs)):
            return False
        node = node.input
    return id(node) in inputs


def _lowered(node: Relation, given: list[Frame], schema: Schema, ordered: bool) -> pl.LazyFrame:
    first = given[0]
    lazy = first.lazy
    match node:
        case Project():
            return _project(node, first, schema)
        case Where(predicate=predicate):
            return lazy.filter(condition(predicate, first.schema))
        case GroupAggregate():
            return _aggregate(node, first, schema, ordered)
        case Join():
            return join(node, given[0].lazy, given[0].schema, given[1].lazy, given[1].schema, schema, ordered=ordered)
        case AsOfJoin():
            return _as_of(node, given[0], given[1], schema)
        case OrderBy(keys=keys, limit=limit):
            found = lazy.sort(
                [lower(key.expr, first.schema) for key in keys],
                descending=[key.descending for key in keys],
                nulls_last=[key.nulls_last for key in keys],
                maintain_order=True,
            )
            return found.head(limit) if limit is not None else found
        case Limit(count=count, offset=offset):
            return lazy.slice(offset, count)
        case Distinct(columns=columns):
            return lazy.unique(list(columns) if columns is not None else None, keep="first" if ordered else "any", maintain_order=ordered)
        case Explode(columns=columns):
            return lazy.explode(list(columns), empty_as_null=True, keep_nulls=True)
        case Unnest(columns=columns):
            return lazy.unnest(list(columns))
        case Unpivot():
            if not node.on:
                return (
                    lazy.select(pl.col(name) for name in node.index)
                    .head(0)
                    .with_columns(pl.lit("", dtype=pl.String).alias(node.name), pl.lit(None).alias(node.value))
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
    made = [name for name, expr in exprs.items() if not isinstance(expr, Column)]
    if not 0 < len(made) < len(exprs):
        return frame.lazy.select(lowered)
    # In a select that computes something, Polars 2.1 loses how many different values the columns have, by which it chooses whether a join
    # filters what it reads (a quarter of the time of TPC-H 22); in one that only calls them otherwise it keeps that.
    free = "#"
    while any(free + name in frame.schema for name in made):
        free += "#"
    computed = [one.alias(free + name) for name, one in zip(exprs, lowered, strict=True) if name in made]
    plain = [pl.col(free + name).alias(name) if name in made else one for name, one in zip(exprs, lowered, strict=True)]
    return frame.lazy.with_columns(computed).select(plain)


def _aggregate(node: GroupAggregate, frame: Frame, schema: Schema, ordered: bool) -> pl.LazyFrame:
    keys = named(node.keys, tuple(frame.schema))
    aggs = aggregates_of(node, tuple(frame.schema))
    sets = node.sets if node.sets is not None else (tuple(range(len(keys))),)
    parts = [_one_set(frame, keys, aggs, tuple(list(keys)[at] for at in chosen), schema, ordered) for chosen in sets]
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="vertical")


def _one_set(
    frame: Frame, keys: dict[str, ExprNode], aggs: dict[str, ExprNode], chosen: tuple[str, ...], schema: Schema, ordered: bool
) -> pl.LazyFrame:
    def grouping(node: ExprNode) -> ExprNode:
        """``grouping(key)``: 1 where the key is not in this set. A key that is not in the set is null within aggregates' results."""
        if isinstance(node, Call) and node.operation == "grouping":
            bits = [0 if any(keys[name] == arg for name in chosen) else 1 for arg in node.args]
            return Literal(int("".join(map(str, bits)), 2), INT64)
        return node

    aggs = {name: transform(expr, grouping) for name, expr in aggs.items()}
    mixed = {name: expr for name, expr in aggs.items() if _columns_outside(expr)}
    inner, outer = _apart(mixed, keys)
    inner = {**{name: expr for name, expr in aggs.items() if name not in mixed}, **inner}
    lowered = [lower(expr, frame.schema).alias(name) for name, expr in inner.items()]
    missing = [name for name in keys if name not in chosen]
    # these may travel in another type than the plan's (`carrying`), which is that of their values
    odd = {name for name in missing if schema[name].is_nested or schema[name].name in ("datetime", "other")}
    lowered += [pl.when(pl.lit(False)).then(lower_rows(keys[name], frame.schema).first()).alias(name) for name in missing if name in odd]
    if not chosen:
        found = frame.lazy.select(lowered or [pl.len().alias("#")])
    else:
        by = [lower_rows(keys[name], frame.schema).alias(name) for name in chosen]
        found = frame.lazy.group_by(by, maintain_order=ordered).agg(lowered)
    if plain := [name for name in missing if name not in odd]:
        found = found.with_columns(pl.lit(None, dtype=to_polars(schema[name])).alias(name) for name in plain)
    if outer:
        types = {**{name: schema[name] for name in keys}, **{name: type_of(expr, frame.schema) for name, expr in inner.items()}}
        found = found.with_columns(lower(expr, types).alias(name) for name, expr in outer.items())
    return found.select(list(schema))


def _columns_outside(expr: ExprNode) -> bool:
    """Whether an aggregate expression also reads keys: in ``col("k") + col("x").sum()`` Polars takes k for all of a group's."""
    return isinstance(expr, Column) or (not isinstance(expr, Aggregate) and any(map(_columns_outside, children(expr))))


def _apart(mixed: dict[str, ExprNode], keys: dict[str, ExprNode]) -> tuple[dict[str, ExprNode], dict[str, ExprNode]]:
    """The aggregates in these expressions under names of their own, and the expressions over those and the keys."""
    inner: dict[str, ExprNode] = {}
    by_key = {expr: Column(name) for name, expr in keys.items()}

    def change(node: ExprNode) -> ExprNode:
        if isinstance(node, Aggregate):
            name = f"#{len(inner)}"
            inner[name] = node
            return Column(name)
        return node

    outer = {name: transform(expr, change) for name, expr in mixed.items()}
    return inner, {name: transform(expr, lambda node: by_key.get(node, node)) for name, expr in outer.items()}


def _as_of(node: AsOfJoin, left: Frame, right: Frame, schema: Schema) -> pl.LazyFrame:
    keep = {*right.schema} - set(node.right_by) - ({node.right_on} if node.left_on == node.right_on else set())
    renames = {name: (name + node.suffix if name in left.schema else name) for name in right.schema if name in keep}
    pairs = ((node.left_on, node.right_on), *zip(node.left_by, node.right_by, strict=True))
    types = [promoted(left.schema[one], right.schema[two]) for one, two in pairs]

    def keys(names: tuple[str, ...], frame: Frame) -> list[pl.Expr]:
        """The key and those that must be equal, in the types in which they meet."""
        new = ["#on", *(f"#by{i}" for i in range(len(names) - 1))]
        return [
            as_type(Lowered(pl.col(name), frame.schema[name]), kind or frame.schema[name]).alias(alias)
            for name, kind, alias in zip(names, types, new, strict=True)
        ]

    b = right.lazy.select(
        *keys((node.right_on, *node.right_by), right),
        *(pl.col(name).alias(new) for name, new in renames.items()),
    ).sort("#on")
    a = left.lazy.with_columns(keys((node.left_on, *node.left_by), left)).sort("#on")
    by = [f"#by{i}" for i in range(len(node.left_by))]
    found = a.join_asof(
        b, on="#on", by=by or None, strategy=node.strategy, tolerance=node.tolerance, check_sortedness=False,
        coalesce=False,
    )  # fmt: skip
    return found.select(list(schema))
