"""The columns that come out of a relational node: names and types derived from those of its inputs, or why there are none.

named(exprs)            what a select makes, `all()` written out
schema_of(node, given)  the schema of a node over inputs of these schemas; an `ExprError` for what does not fit
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from dataflow.errors import column_meant
from dataflow.expr.nodes import Alias, AllColumns, ExprNode, name_of
from dataflow.expr.types import BOOL, DType, Schema, promoted
from dataflow.expr.typing import ExprError, type_of
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Table,
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip

__all__ = ["aggregates_of", "expanded", "named", "schema_of", "shared_keys", "sides_of", "type_of_column"]


def named(exprs: tuple[ExprNode, ...], columns: tuple[str, ...], but: Collection[str] = ()) -> dict[str, ExprNode]:
    """Output names and their expressions, `AllColumns` written out for all columns ``but`` some. Two of one name are an error."""
    found: dict[str, ExprNode] = {}
    for expr in exprs:
        for name, one in expanded(expr, columns, but):
            if name in found:
                raise ExprError(f"two columns are called {name!r}", "give one another name with alias()")
            found[name] = one
    return found


def aggregates_of(node: GroupAggregate, columns: tuple[str, ...]) -> dict[str, ExprNode]:
    """Output names of a grouping's aggregates and their expressions; `all()` stands for all columns but the keys."""
    return named(node.aggs, columns, named(node.keys, columns))


def expanded(expr: ExprNode, columns: tuple[str, ...], but: Collection[str] = ()) -> list[tuple[str, ExprNode]]:
    """An expression with `all()` as one for every column it stands for."""
    from dataflow.expr.nodes import Column, transform, walk

    inner = expr.input if isinstance(expr, Alias) else expr
    stars = [] if isinstance(inner, Column) else [one for one in walk(inner) if isinstance(one, AllColumns)]
    if not stars:
        return [(name_of(expr), inner)]
    missing = [name for name in stars[0].without if name not in columns]
    if missing:
        raise ExprError(f"there is no column {missing[0]!r}", column_meant(missing[0], columns))
    names = [name for name in columns if name not in stars[0].without and name not in but]
    return [
        (name, transform(expr, lambda node, name=name: Column(name) if isinstance(node, AllColumns) else node))  # type: ignore[misc]
        for name in names
    ]


def schema_of(node: Relation, given: tuple[Schema | None, ...]) -> dict[str, DType] | None:
    """The columns that come out of a node over inputs of these schemas; None if one it needs is not known.

    Raises `ExprError` for a column that is not there and for types that do not fit.
    """
    if any(schema is None for schema in given):
        return None
    schemas: list[Schema] = [schema for schema in given if schema is not None]
    first = schemas[0]
    match node:
        case Project(exprs=exprs, keep=keep):
            new = {name: _of_one_row(expr, first) for name, expr in named(exprs, tuple(first)).items()}
            return {**first, **new} if keep else new
        case Table():
            return dict(first)
        case Where(predicate=predicate):
            _need_bool(predicate, first)
            return dict(first)
        case GroupAggregate():
            return _grouped(node, first)
        case Join():
            return _joined(node, schemas[0], schemas[1])
        case AsOfJoin():
            _check_nearest(node, schemas[0], schemas[1])
            skip = {*node.right_by, node.right_on} if node.left_on == node.right_on else set(node.right_by)
            return _beside(schemas[0], {n: t for n, t in schemas[1].items() if n not in skip}, node.suffix)
        case OrderBy(keys=keys):
            for key in keys:
                type_of(key.expr, first)
            return dict(first)
        case Limit():
            return dict(first)
        case Distinct(columns=columns):
            for name in columns or ():
                type_of_column(name, first)
            return dict(first)
        case Explode(columns=columns):
            new = dict(first)
            for name in columns:
                kind = type_of_column(name, first)
                if kind.name not in ("list", "array"):
                    raise ExprError(f"explode takes lists, and {name!r} is {kind}")
                new[name] = kind.args[0]
            return new
        case Unnest(columns=columns):
            out: dict[str, DType] = {}
            for name, kind in first.items():
                fields = dict(kind.args) if name in columns and kind.name == "struct" else {name: kind}
                if name in columns and kind.name != "struct":
                    raise ExprError(f"unnest takes structs, and {name!r} is {kind}")
                for inner, inner_kind in fields.items():
                    if inner in out:
                        raise ExprError(f"two columns are called {inner!r}", "rename one before unnest")
                    out[inner] = inner_kind
            for name in columns:
                type_of_column(name, first)
            return out
        case Unpivot():
            value: DType | None = None
            for name in node.on:
                kind = type_of_column(name, first)
                both = kind if value is None else promoted(value, kind)
                if both is None:
                    raise ExprError(f"unpivot puts {value} and {kind} into one column", "cast them to one type first")
                value = both
            index = {name: type_of_column(name, first) for name in node.index}
            taken = [name for name in (node.name, node.value) if name in index]
            if taken or node.name == node.value:
                raise ExprError(f"two columns are called {(*taken, node.value)[0]!r} after unpivot", "give another name")
            from dataflow.expr.types import NULL, STRING

            return {**index, node.name: STRING, node.value: value or NULL}
        case Union(fill=fill):
            return _united(schemas, fill)
        case _:
            raise AssertionError(type(node).__name__)


