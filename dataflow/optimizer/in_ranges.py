"""Tables that are read in ranges of a key by which their files are in order, so that a query needs no shuffle by it.

    aggregate by k, … over select over Read            ──>   select, aggregate over Read in ranges of k
    join on l.k = r.k of  select over Read | Read      ──>   join over (Read | Read) in the same ranges of l.k, r.k

Every range has all records of its keys (`io.key_ranges`), so what needs equal keys together runs on it as on any part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Column, ExprNode
from dataflow.plan.columns_out import named
from dataflow.plan.nodes import Node, Read, Relation
from dataflow.plan.relational import Given, Project, Where

__all__ = ["read_in_ranges"]

SMALL, LARGE = 32, 8  # of the memory a range is about one part in so many, and at most one part in so many: a join holds a side of it


def read_in_ranges(sides: list[tuple[Node, Relation]], keys: Iterable[tuple[ExprNode, ...]], memory: int) -> tuple[Read, int] | None:
    """A read of all sides in ranges of the first of these keys for which there are such, and its place among them. ``sides``: reads, and
    the trees over them in which the keys are; ``keys``: for each key, what it is on every side."""
    sources: list[Any] = [node.source if isinstance(node, Read) else None for node, _ in sides]
    if not all(hasattr(source, "in_ranges") for source in sources):
        return None
    for at, names in enumerate(keys):
        columns = [_of_source(key, tree) for key, (_, tree) in zip(names, sides, strict=True)]
        plain = [name for name in columns if name is not None]
        if len(plain) == len(sides):
            found = sources[0].in_ranges(plain[0], list(zip(sources[1:], plain[1:], strict=True)), memory // SMALL, memory // LARGE)
            if found is not None:
                read = sides[0][0]
                assert isinstance(read, Read)
                return replace(read, source=found), at
    return None


def _of_source(key: ExprNode, tree: Relation) -> str | None:
    """What a key is called in the source below a tree; None where it is no column of it, or the tree does more than select and filter."""
    if not isinstance(key, Column):
        return None
    name = key.name
    for node in _down(tree):
        if isinstance(node, Project):
            below = node.input.schema if isinstance(node.input, Relation) else None
            meant = named(node.exprs, tuple(below or ())).get(name, Column(name) if node.keep else None)
            if not isinstance(meant, Column):
                return None
            name = meant.name
        elif not isinstance(node, (Where, Given)):
            return None
    return name


def _down(tree: Relation) -> Iterator[Relation]:
    node: Node = tree
    while isinstance(node, Relation):
        yield node
        if not isinstance(node, (Project, Where)):
            return
        node = node.input
