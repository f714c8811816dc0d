"""UNION, INTERSECT, EXCEPT. Columns meet by their place (UNION BY NAME: by their names, null where a side has none), rows compare with
null equal to null.

INTERSECT        distinct(left) semi join right on all columns          EXCEPT    anti join
… ALL            each row numbered among its equals first, and the number is one more column to compare
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dataflow.expr.nodes import Alias, Cast, Column, ExprNode, Literal, Ranking, SortKey, Window
from dataflow.expr.types import DType, promoted
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Union
from dataflow.sql.building import schema
from dataflow.sql.errors import refuse
from dataflow.sql.scope import Scope
from dataflow.sql.subqueries import Planned

if TYPE_CHECKING:
    from dataflow.sql.query import Context

__all__ = ["translate_set"]


def translate_set(context: Context, node: exp.SetOperation, parent: Scope | None) -> Planned:
    """A set operation of two or more queries; a chain of one kind is one step."""
    queries = _chain(node)
    parts = [context.query(part, parent) for part in queries]
    if node.args.get("by_name"):
        parts = _by_name(context, parts, queries)
    names = [name for name, _ in parts[0].columns]
    kinds = _kinds(context, parts, queries, node)
    unique = [context.build.fresh(name, kind) for name, kind in zip(names, kinds)]
    nodes = [_aligned(context, part, unique, kinds) for part in parts]
    every = not node.args.get("distinct")
    if isinstance(node, exp.Union):
        made = Union(label=context.build.label("sql union"), origin=context.build.origin, parts=tuple(nodes))
        found: Node = context.build.made(made, *map(schema, nodes))
        found = found if every else context.build.distinct(found)
    else:
        found = nodes[0]
        for right in nodes[1:]:
            found = _compared(context, found, right, unique, "semi" if isinstance(node, exp.Intersect) else "anti", every)
    return context.ordered(Planned(found, tuple(zip(names, unique))), node, parent)


def _chain(node: exp.SetOperation) -> list[exp.Expr]:
    """The queries of a left-deep chain of one operation, in order. Iterative: a text may hold thousands."""
    parts: list[exp.Expr] = []
    inner: exp.Expr = node
    while type(inner) is type(node) and _same(inner, node):
        parts.append(inner.expression)
        inner = inner.this
    return [inner, *reversed(parts)]


def _same(one: exp.Expr, node: exp.Expr) -> bool:
    plain = one is node or not any(one.args.get(key) for key in ("order", "limit", "offset", "with_"))
    return plain and all(bool(one.args.get(key)) == bool(node.args.get(key)) for key in ("distinct", "by_name"))


def _by_name(context: Context, parts: list[Planned], queries: list[exp.Expr]) -> list[Planned]:
    """The parts with the columns of all, in the order in which they first come."""
    names: dict[str, str] = {}
    for part, query in zip(parts, queries):
        mine = [name.lower() for name, _ in part.columns]
        for low in mine:
            if mine.count(low) > 1:
                refuse(query, f"UNION BY NAME of a query that has two columns {low!r}", "give one of them another name")
        for name, _ in part.columns:
            names.setdefault(name.lower(), name)
    found = []
    for part in parts:
        have = {name.lower(): unique for name, unique in part.columns}
        none: ExprNode = Literal(None)
        lacking = {low: context.build.fresh(name, context.build.type_of(none)) for low, name in names.items() if low not in have}
        node = context.build.project(part.node, [Alias(none, unique) for unique in lacking.values()], keep=True) if lacking else part.node
        found.append(Planned(node, tuple((name, have.get(low) or lacking[low]) for low, name in names.items())))
    return found


def _kinds(context: Context, parts: list[Planned], queries: list[exp.Expr], node: exp.Expr) -> list[DType]:
    types = context.build.types
    kinds = [types[unique] for _, unique in parts[0].columns]
    for part, query in zip(parts[1:], queries[1:]):
        if len(part.columns) != len(kinds):
            refuse(
                query.parent, f"{node.key.upper()} of {len(kinds)} columns with {len(part.columns)}", "both sides select as many columns"
            )
        for place, (name, unique) in enumerate(part.columns):
            both = promoted(kinds[place], types[unique])
            if both is None:
                items = query.expressions if isinstance(query, exp.Select) and not query.is_star else []
                refuse(
                    items[place] if place < len(items) else query.parent,
                    f"column {place + 1} ({name}) of {node.key.upper()} is {kinds[place]} on one side and {types[unique]} on the other",
                    "CAST one side",
                )
            kinds[place] = both
    return kinds


def _aligned(context: Context, part: Planned, unique: list[str], kinds: list[DType]) -> Node:
    types = context.build.types
    exprs: list[ExprNode] = []
    for new, kind, (_, old) in zip(unique, kinds, part.columns):
        exprs.append(Alias(Column(old) if types[old] == kind else Cast(Column(old), kind), new))
    return context.build.project(part.node, exprs)


def _compared(context: Context, left: Node, right: Node, unique: list[str], how: str, every: bool) -> Node:
    build = context.build
    keys = list(unique)
    if every:
        keys.append(build.fresh("nth", build.type_of(Literal(0))))
        left, right = _numbered(context, left, unique, keys[-1]), _numbered(context, right, unique, keys[-1])
    else:
        left = build.distinct(left)
    pairs: list[tuple[ExprNode, ExprNode]] = [(Column(name), Column(name)) for name in keys]
    joined = build.join(left, right, "semi" if how == "semi" else "anti", pairs, null_equal=True)
    return build.project(joined, [Column(name) for name in unique]) if every else joined


def _numbered(context: Context, node: Node, unique: list[str], name: str) -> Node:
    columns = tuple(map(Column, unique))
    place = Window(Ranking("row_number"), columns, (SortKey(columns[0], False, True),))
    return context.build.project(node, [Alias(place, name)], keep=True)
