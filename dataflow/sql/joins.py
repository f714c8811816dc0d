"""The tables of FROM put together: by the equalities of WHERE and ON, with no cross product where an equality exists.

    a, b, c WHERE a.x = b.x AND b.y = c.y AND a.z = 1 AND b.u < c.v

    where(a, z = 1)  join b on x = x  join c on y = y  where u < v

A table joins next that an equality ties to those joined so far, the first of them in the text's order. What concerns one table
alone filters it before it is joined; so does what every branch of an OR says of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflow.expr.nodes import Call, ExprNode, columns_of
from dataflow.plan.nodes import Node
from dataflow.sql.attach import filtered, needs
from dataflow.sql.building import schema
from dataflow.sql.dependent import free_columns
from dataflow.sql.expressions import Expressions
from dataflow.sql.trees import both, chained, disjuncts, flattened

__all__ = ["joined"]


@dataclass(slots=True)
class _Tree:
    """Tables joined so far."""

    node: Node
    columns: frozenset[str] = field(default_factory=frozenset)

    def set(self, node: Node) -> None:
        self.node, self.columns = node, frozenset(schema(node))


def joined(of: Expressions, nodes: Sequence[Node], parts: Sequence[ExprNode]) -> Node:
    """One relation of all the tables, for whose rows all parts are true. Columns of no table here are an outer query's."""
    if not nodes:
        nodes = [of.build.one_row()]
    trees = [_Tree(node, frozenset(schema(node))) for node in nodes]
    known = frozenset().union(*(tree.columns for tree in trees))
    rest = list(dict.fromkeys(parts))
    if len(trees) > 1:
        rest = list(dict.fromkeys([*rest, *_implied(rest, trees)]))
    late: list[ExprNode] = []  # what needs an outer query's columns, and subqueries that depend on the row
    early: list[ExprNode] = []
    for part in rest:
        wanted = needs(of, part)
        (early if wanted <= known and (len(trees) == 1 or _early(of, part)) else late).append(part)
    for tree in trees:
        own, early = _ready(of, tree, early)
        _filter(of, tree, own)
    while len(trees) > 1:
        early = _join_next(of, trees, early)
    _filter(of, trees[0], [*early, *late])
    return trees[0].node


def _early(of: Expressions, part: ExprNode) -> bool:
    """Whether a condition is worth testing before the joins: not a correlated subquery, which is a join with all its rows."""
    return not any(free_columns(of.build, of.pending[name].planned.node) for name in columns_of(part) if name in of.pending)


def _filter(of: Expressions, tree: _Tree, parts: Sequence[ExprNode]) -> None:
    plain: list[ExprNode] = []
    queries: list[ExprNode] = []
    for part in parts:
        (queries if any(name in of.pending for name in columns_of(part)) else plain).append(part)
    tree.set(of.build.where(tree.node, plain))
    for part in queries:
        tree.set(filtered(of, tree.node, part))


def _implied(parts: Sequence[ExprNode], trees: Sequence[_Tree]) -> list[ExprNode]:
    """(n1 = 'F' AND n2 = 'G') OR (n1 = 'G' AND n2 = 'F')  ->  also: n1 = 'F' OR n1 = 'G'; n2 = 'G' OR n2 = 'F'."""
    found = []
    for part in parts:
        branches = [flattened(one, "and") for one in disjuncts(part)]
        if len(branches) < 2:
            continue
        for tree in trees:
            own = [[one for one in branch if columns_of(one) and set(columns_of(one)) <= tree.columns] for branch in branches]
            if all(own) and any(len(a) < len(b) for a, b in zip(own, branches)):
                found.append(chained("or", [both(one) for one in own]))
    return found


def _join_next(of: Expressions, trees: list[_Tree], parts: list[ExprNode]) -> list[ExprNode]:
    """Two of the trees made one; gives the conditions that are left."""
    for place, left in enumerate(trees):
        for right in trees[place + 1 :]:
            pairs = {part: pair for part in parts if (pair := _equality(part, left, right)) is not None}
            if pairs:
                left.set(of.build.join(left.node, right.node, "inner", pairs.values()))
                trees.remove(right)
                return _filter_ready(of, left, [part for part in parts if part not in pairs])
    for place, left in enumerate(trees):  # no equality left: an inequality between two, else the first two
        for right in trees[place + 1 :]:
            both_sides = left.columns | right.columns
            over = [
                part for part in parts if (w := needs(of, part)) and w <= both_sides and not any(n in of.pending for n in columns_of(part))
            ]
            if over:
                left.set(of.build.join(left.node, right.node, "inner", residual=over))
                trees.remove(right)
                return _filter_ready(of, left, [part for part in parts if part not in over])
    left, right = trees[0], trees[1]
    left.set(of.build.join(left.node, right.node, "cross"))
    trees.remove(right)
    return _filter_ready(of, left, parts)


def _filter_ready(of: Expressions, tree: _Tree, parts: list[ExprNode]) -> list[ExprNode]:
    ready, rest = _ready(of, tree, parts)
    _filter(of, tree, ready)
    return rest


def _ready(of: Expressions, tree: _Tree, parts: Sequence[ExprNode]) -> tuple[list[ExprNode], list[ExprNode]]:
    """The conditions that concern this tree alone, and the others."""
    own: list[ExprNode] = []
    rest: list[ExprNode] = []
    for part in parts:
        wanted = needs(of, part)
        (own if wanted and wanted <= tree.columns else rest).append(part)
    return own, rest


def _equality(part: ExprNode, left: _Tree, right: _Tree) -> tuple[ExprNode, ExprNode] | None:
    if isinstance(part, Call) and part.operation == "equal":
        for one, two in (part.args, part.args[::-1]):
            a, b = set(columns_of(one)), set(columns_of(two))
            if a and b and a <= left.columns and b <= right.columns:
                return one, two
    return None
