"""A part of a query that is cut in pieces: a plan node, and the relational tree that is still to be run on any part of its records.

    Read lines ─ Given 0 > where > select          a filter and a choice of columns go into the tree, and wait
    Read lines ─ … > join (… | Given 1)  [view]    so does a join with a side that goes whole to every part

What needs more than any part (equal keys together, an order) has the tree run, and begins a part of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow.expr.nodes import Alias, Cast, Column, ExprNode, Literal, name_of
from dataflow.expr.types import DType, Schema
from dataflow.plan.nodes import Node, Relation, SideInput
from dataflow.plan.relational import Distinct, Given, Limit, OrderBy, Project, Where
from dataflow.plan.traversal import rewrite
from dataflow.record import record

__all__ = ["Part", "as_column", "keeps", "planted", "renumbered"]


@record
class Part:
    """A plan node, and the relational tree (over `Given` 0 and the sides) still to be run on its records.

    ``together``: columns of the tree whose equal values are all in one piece of the node, an exchange that nobody else reads, or a
    read in ranges. ``read``: how many collections the node reads together, before the sides. ``sure``: ``bytes`` is what files hold,
    and nothing has chosen among their records.
    """

    node: Node
    tree: Relation
    bytes: int
    sides: tuple[SideInput, ...] = ()
    together: frozenset[str] = frozenset()
    read: int = 1
    sure: bool = False

    @property
    def schema(self) -> Schema:
        assert self.tree.schema is not None
        return self.tree.schema

    @property
    def plain(self) -> bool:
        return isinstance(self.tree, Given)


def keeps(node: Relation, columns: frozenset[str]) -> bool:
    """Whether columns come out of a node as they went in."""
    match node:
        case Where() | Limit() | OrderBy() | Distinct():
            return True
        case Project(exprs=exprs, keep=keep):
            plain = {one.name for one in exprs if isinstance(one, Column)}
            made = {name_of(one) for one in exprs} - plain
            return all(name in plain or (keep and name not in made) for name in columns)
        case _:
            return False


def renumbered(tree: Relation, number: Callable[[int], int]) -> Relation:
    """A tree whose inputs have other numbers."""
    return _with_inputs(tree, lambda given: replace(given, index=number(given.index)))


def planted(tree: Relation, root: Relation) -> Relation:
    """A tree over `Given` 0 with another tree in its place."""
    return _with_inputs(tree, lambda given: root)


def _with_inputs(tree: Relation, instead: Callable[[Given], Relation]) -> Relation:
    (found,) = rewrite((tree,), lambda node: instead(node) if isinstance(node, Given) else node)
    assert isinstance(found, Relation)
    return found


def as_column(name: str, kind: DType, schema: Schema) -> ExprNode:
    """A column as it comes out of a union: cast where a part has another type, null where the part lacks it."""
    if name not in schema:
        return Alias(Literal(None, kind), name)
    return Column(name) if schema[name] == kind else Alias(Cast(Column(name), kind), name)
