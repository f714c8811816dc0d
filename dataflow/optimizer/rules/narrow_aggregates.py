"""Narrow aggregates: of what is aggregated only to be joined, the groups that the join will drop are not made.

    join(L[p filtered], aggregate R by k)  on  L.x = k   ──>   join(L, aggregate (R semi join L on k = L.x) by k)
    (join(R, S) semi join L on R.k = L.x)                ──>   join(R semi join L on k = L.x, S)

So a query that looks up an average for each of a few parts does not average all parts: a correlated subquery becomes such a
plan. Done where the left side is filtered by something that leaves little (an equality, a pattern, a list), because the left
side is then needed twice; for the joins that drop, or fill with null, a left record without a partner. The semi join goes down
to the table that has the keys, so that what is joined to make the groups is narrowed too. Groups of the left side's own records are of
few as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.expr.nodes import Alias, Apply, Column, ExprNode, Window, walk
from dataflow.optimizer.grouped_partners import Grouped, grouped_partners, is_narrow
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import named, schema_of, sides_of
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Project, Where, expressions_of
from dataflow.plan.traversal import read_twice, topological

__all__ = ["narrow_aggregates"]


def narrow_aggregates(plan: Plan, remarks: Remarks) -> Plan:
    """Put a semi join below every aggregation that only a filtered side is joined to."""
    twice = read_twice(plan)
    new: dict[int, Node] = {}
    kept: dict[int, Node] = {}  # what others read too stays as it is
    for node in topological(plan):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Join) and isinstance(node, Join) and made.how in ("inner", "left", "single", "semi", "anti"):
            if grouped_partners(node, twice) is not None and is_narrow(made.left) and (groups := grouped_partners(made, ())) is not None:
                found = _narrowed(made, groups, kept)
                if found is not None:
                    remarks.say(f"narrowed: the aggregation below {node.label} to the keys of its left side")
                    made = found
                    kept[id(made.left)] = made.left  # the keys are of it, too
        new[id(node)] = made
        if id(node) in twice:
            kept[id(made)] = made
    return tuple(new[id(node)] for node in plan)


def _narrowed(node: Join, groups: Grouped, kept: Mapping[int, Node]) -> Join | None:
    if not isinstance(node.left, Relation) or node.left.schema is None or groups.are_of(node.left):
        return None
    label = inner_label(node.label, "keys")
    exprs = tuple(Alias(left, f"key {at}") for at, (_, left) in enumerate(groups.keys))
    asked = Project(label=label, origin=node.origin, element=node.element, input=node.left, exprs=exprs)
    asked = replace(asked, schema=schema_of(asked, (node.left.schema,)))
    semi = Join(
        label=inner_label(node.label, "narrowed"), origin=node.origin, element=node.element, left=groups.below, right=asked, how="semi",
        left_on=tuple(key for key, _ in groups.keys), right_on=tuple(Column(f"key {at}") for at in range(len(groups.keys))),
        null_equal=node.null_equal,
    )  # fmt: skip
    return replace(node, right=groups.over(_sunk(semi, groups.below, kept)))


def _sunk(semi: Join, below: Relation, kept: Mapping[int, Node]) -> Relation:
    """The semi join over the lowest node below that has all its keys, under what stands above that one."""
    above: list[tuple[Relation, str]] = []
    keys: tuple[ExprNode, ...] = semi.left_on
    while id(below) not in kept and all(isinstance(key, Column) for key in keys):
        step = _step(below, [key.name for key in keys if isinstance(key, Column)])
        if step is None:
            break
        side, names = step
        inner = getattr(below, side)
        if not isinstance(inner, Relation) or inner.schema is None:
            break
        above.append((below, side))
        below, keys = inner, tuple(map(Column, names))
    grown: Relation = replace(semi, left=below, left_on=keys, schema=below.schema)
    for node, side in reversed(above):
        grown = replace(node, **{side: grown})  # type: ignore[arg-type]
    return grown


def _step(node: Relation, keys: list[str]) -> tuple[str, list[str]] | None:
    """The input of a node in which these columns stand, and what they are called there; None where records with other keys matter."""
    if any(isinstance(one, (Apply, Window)) for expr in expressions_of(node) for one in walk(expr)):
        return None
    match node:
        case Where():
            return "input", keys
        case Project(exprs=exprs, keep=keep, input=below) if isinstance(below, Relation):
            new = named(exprs, tuple(below.schema or ()))
            meant = [new.get(key, Column(key) if keep else None) for key in keys]
            return ("input", [one.name for one in meant if isinstance(one, Column)]) if all(isinstance(m, Column) for m in meant) else None
        case Join(how="inner", left=Relation(), right=Relation()):
            for side, names in zip(("left", "right"), sides_of(node), strict=True):
                if all(key in names for key in keys):
                    return side, [names[key] for key in keys]
            return None
        case _:
            return None
