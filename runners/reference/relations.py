"""What each relational node means: lists of records in, a list of records out. Where no order is said the result is a bag."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from dataflow.expr.nodes import Call, ExprNode, Literal, columns_of, name_of, transform
from dataflow.expr.types import INT64, NULL, DType, Schema, promoted
from dataflow.expr.typing import ExprError, type_of, type_of_value
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
from runners.reference.expressions import aggregate, column, evaluate, sorted_rows
from runners.reference.times import span
from runners.reference.values import fit, identity, is_nan, order, utc

__all__ = ["relation_rows", "schema_of_rows"]

Row = dict[str, Any]


def relation_rows(node: Relation, inputs: list[list[Row]], schemas: Sequence[Schema | None]) -> list[Row]:
    """The records that come out of a node, of which these go in. A schema that is None is that of the rows themselves."""
    known = [schema if schema is not None else schema_of_rows(rows) for rows, schema in zip(inputs, schemas, strict=True)]
    if isinstance(node, Union):  # a part that holds nothing says nothing of its columns
        some = [at for at, schema in enumerate(schemas) if schema is not None or inputs[at]]
        inputs, known = [inputs[at] for at in some], [known[at] for at in some]
        if not some:
            return []
    elif any(schema is None and not rows for schema, rows in zip(schemas, inputs, strict=True)):
        known = [_imagined(node, at, schema) for at, schema in enumerate(known)]
    result = schema_of(node, tuple(known))
    assert result is not None
    parts = [_typed(rows, schema) for rows, schema in zip(inputs, known, strict=True)]
    return _typed(_meaning(node, parts, known), result)


def schema_of_rows(rows: Iterable[Row]) -> dict[str, DType]:
    """The columns of records and the types that hold all their values."""
    found: dict[str, DType] = {}
    for row in rows:
        for name, value in row.items():
            kind = type_of_value(value)
            both = promoted(found.get(name, NULL), kind)
            if both is None:
                raise ExprError(f"column {name!r} holds {found[name]} and {kind}")
            found[name] = both
    return found


def _imagined(node: Relation, side: int, schema: Schema) -> Schema:
    """An empty input of unknown columns has those that the node reads, all null."""
    if schema:
        return schema
    match node:
        case Project(exprs=exprs):
            used = [name for expr in exprs for name in columns_of(expr)]
        case Where(predicate=predicate):
            used = list(columns_of(predicate))
        case GroupAggregate(keys=keys, aggs=aggs):
            used = [name for expr in (*keys, *aggs) for name in columns_of(expr)]
        case OrderBy(keys=order_keys):
            used = [name for key in order_keys for name in columns_of(key.expr)]
        case Join(left_on=left_on, right_on=right_on):
            used = [name for expr in (right_on if side else left_on) for name in columns_of(expr)]
        case AsOfJoin():
            used = [node.right_on, *node.right_by] if side else [node.left_on, *node.left_by]
        case Distinct(columns=columns):
            used = list(columns or ())
        case Unpivot():
            used = [*node.index, *node.on]
        case _:
            used = []
    return dict.fromkeys(used, NULL)


def _typed(rows: Iterable[Row], schema: Schema) -> list[Row]:
    """The records with exactly these columns, missing ones null, values as their types."""
    return [{name: fit(row.get(name), kind) for name, kind in schema.items()} for row in rows]


def _meaning(node: Relation, inputs: list[list[Row]], schemas: list[Schema]) -> list[Row]:
    rows, schema = inputs[0], schemas[0]
    match node:
        case Project(exprs=exprs, keep=keep):
            new = {name: column(expr, [*rows], schema) for name, expr in named(exprs, tuple(schema)).items()}
            return [{**(row if keep else {}), **{name: values[at] for name, values in new.items()}} for at, row in enumerate(rows)]
        case Where(predicate=predicate):
            return [row for row, true in zip(rows, column(predicate, [*rows], schema), strict=True) if true is True]
        case GroupAggregate():
            return _groups(node, rows, schema)
        case Join():
            return _join(node, inputs[0], inputs[1], schemas[0], schemas[1])
        case AsOfJoin():
            return [_beside(node, row, _nearest(node, row, inputs[1], schemas), schemas) for row in rows]
        case OrderBy(keys=keys, limit=limit):
            return [dict(row) for row in sorted_rows([*rows], keys, schema)][:limit]
        case Limit(count=count, offset=offset):
            return rows[offset:][:count]
        case Distinct(columns=columns):
            chosen = list(schema) if columns is None else columns
            return list({identity([row[name] for name in chosen]): row for row in reversed(rows)}.values())[::-1]
        case Explode(columns=columns):
            return [one for row in rows for one in _exploded(row, columns)]
        case Unnest(columns=columns):
            fields = {name: [inner for inner, _ in schema[name].args] for name in columns}
            return [_unnested(row, fields) for row in rows]
        case Unpivot(on=on, index=index):
            return [{**{key: row[key] for key in index}, node.name: name, node.value: row[name]} for row in rows for name in on]
        case Union():
            return [row for part in inputs for row in part]
        case _:
            raise AssertionError(f"{type(node).__name__} has no meaning of its own")


# -- groups


def _groups(node: GroupAggregate, rows: list[Row], schema: Schema) -> list[Row]:
    keys = named(node.keys, tuple(schema))
    aggs = named(node.aggs, tuple(schema))
    values = {name: column(expr, [*rows], schema) for name, expr in keys.items()}
    out: list[Row] = []
    for chosen in node.sets if node.sets is not None else (tuple(range(len(node.keys))),):
        names = [name_of(node.keys[place]) for place in chosen]
        groups: dict[Any, list[int]] = {} if names else {(): []}  # nothing is one group, without keys
        for at in range(len(rows)):
            groups.setdefault(identity([values[name][at] for name in names]), []).append(at)
        for places in groups.values():
            mine = {name: values[name][places[0]] if name in names else None for name in keys}
            known = {expr: mine[name] for name, expr in keys.items()}
            group = [rows[at] for at in places]
            found = {name: aggregate(_grouping(expr, keys, names), [*group], schema, known) for name, expr in aggs.items()}
            out.append({**mine, **found})
    return out


def _grouping(expr: ExprNode, keys: dict[str, ExprNode], names: list[str]) -> ExprNode:
    """SQL's grouping(a, b): a bit for each key, 1 if this grouping set is without it."""

    def change(node: ExprNode) -> ExprNode:
        if not (isinstance(node, Call) and node.operation == "grouping"):
            return node
        bits = ["0" if any(keys[name] == arg for name in names) else "1" for arg in node.args]
        return Literal(int("".join(bits), 2), INT64)

    return transform(expr, change)


