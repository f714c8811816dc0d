"""Groups that are asked for already: records that have a partner among some groups need no others of these.

    T: semi(…, W) on x = k,   W: where p over aggregate sum(v) by k over L
    aggregate sum(v) by k over L, to be joined to T on x = k   ──>   W, which has the sums

In SQL: ``… where x in (select k from L group by k having sum(v) > 300)``, and L joined once more for the sums of what was found
(TPC-H 18). Every record of T has an x that is the key of a group in W, so that a join to all groups meets those of W alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dataflow.expr.nodes import Alias, Column, ExprNode
from dataflow.optimizer.shapes import Shapes
from dataflow.plan.columns_out import named, sides_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, Project, Where
from dataflow.plan.traversal import topological

__all__ = ["asked_groups"]


def asked_groups(groups: GroupAggregate, of: Relation, keys: Sequence[ExprNode]) -> Relation | None:
    """The ``groups`` that records of ``of`` can meet by their ``keys``, in this order, from a semi join below them; else None."""
    names = [key.name for key in keys if isinstance(key, Column)]
    if len(names) < len(keys) or groups.schema is None:
        return None
    for semi, at in _semi_joins(of, names):
        below = _stripped(semi.right)
        source = below
        while isinstance(source, (Project, Where)):
            source = source.input
        if not isinstance(source, GroupAggregate) or not isinstance(below, Relation):
            continue
        shapes = Shapes()
        for node in topological((groups, semi.right)):
            shapes.of(node)
        mine, theirs, asked = shapes.of(groups), shapes.of(below), shapes.of(semi.right)
        met = {(one, mine.words[name]) for one, name in zip(at, groups.schema, strict=False)}  # the keys come first
        pairs = zip(semi.left_on, semi.right_on, strict=True)
        if shapes.of(source).number != mine.number or {(_name(a), asked.words.get(_name(b), "")) for a, b in pairs} != met:
            continue
        have = {word: name for name, word in theirs.words.items()}
        if not set(mine.words.values()) <= have.keys():
            continue
        exprs = tuple(Alias(Column(have[mine.words[name]]), name) for name in groups.schema)
        made = Project(label=groups.label, origin=groups.origin, element=groups.element, input=below, exprs=exprs)
        return replace(made, schema=groups.schema)
    return None


def _stripped(node: Node) -> Node:
    """What is below the choices of columns."""
    while isinstance(node, Project):
        node = node.input
    return node


def _name(expr: ExprNode) -> str:
    return expr.name if isinstance(expr, Column) else ""


def _semi_joins(node: Node, names: list[str]) -> list[tuple[Join, list[str]]]:
    """The semi joins that all records of a node have passed, by some of whose columns, and what these are called there."""
    found: list[tuple[Join, list[str]]] = []
    stack: list[tuple[Node, list[str]]] = [(node, names)]
    while stack:
        node, names = stack.pop()
        match node:
            case Where(input=below):
                stack.append((below, names))
            case Project(input=Relation() as below):
                exprs = named(node.exprs, tuple(below.schema or ()))
                old = [exprs.get(name, Column(name) if node.keep else None) for name in names]
                plain = [one.name for one in old if isinstance(one, Column)]
                if len(plain) == len(names):
                    stack.append((below, plain))
            case Join(how="inner" | "cross" | "left" | "semi" | "anti"):
                if node.how == "semi" and not node.null_equal and node.residual is None:
                    found.append((node, names))
                for side, below in zip(sides_of(node), node.inputs, strict=True):
                    if all(name in side for name in names) and (below is node.left or node.how in ("inner", "cross")):
                        stack.append((below, [side[name] for name in names]))
            case _:
                pass
    return found
