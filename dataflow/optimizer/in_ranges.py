"""Tables that are read in ranges of a key by which their files are in order, so that a query needs no shuffle by it.

    aggregate by k, … over select over Read            ──>   select, aggregate over Read in ranges of k
    join on l.k = r.k of  select over Read | Read      ──>   join over (Read | Read) in the same ranges of l.k, r.k
    that, joined on k to a third table                 ──>   both joins over (Read | Read | Read)

Every range has all records of its keys (`io.key_ranges`), so what needs equal keys together runs on it as on any part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Column, ExprNode
from dataflow.plan.columns_out import named, shared_keys
from dataflow.plan.nodes import Node, Read, Relation
from dataflow.plan.relational import Given, GroupAggregate, Join, Project, Where

__all__ = ["read_in_ranges"]

SMALL, LARGE = 32, 8  # of the memory a range is about one part in so many, and at most one part in so many: a join holds a side of it


def read_in_ranges(sides: list[tuple[Node, Relation]], keys: Iterable[tuple[ExprNode, ...]], memory: int) -> tuple[Read, int] | None:
    """A read of all sides in ranges of the first of these keys for which there are such, and its place among them. ``sides``: reads, and
    the trees over them in which the keys are; ``keys``: for each key, what it is on every side. A side may be read in ranges already."""
    if not all(isinstance(node, Read) for node, _ in sides):
        return None
    read: Any = sides[0][0]
    for at, names in enumerate(keys):
        tables = [_tables(node, tree, key) for (node, tree), key in zip(sides, names, strict=True)]
        if all(tables):
            (first, column), *others = [table for some in tables for table in some]
            found = first.in_ranges(column, others, memory // SMALL, memory // LARGE)
            if found is not None:
                return replace(read, source=found), at
    return None


def _tables(read: Any, tree: Relation, key: ExprNode) -> list[tuple[Any, str]]:
    """The tables of a read with what a key of the tree over it is called in each; none where there cannot be ranges of it."""
    column = _of_source(key, tree)
    if column is None:
        return []
    return read.source.tables_by(column) if hasattr(read.source, "tables_by") else []


def _of_source(key: ExprNode, tree: Relation) -> str | None:
    """What a key is called in the first source below a tree; None where it is no column of it, or is made on the way."""
    if not isinstance(key, Column):
        return None
    name, node = key.name, tree
    while not isinstance(node, Given):
        swapped = isinstance(node, Join) and node.how == "inner" and isinstance(node.left, Given) and node.left.index > 0
        below: Node = node.inputs[1 if swapped else 0]
        if not isinstance(below, Relation) or below.schema is None:
            return None
        match node:
            case Project():
                meant = named(node.exprs, tuple(below.schema)).get(name, Column(name) if node.keep else None)
            case GroupAggregate(sets=None):
                meant = named(node.keys, tuple(below.schema)).get(name)
            case Join() if swapped:  # the left is a side that goes whole to every part of the right
                assert isinstance(node.left, Given)
                meant = (
                    Column(name) if name in below.schema and (name not in (node.left.schema or {}) or name in shared_keys(node)) else None
                )
            case Join(how="inner" | "left" | "semi" | "anti" | "single" | "mark") if name in below.schema:
                meant = Column(name)  # what comes from the right has another name
            case Join(how="inner"):
                meant = next((one for one, other in zip(node.left_on, node.right_on, strict=True) if other == Column(name)), None)
            case Where():
                meant = Column(name)
            case _:
                return None
        if not isinstance(meant, Column):
            return None
        name, node = meant.name, below
    return name if node.index == 0 else None