# -- joins


def _join(node: Join, left: list[Row], right: list[Row], of_left: Schema, of_right: Schema) -> list[Row]:
    schemas = [of_left, of_right]
    partners = [[at for at, other in enumerate(right) if _pair(node, row, other, schemas)] for row in left]
    none = dict.fromkeys(of_left)
    match node.how:
        case "semi":
            return [row for row, found in zip(left, partners, strict=True) if found]
        case "anti":
            return [row for row, found in zip(left, partners, strict=True) if not found]
        case "mark":
            return [{**row, node.suffix: bool(found)} for row, found in zip(left, partners, strict=True)]
        case "single":
            for found in partners:
                if len(found) > 1:
                    raise ValueError(f"{node.label}: a record has {len(found)} partners, and at most one was expected")
    out = [_beside(node, row, right[at], schemas) for row, found in zip(left, partners, strict=True) for at in found]
    if node.how in ("left", "full", "single"):
        out += [_beside(node, row, None, schemas) for row, found in zip(left, partners, strict=True) if not found]
    if node.how in ("right", "full"):
        matched = {at for found in partners for at in found}
        for at, other in enumerate(right):
            if at not in matched:
                out.append({**_beside(node, none, other, schemas), **{name: other[name] for name in shared_keys(node)}})
    return out


