"""Joins turned, so that the tables whose files may be in the order of one key meet first.

    (a join b by j) join c by k, a column of b     ──>   a join (b join c by k) by j
    (a join b by j) join c by k, a column of a     ──>   (a join c by k) join b by j

The order of joins is chosen for a query that runs whole. In pieces another one may be better: what is read in ranges of k needs no shuffle
(`in_ranges.py`), and what the first join makes of its tables is in no order any more. Not where the first join leaves little of a table:
TPC-H 9 took half as long again when all of `lineitem` was joined to `orders` before it was joined to the parts that are green.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from dataflow.expr.nodes import Column, ExprNode, columns_of, has_apply, has_window
from dataflow.plan.columns_out import schema_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Project, Where

__all__ = ["Turned", "turned"]


class Turned(NamedTuple):
    """A join of a join, ``below``, in another order. ``mates``: the join of two of its tables; ``third``: of that and the third table.

    ``between``: the nodes from the one join to the other. ``where``: what they let through, which is still to be asked, in that order.
    """

    below: Join
    mates: Join
    third: Join
    between: list[Relation]
    where: list[ExprNode]


def turned(node: Join) -> Iterator[Turned]:
    """The other orders of a join one side of which is a join, perhaps with conditions and choices of columns above it.

    What comes has more columns, and in another order. Only inner joins, of which no two columns have one name.
    """
    if node.how != "inner" or node.residual is not None:
        return
    for top, mate in ((node.left, node.right), (node.right, node.left)):
        between, where, below = _path(top)
        if not (isinstance(below, Join) and below.how == "inner" and _is_plain(node) and _is_plain(below)):
            continue
        names = [set(_schema(side)) for side in (below.left, below.right, mate)]
        if sum(map(len, names)) != len(set.union(*names)):
            continue
        keys, theirs = (node.left_on, node.right_on) if top is node.left else (node.right_on, node.left_on)
        for side, other in ((below.left, below.right), (below.right, below.left)):
            if keys and {name for key in keys for name in columns_of(key)} <= _schema(side).keys():
                mates = _with_schema(replace(node, left=side, right=mate, left_on=keys, right_on=theirs))
                ends = (mates, other) if side is below.left else (other, mates)
                yield Turned(below, mates, _with_schema(replace(below, left=ends[0], right=ends[1])), between, where)


def _path(node: Node) -> tuple[list[Relation], list[ExprNode], Node]:
    """The nodes above one that is neither a condition nor a choice of columns as they are called, the conditions, and that one."""
    between: list[Relation] = []
    where: list[ExprNode] = []
    while True:
        match node:
            case Where() if not has_window(node.predicate) and not has_apply(node.predicate):
                where.append(node.predicate)
            case Project(keep=False) if all(isinstance(one, Column) for one in node.exprs):
                pass
            case _:
                return between, where[::-1], node
        between.append(node)
        node = node.input


def _is_plain(node: Join) -> bool:
    """Whether a join may be made of other records than it is: nothing in it can fail, or be seen to be called."""
    return all(isinstance(key, Column) for key in (*node.left_on, *node.right_on)) and not (node.residual and has_apply(node.residual))


def _schema(node: Node) -> dict[str, object]:
    return dict(node.schema or {}) if isinstance(node, Relation) else {}


def _with_schema(node: Join) -> Join:
    assert isinstance(node.left, Relation)
    assert isinstance(node.right, Relation)
    return replace(node, schema=schema_of(node, (node.left.schema, node.right.schema)))
