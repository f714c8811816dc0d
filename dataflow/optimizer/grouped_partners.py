"""A join whose partners are groups: a lookup of an average, a sum, a least value, as a correlated subquery becomes one.

join(L, select, where … over aggregate S by k)  on  L.x = k        `Grouped`: the way down to the aggregation, and which keys are meant
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from dataflow.expr.nodes import Call, Column, ExprNode, has_window, walk
from dataflow.plan.columns_out import named
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, Project, Where, expressions_of
from dataflow.plan.traversal import topological

__all__ = ["Grouped", "grouped_partners", "is_narrow"]

_SELECTIVE = frozenset(("equal", "is_in", "str.like", "str.starts_with", "str.contains", "equal_missing"))


class Grouped(NamedTuple):
    """The right side of a join: ``above``, the selects and filters over the ``aggregate`` of what is ``below``.

    ``keys``: of each pair of the join's keys that asks for a key of the groups, that one's expression below, and the left's.
    """

    above: tuple[Relation, ...]
    aggregate: GroupAggregate
    below: Relation
    keys: tuple[tuple[ExprNode, ExprNode], ...]

    def are_of(self, node: Node) -> bool:
        """Whether they are groups of a node's records, by the columns that it asks for."""
        path: list[Relation] = []
        at: Node = self.below
        while at is not node and isinstance(at, (Project, Where)):
            path.append(at)
            at = at.input
        return at is node and all(isinstance(mine, Column) and _below(key, path) == mine.name for key, mine in self.keys)

    def over(self, below: Relation) -> Relation:
        """The same groups of other records."""
        grown: Relation = replace(self.aggregate, input=below)
        for one in reversed(self.above):
            grown = replace(one, input=grown)  # type: ignore[call-arg]
        return grown


def grouped_partners(node: Join, shared: Collection[int]) -> Grouped | None:
    """The groups that are a join's right side. None if it is something else, or if others read it too: those ``shared``, by their ids."""
    above: list[Relation] = []
    at = node.right
    while True:
        if id(at) in shared or not isinstance(at, Relation):
            return None
        if any(has_window(expr) for expr in expressions_of(at)):  # over all its rows, of any key
            return None
        match at:
            case GroupAggregate(sets=None, input=Relation() as below) if at.keys and below.schema is not None:
                break
            case Project(keep=False, input=input_) | Where(input=input_):
                above.append(at)
                at = input_
            case _:
                return None
    keys = named(at.keys, tuple(below.schema or ()))
    meant = [(_below(right, above), left) for left, right in zip(node.left_on, node.right_on, strict=True)]
    pairs = tuple((keys[name], left) for name, left in meant if name in keys)
    return Grouped(tuple(above), at, below, pairs) if pairs else None


def is_narrow(node: Node) -> bool:
    """Whether a filter below a node is likely to leave little of it."""
    for one in topological((node,)):
        if isinstance(one, Where):
            if any(isinstance(part, Call) and part.operation in _SELECTIVE for part in walk(one.predicate)):
                return True
    return False


def _below(expr: ExprNode, path: list[Relation]) -> str:
    """The name that a plain column has below selects and filters; "" for another expression."""
    for node in path:
        if not isinstance(expr, Column):
            return ""
        if isinstance(node, Project):
            assert isinstance(node.input, Relation)
            found = named(node.exprs, tuple(node.input.schema or ())).get(expr.name)
            if found is None:
                return ""
            expr = found
    return expr.name if isinstance(expr, Column) else ""
