"""The columns of an input from which nothing came, and which nobody knew before: those that the tree reads of it, all null.

    where x > 0 over select *, a + 1 as b over given()     given: a, x

A function without a return type may give no records one day. What is behind it then gives none either, as on any other day,
instead of failing for want of a column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from dataflow.expr.nodes import Alias, AllColumns, ExprNode, columns_of, name_of, walk
from dataflow.expr.types import NULL, DType, list_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    Given,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Table,
    Union,
    Unpivot,
    Where,
)  # fmt: skip
from dataflow.plan.traversal import topological

__all__ = ["imagined", "without_nothing"]

Columns = Mapping[str, DType]


def imagined(root: Relation) -> dict[int, Columns]:
    """By the index of each input the columns that a tree reads of it, whatever it holds."""
    asked: dict[int, Columns] = {}
    found: dict[int, Columns] = {}
    for node in reversed(topological((root,))):
        wanted = asked.get(id(node), {})
        if isinstance(node, Given):
            found[node.index] = {**found.get(node.index, {}), **wanted}
            continue
        assert isinstance(node, Relation)
        for child, names in zip(node.inputs, _asked(node, wanted), strict=True):
            asked[id(child)] = _both(asked.get(id(child), {}), names)
    return found


def without_nothing(root: Relation, unknown: Collection[int]) -> Relation:
    """The tree without those parts of unions to which inputs of these indexes, of which nothing is known, give nothing."""
    nothing: set[int] = set()
    new: dict[int, Node] = {}
    for node in topological((root,)):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        left = [child for child in node.inputs if id(child) not in nothing]
        if isinstance(made, Union) and 0 < len(left) < len(node.inputs):
            made = replace(made, parts=tuple(new[id(child)] for child in left))
        new[id(node)] = made
        if (isinstance(node, Given) and node.index in unknown) or _gives_nothing(node, [id(child) in nothing for child in node.inputs]):
            nothing.add(id(node))
    top = new[id(root)]
    assert isinstance(top, Relation)
    return top


def _gives_nothing(node: Node, nothing: list[bool]) -> bool:
    """Whether no records can come of inputs that are ``nothing``."""
    match node:
        case GroupAggregate(keys=keys, sets=sets):
            return nothing[0] and bool(keys) and (sets is None or all(sets))
        case Join(how=how):
            left, right = nothing
            either, both = left or right, left and right
            return {"inner": either, "cross": either, "semi": either, "right": right, "full": both}.get(how, left)
        case AsOfJoin():
            return nothing[0]
        case _:
            return bool(nothing) and all(nothing)


def _asked(node: Relation, wanted: Columns) -> list[Columns]:
    """What a node reads of its inputs, if this is read of it. A join reads of a side that it fills with nulls its keys alone."""
    match node:
        case Project(exprs=exprs, keep=keep):
            made = {expr.name if isinstance(expr, Alias) else name_of(expr) for expr in exprs}
            stars = [one for expr in exprs for one in walk(expr) if isinstance(one, AllColumns)]
            through = {name: kind for name, kind in wanted.items() if name not in made} if keep or stars else {}
            dropped = dict.fromkeys((name for star in stars for name in star.without), NULL)
            return [_both(through, {**dropped, **_read(exprs)})]
        case Where(predicate=predicate):
            return [_both(wanted, _read([predicate]))]
        case GroupAggregate(keys=keys, aggs=aggs):
            return [_read((*keys, *aggs))]
        case Join(how=how, left_on=left_on, right_on=right_on):
            left = wanted if how not in ("right", "full") else {}
            right = wanted if how in ("inner", "cross", "right") else {}
            return [_both(left, _read(left_on)), _both(right, _read(right_on))]
        case AsOfJoin():
            return [
                {**wanted, **dict.fromkeys((node.left_on, *node.left_by), NULL)},
                dict.fromkeys((node.right_on, *node.right_by), NULL),
            ]
        case OrderBy(keys=order):
            return [_both(wanted, _read(key.expr for key in order))]
        case Distinct(columns=columns):
            return [_both(wanted, dict.fromkeys(columns or (), NULL))]
        case Explode(columns=columns):
            return [{**wanted, **dict.fromkeys(columns, list_of(NULL))}]
        case Unpivot(on=on, index=index):
            return [dict.fromkeys((*index, *on), NULL)]
        case Limit() | Table() | Union():
            return [wanted for _ in node.inputs]
        case _:
            return [{} for _ in node.inputs]


def _read(exprs: Iterable[ExprNode]) -> Columns:
    return dict.fromkeys((name for expr in exprs for name in columns_of(expr)), NULL)


def _both(one: Columns, two: Columns) -> Columns:
    """All of the columns; a list that is exploded somewhere is one everywhere."""
    return {**one, **{name: kind for name, kind in two.items() if one.get(name, NULL) == NULL}}