def _check_nearest(node: AsOfJoin, left: Schema, right: Schema) -> None:
    """That what is equal, what is near, and how near it must be are of types that can be."""
    for one, two in zip(node.left_by, node.right_by, strict=True):
        a, b = type_of_column(one, left), type_of_column(two, right)
        if promoted(a, b) is None:
            raise ExprError(f"{one!r} is {a} and {two!r} is {b}: they are never equal", "cast one to the other's type")
    a, b = type_of_column(node.left_on, left), type_of_column(node.right_on, right)
    if promoted(a, b) is None:
        raise ExprError(f"{node.left_on!r} is {a} and {node.right_on!r} is {b}: none is near another", "cast one to the other's type")
    for name, kind in ((node.left_on, a), (node.right_on, b)):
        if not (kind.is_numeric or kind.name in ("date", "datetime", "time", "duration", "null")):
            raise ExprError(f"join_asof is on numbers or times, and {name!r} is {kind}")
    if node.tolerance is not None and a.name != "null":
        spans = a.name in ("date", "datetime", "time", "duration")
        if spans != isinstance(node.tolerance, (str, dt.timedelta)):
            what = 'a span, such as timedelta(hours=1) or "1h"' if spans else "a number"
            raise ExprError(f"the tolerance of {node.left_on!r}, which is {a}, is {what}, not {node.tolerance!r}")
        if str(node.tolerance).startswith("-"):
            raise ExprError(f"the tolerance of {node.left_on!r} is how far away it may be, and not negative: {node.tolerance!r}")


def _grouped(node: GroupAggregate, schema: Schema) -> dict[str, DType]:
    """Keys and aggregates; a column in an aggregate's expression stands within an aggregate or is a key."""
    from dataflow.expr.nodes import Aggregate, Column, Literal, Window, children, show

    columns = tuple(schema)
    keys, aggs = named(node.keys, columns), aggregates_of(node, columns)
    for name in aggs:
        if name in keys:
            raise ExprError(f"two columns are called {name!r}", "give one another name with alias()")
    for expr in aggs.values():
        stack = [expr]
        while stack:
            one = stack.pop()
            if isinstance(one, Aggregate) or (one in keys.values() and not isinstance(one, Literal)):
                continue
            if isinstance(one, Column) and one.name in schema:
                raise ExprError(f"{show(one)} is neither aggregated nor a key of the groups", f"say which one: {show(one)}.first()")
            if isinstance(one, Window):
                raise ExprError(f"{show(one)}: there is no window within a group", "compute it in a step before or behind")
            stack.extend(children(one))
    return {name: type_of(expr, schema) for name, expr in {**keys, **aggs}.items()}


