"""Prune columns: what nobody reads is not read, not computed, and not carried through joins.

    select a over join(L[a, k, x], R[k, y])   ──>   select a over join(select a, k over L, select k over R)

From the outputs down, each relational node says which columns of its inputs it needs; a `select` is put above tables and above
the sides of joins that have more, and aggregates and expressions that nobody reads are dropped. So is the one record of a cross join
with an aggregation of everything, of which nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dataflow.expr.nodes import AllColumns, Column, ExprNode, columns_of, walk
from dataflow.expr.types import DType
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import aggregates_of, named, shared_keys
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
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
from dataflow.plan.traversal import consumers, topological

__all__ = ["prune_columns"]

Names = dict[str, None]  # an ordered set


def prune_columns(plan: Plan, remarks: Remarks) -> Plan:
    """Keep only the columns that are read."""
    order = topological(plan)
    if not any(isinstance(node, Relation) for node in order):
        return plan
    readers = consumers(plan)
    needed: dict[int, Names | None] = {}
    for node in reversed(order):
        if not isinstance(node, Relation):
            continue
        if any(not isinstance(reader, Relation) for reader in readers[id(node)]) or any(node is out for out in plan):
            needed[id(node)] = None
        for child, names in zip(node.inputs, _asked(node, needed.get(id(node))), strict=True):
            if names is None or needed.get(id(child), {}) is None:
                needed[id(child)] = None
            else:
                needed[id(child)] = {**(needed.get(id(child)) or {}), **names}
    new: dict[int, Node] = {}
    for node in order:
        wanted = needed.get(id(node))
        inputs = tuple(new[id(child)] for child in node.inputs)
        if isinstance(node, Union) and wanted is not None:
            wanted = wanted or _one(node)
            inputs = tuple(_alike(part, wanted, inner_label(node.label, f"part {at}")) for at, part in enumerate(inputs, 1))
        made = _spelled_out(node).with_inputs(inputs)
        if isinstance(made, Project) and made.keep and wanted is None and made.schema is not None:
            made = _without(made, dict.fromkeys(made.schema))  # of its input, what it replaces is not asked for
        elif isinstance(made, Relation) and wanted is not None and made.schema is not None:
            made = _left_alone(_without(made, wanted), wanted)
            assert isinstance(made, Relation)
            assert made.schema is not None
            if len(wanted) < len(made.schema) and (isinstance(made, Table) or any(isinstance(r, Join) for r in readers[id(node)])):
                kept = tuple(name for name in made.schema if name in wanted) or (_narrowest(made.schema),)
                schema = {name: made.schema[name] for name in kept}
                if isinstance(made, Table):
                    remarks.say(f"pruned: of {node.label} only {', '.join(kept[:12])}{' …' if len(kept) > 12 else ''}")
                made = Project(
                    label=inner_label(made.label, "columns"), origin=made.origin, element=made.element, schema=schema, input=made,
                    exprs=tuple(Column(name) for name in kept),
                )  # fmt: skip
        new[id(node)] = made
    return tuple(new[id(node)] for node in plan)


def _alike(part: Node, wanted: Names, label: str) -> Node:
    """A part of a union with no other columns than are asked of all parts: one may have kept what a filter in it reads."""
    have = _known(part)
    kept = {name: kind for name, kind in (have or {}).items() if name in wanted}
    if have is None or len(kept) in (0, len(have)):
        return part
    return Project(
        label=label, origin=part.origin, element=part.element, schema=kept, input=part, exprs=tuple(map(Column, kept)),
    )  # fmt: skip


def _left_alone(node: Relation, wanted: Names) -> Relation:
    """The left side of a cross join with one record of which nothing is read, else the join."""
    if not isinstance(node, Join) or node.how != "cross" or node.residual is not None or not isinstance(node.left, Relation):
        return node
    right = node.right.input if isinstance(node.right, Project) else node.right
    if not isinstance(right, GroupAggregate) or right.keys or right.sets is not None or node.left.schema is None:
        return node
    return node.left if node.left.schema.keys() >= wanted.keys() else node


def _spelled_out(node: Node) -> Node:
    """`all()` in a select or an aggregation as the columns there were before any was pruned."""
    exprs = node.exprs if isinstance(node, Project) else node.aggs if isinstance(node, GroupAggregate) else ()
    if not any(isinstance(one, AllColumns) for expr in exprs for one in walk(expr)):
        return node
    assert isinstance(node, (Project, GroupAggregate))
    have = _known(node.input)
    if have is None:
        return node
    meant = aggregates_of(node, tuple(have)) if isinstance(node, GroupAggregate) else named(exprs, tuple(have))
    spelled = tuple(_alias(expr, name) for name, expr in meant.items())
    return replace(node, exprs=spelled) if isinstance(node, Project) else replace(node, aggs=spelled)


def _wanted(exprs: dict[str, ExprNode], wanted: Names, may_be_none: bool) -> dict[str, ExprNode]:
    """The expressions that are read; one at least where there would be no column, and so no rows to count, without."""
    found = {name: expr for name, expr in exprs.items() if name in wanted}
    return found if found or may_be_none else dict([next(iter(exprs.items()))])


def _narrowest(schema: Mapping[str, DType]) -> str:
    """One column that is cheap to carry, where only the number of rows matters."""
    return min(schema, key=lambda name: (schema[name].is_nested, schema[name].name in ("string", "binary")))


def _names(exprs: Iterable[ExprNode]) -> Names:
    return {name: None for expr in exprs for name in columns_of(expr)}


def _known(node: Node) -> dict[str, DType] | None:
    return dict(node.schema) if isinstance(node, Relation) and node.schema is not None else None


def _asked(node: Relation, wanted: Names | None) -> list[Names | None]:
    """The columns that a node needs of each of its inputs, if those ``wanted`` (None: all) are asked of it."""
    if node.schema is None:
        return [None for _ in node.inputs]
    asked = wanted if wanted is not None else dict.fromkeys(node.schema)
    match node:
        case Project(input=below, exprs=exprs, keep=keep):
            have = _known(below)
            if have is None:
                return [None]
            new = _wanted(named(exprs, tuple(have)), asked, keep)
            carried = {name: None for name in asked if name not in new} if keep else {}
            return [{**carried, **_names(new.values())}]
        case Where(predicate=predicate):
            return [{**asked, **_names([predicate])}]
        case GroupAggregate(input=below, keys=keys):
            have = _known(below)
            if have is None:
                return [None]
            used = _wanted(aggregates_of(node, tuple(have)), asked, bool(keys))
            return [_names((*keys, *used.values()))]
        case Join():
            return _of_sides(node, asked)
        case AsOfJoin():
            left, right = _known(node.left), _known(node.right)
            if left is None or right is None:
                return [None, None]
            renamed = {(name + node.suffix if name in left else name): name for name in right}
            forced = _forced(renamed, asked)
            return [
                {**{n: None for n in left if n in asked or n in forced}, **dict.fromkeys((node.left_on, *node.left_by))},
                {**{renamed[n]: None for n in asked if n in renamed}, **dict.fromkeys((node.right_on, *node.right_by))},
            ]
        case OrderBy(keys=order):
            return [{**asked, **_names(key.expr for key in order)}]
        case Limit() | Table():
            return [asked]
        case Distinct(columns=columns):
            return [dict.fromkeys(node.schema) if columns is None else {**asked, **dict.fromkeys(columns)}]
        case Explode(columns=columns):
            return [{**asked, **dict.fromkeys(columns)}]
        case Unnest(columns=columns):
            have = _known(node.input)
            return [{name: None for name in have if name in columns or name in asked} if have is not None else None]
        case Unpivot(on=on, index=index):
            return [dict.fromkeys((*on, *index))]
        case Union(parts=parts):
            found: list[Names | None] = []
            asked = asked or _one(node)
            for part in parts:
                have = _known(part)
                found.append({name: None for name in asked if name in have} if have is not None else None)
            return found
        case _:
            return [None for _ in node.inputs]


def _one(node: Union) -> Names:
    """One column of a union of which none is read, the same of each part; none if the parts have none in common."""
    parts = [_known(part) or {} for part in node.parts]
    shared = {name: kind for name, kind in (node.schema or {}).items() if all(name in part for part in parts)}
    return {_narrowest(shared): None} if shared else {}


def _forced(renamed: dict[str, str], asked: Names) -> Names:
    """The left columns that must stay: one of the right that comes out under a suffixed name has it only while they are there."""
    return {renamed[name]: None for name in asked if name in renamed and renamed[name] != name}


def _of_sides(node: Join, asked: Names) -> list[Names | None]:
    left, right = _known(node.left), _known(node.right)
    if left is None or right is None:
        return [None, None]
    shared = shared_keys(node)
    renamed = {(name + node.suffix if name in left else name): name for name in right if name not in shared}
    every = {**asked, **(_names([node.residual]) if node.residual is not None else {})}
    forced = _forced(renamed, every)
    ours = {name: None for name in left if name in every or name in forced or name in shared}
    theirs = {renamed[name]: None for name in every if name in renamed}
    return [{**ours, **_names(node.left_on)}, {**theirs, **_names(node.right_on), **dict.fromkeys(shared)}]


def _without(node: Relation, wanted: Names) -> Relation:
    """The node without the expressions that nobody reads."""
    assert node.schema is not None
    match node:
        case Project(input=below, exprs=exprs, keep=keep):
            have = _known(below)
            if have is None:
                return node
            kept = _wanted(named(exprs, tuple(have)), wanted, keep)
            names = [name for name in node.schema if name in kept or (keep and name in have)]
            made = replace(node, exprs=tuple(_alias(e, n) for n, e in kept.items()), schema=_kept(node, names))
            if keep and names != list({**have, **kept}):  # what a new column replaced in its place is not there any more
                exprs = tuple(_alias(kept[name], name) if name in kept else Column(name) for name in names)
                return replace(made, exprs=exprs, keep=False)
            return made
        case GroupAggregate(input=below, keys=keys):
            have = _known(below)
            if have is None:
                return node
            keys_ = named(keys, tuple(have))
            kept = _wanted(aggregates_of(node, tuple(have)), wanted, bool(keys_))
            return replace(node, aggs=tuple(_alias(e, n) for n, e in kept.items()), schema=_kept(node, {**keys_, **kept}))
        case _:
            return _derived(node)


def _derived(node: Relation) -> Relation:
    """The node with the columns its inputs now have."""
    from dataflow.plan.columns_out import schema_of

    schemas = tuple(_known(child) for child in node.inputs)
    if isinstance(node, Table) or any(schema is None for schema in schemas):
        return node
    return replace(node, schema=schema_of(node, schemas))  # type: ignore[arg-type]


def _kept(node: Relation, names: Iterable[str]) -> dict[str, DType]:
    assert node.schema is not None
    return {name: node.schema[name] for name in names if name in node.schema}


def _alias(expr: ExprNode, name: str) -> ExprNode:
    from dataflow.expr.nodes import Alias

    return expr if isinstance(expr, Column) and expr.name == name else Alias(expr, name)
