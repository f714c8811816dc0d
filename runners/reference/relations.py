"""What each relational node means: lists of records in, a list of records out. Where no order is said the result is a bag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dataflow.expr.nodes import AllColumns, Call, ExprNode, Literal, columns_of, transform, walk
from dataflow.expr.types import INT64, NULL, DType, Schema, list_of, promoted
from dataflow.expr.typing import ExprError, type_of_value
from dataflow.plan.columns_out import aggregates_of, named, schema_of
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
    Table,
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip
from runners.reference.expressions import aggregate, column, sorted_rows
from runners.reference.joins import joined, joined_as_of
from runners.reference.values import fit, identity

__all__ = ["relation_rows", "schema_of_rows"]

Row = dict[str, Any]


def relation_rows(node: Relation, inputs: list[list[Row]], schemas: Sequence[Schema | None]) -> list[Row]:
    """The records that come out of a node, of which these go in. A schema that is None is that of the rows themselves."""
    if isinstance(node, Table) and node.schema is not None:  # said by its author, or read from a source
        schemas = [node.schema]
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
            dropped = [name for expr in exprs for one in walk(expr) if isinstance(one, AllColumns) for name in one.without]
            used = [*dropped, *(name for expr in exprs for name in columns_of(expr))]
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
        case Explode(columns=columns):
            return dict.fromkeys(columns, list_of(NULL))
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
        case Table():
            return rows
        case Project(exprs=exprs, keep=keep):
            new = {name: column(expr, [*rows], schema) for name, expr in named(exprs, tuple(schema)).items()}
            return [{**(row if keep else {}), **{name: values[at] for name, values in new.items()}} for at, row in enumerate(rows)]
        case Where(predicate=predicate):
            return [row for row, true in zip(rows, column(predicate, [*rows], schema), strict=True) if true is True]
        case GroupAggregate():
            return _groups(node, rows, schema)
        case Join():
            return joined(node, inputs[0], inputs[1], schemas)
        case AsOfJoin():
            return joined_as_of(node, inputs[0], inputs[1], schemas)
        case OrderBy(keys=keys, limit=limit):
            return [dict(row) for row in sorted_rows([*rows], keys, schema)][:limit]
        case Limit(count=count, offset=offset):
            return rows[offset:][:count]
        case Distinct(columns=columns):
            chosen = list(schema) if columns is None else columns
            first: dict[Any, Row] = {}
            for row in rows:
                first.setdefault(identity([row[name] for name in chosen]), row)
            return list(first.values())
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
    aggs = aggregates_of(node, tuple(schema))
    values = {name: column(expr, [*rows], schema) for name, expr in keys.items()}
    out: list[Row] = []
    for chosen in node.sets if node.sets is not None else (tuple(range(len(node.keys))),):
        names = [list(keys)[place] for place in chosen]
        groups: dict[Any, list[int]] = {} if names else {(): []}  # nothing is one group, without keys
        for at in range(len(rows)):
            groups.setdefault(identity([values[name][at] for name in names]), []).append(at)
        for places in groups.values():
            mine = {name: values[name][places[0]] if name in names else None for name in keys}
            known = {expr: mine[name] for name, expr in keys.items() if not isinstance(expr, Literal)}
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