def _of_one_row(expr: ExprNode, schema: Schema) -> DType:
    from dataflow.expr.nodes import has_aggregate, show

    kind = type_of(expr, schema)
    if has_aggregate(expr):
        raise ExprError(f"{show(expr)} is one value of all rows", "over() gives it to every row; group_by().agg() gives one record")
    return kind


def type_of_column(name: str, schema: Schema) -> DType:
    from dataflow.expr.nodes import Column

    return type_of(Column(name), schema)


def _need_bool(predicate: ExprNode, schema: Schema) -> None:
    from dataflow.expr.nodes import show
    from dataflow.expr.types import NULL

    kind = _of_one_row(predicate, schema)
    if kind not in (BOOL, NULL):
        raise ExprError(f"a filter needs a bool, and {show(predicate)} is {kind}")


def shared_keys(node: Join) -> tuple[str, ...]:
    """The right key columns that come once: those joined to a left column of the same name by a plain equality."""
    from dataflow.expr.nodes import Column

    return tuple(
        right.name
        for left, right in zip(node.left_on, node.right_on, strict=True)
        if isinstance(left, Column) and isinstance(right, Column) and left.name == right.name
    )


def sides_of(node: Join) -> tuple[dict[str, str], dict[str, str]]:
    """Which columns that come out of a join are of its left side, which of its right, and what they are called there."""
    left, right = (dict(side.schema or {}) if isinstance(side, Relation) else {} for side in node.inputs)
    shared = shared_keys(node)
    of_right = shared if node.how == "right" else ()  # there a key column that comes once is the right one
    return {name: name for name in left if name not in of_right}, {
        **{(name + node.suffix if name in left else name): name for name in right if name not in shared},
        **{name: name for name in of_right},
    }


def _joined(node: Join, left: Schema, right: Schema) -> dict[str, DType]:
    for one, two in zip(node.left_on, node.right_on, strict=True):
        a, b = type_of(one, left), type_of(two, right)
        if promoted(a, b) is None:
            from dataflow.expr.nodes import show

            raise ExprError(f"{show(one)} is {a} and {show(two)} is {b}: they are never equal", "cast one to the other's type")
    both = _beside(left, {name: kind for name, kind in right.items() if name not in shared_keys(node)}, node.suffix)
    if node.residual is not None:
        _need_bool(node.residual, both)
    if node.how in ("semi", "anti"):
        return dict(left)
    if node.how == "mark":
        if node.suffix in left:
            raise ExprError(f"two columns are called {node.suffix!r} after the join", "give the mark another name")
        return {**left, node.suffix: BOOL}
    for name in shared_keys(node):
        kind = promoted(left[name], right[name])
        assert kind is not None
        both[name] = kind if node.how in ("full", "right") else left[name]
    return both


def _beside(left: Schema, right: Schema, suffix: str) -> dict[str, DType]:
    out = dict(left)
    for name, kind in right.items():
        new = name + suffix if name in left else name
        if new in out:
            raise ExprError(f"two columns are called {new!r} after the join", "rename one before, or give another suffix")
        out[new] = kind
    return out


def _united(schemas: list[Schema], fill: bool) -> dict[str, DType]:
    out: dict[str, DType] = dict(schemas[0])
    for schema in schemas[1:]:
        for name, kind in schema.items():
            if name not in out and not fill:
                raise ExprError(f"column {name!r} is in one part and not in another", "fill=True makes it null there")
            both = promoted(out.get(name, kind), kind)
            if both is None:
                raise ExprError(f"column {name!r} is {out[name]} in one part and {kind} in another")
            out[name] = both
    if not fill:
        for schema in schemas:
            for name in out:
                if name not in schema:
                    raise ExprError(f"column {name!r} is in one part and not in another", "fill=True makes it null there")
    return out