def _pair(node: Join, row: Row, other: Row, schemas: Sequence[Schema]) -> bool:
    for one, two in zip(node.left_on, node.right_on, strict=True):
        kind = promoted(type_of(one, schemas[0]), type_of(two, schemas[1]))
        assert kind is not None
        a, b = fit(evaluate(one, row, schemas[0]), kind), fit(evaluate(two, other, schemas[1]), kind)
        if identity(a) != identity(b) or (a is None and not node.null_equal):
            return False
    if node.residual is None:
        return True
    both = {**schemas[0], **{new: schemas[1][name] for name, new in _renamed(node, schemas).items()}}
    return evaluate(node.residual, _beside(node, row, other, schemas), both) is True


def _renamed(node: Join | AsOfJoin, schemas: Sequence[Schema]) -> dict[str, str]:
    """The right columns that come out, and under which names."""
    if isinstance(node, Join):
        left_out = set(shared_keys(node))
    else:
        left_out = {*node.right_by, *((node.right_on,) if node.left_on == node.right_on else ())}
    return {name: name + node.suffix if name in schemas[0] else name for name in schemas[1] if name not in left_out}


def _beside(node: Join | AsOfJoin, row: Row, other: Row | None, schemas: Sequence[Schema]) -> Row:
    return {**row, **{new: other[name] if other is not None else None for name, new in _renamed(node, schemas).items()}}


def _nearest(node: AsOfJoin, row: Row, right: list[Row], schemas: Sequence[Schema]) -> Row | None:
    """The partner of a record: of several equally near ones any; "nearest" prefers, between one before and one behind, the latter."""
    kind = promoted(schemas[0][node.left_on], schemas[1][node.right_on])
    assert kind is not None
    here = fit(row[node.left_on], kind)
    best: tuple[Any, Row] | None = None
    for other in right:
        there = fit(other[node.right_on], kind)
        if here is None or there is None or not _same_by(node, row, other, schemas):
            continue
        if (node.strategy == "backward" and order(there) > order(here)) or (node.strategy == "forward" and order(there) < order(here)):
            continue
        if node.tolerance is not None and not _distance(here, there) <= _distance(node.tolerance, None):
            continue
        rank = (_distance(here, there), order(there) < order(here))
        if best is None or rank < best[0] or (rank == best[0] and node.strategy != "forward"):
            best = (rank, other)
    return best[1] if best is not None else None


def _same_by(node: AsOfJoin, row: Row, other: Row, schemas: Sequence[Schema]) -> bool:
    for one, two in zip(node.left_by, node.right_by, strict=True):
        kind = promoted(schemas[0][one], schemas[1][two])
        assert kind is not None
        a, b = fit(row[one], kind), fit(other[two], kind)
        if a is None or identity(a) != identity(b):
            return False
    return True


def _distance(one: Any, two: Any) -> Any:
    """How far two keys are from each other, or how far a tolerance reaches; NaN is infinitely far from numbers."""
    if isinstance(one, str):
        return span(one)
    if two is None:
        return one
    if isinstance(one, dt.datetime):
        return abs(utc(one) - utc(two))
    if isinstance(one, dt.time):
        return abs(dt.datetime.combine(dt.date.min, one) - dt.datetime.combine(dt.date.min, two))
    if is_nan(one) or is_nan(two):
        return 0.0 if is_nan(one) and is_nan(two) else float("inf")
    return 0.0 if one == two else abs(one - two)


# -- lists and structs


def _exploded(row: Row, columns: tuple[str, ...]) -> list[Row]:
    lengths = {len(row[name] or ()) for name in columns}
    if len(lengths) > 1:
        raise ValueError(f"lists in {', '.join(columns)} are not equally long: {', '.join(str(len(row[name] or ())) for name in columns)}")
    items = {name: row[name] or [None] for name in columns}
    return [{**row, **{name: items[name][at] for name in columns}} for at in range(max(*lengths, 1))]


def _unnested(row: Row, fields: dict[str, list[str]]) -> Row:
    out: Row = {}
    for name, value in row.items():
        if name in fields:
            out.update({inner: value[inner] if value is not None else None for inner in fields[name]})
        else:
            out[name] = value
    return out
