"""How much the inputs of a query take in memory, guessed from metadata before anything runs."""

from __future__ import annotations

from dataflow.expr.nodes import AllColumns, columns_of, walk
from dataflow.plan.nodes import Node, Query, Read, Relation
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
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip
from dataflow.plan.traversal import topological

__all__ = ["estimated_bytes", "needed_columns"]


def estimated_bytes(source: Node, columns: tuple[str, ...] | None) -> int:
    """About how much the records of a source take in memory: of a read its own estimate, of anything else that of what it reads."""
    total = 0
    for node in topological((source,)):
        if isinstance(node, Read):
            size = getattr(node.source, "estimated_bytes", None)
            total += int(size(columns if node is source else None)) if size is not None else 0
    return total


def needed_columns(query: Query, index: int) -> tuple[str, ...] | None:
    """The columns of an input that a query uses, as far as the nodes above it tell; None for all."""
    given = next((n for n in topological((query.root,)) if isinstance(n, Given) and n.index == index), None)
    if given is None or given.schema is None:
        return None
    mentioned: set[str] = set()
    for node in topological((query.root,)):
        if isinstance(node, Project):
            if any(isinstance(one, AllColumns) for expr in node.exprs for one in walk(expr)):
                return None
            mentioned.update(name for expr in node.exprs for name in columns_of(expr))
            if node.keep and node is query.root:
                return None
        elif isinstance(node, Where):
            mentioned.update(columns_of(node.predicate))
        elif isinstance(node, GroupAggregate):
            mentioned.update(name for expr in (*node.keys, *node.aggs) for name in columns_of(expr))
        elif isinstance(node, Join):
            both = (*node.left_on, *node.right_on, *((node.residual,) if node.residual is not None else ()))
            mentioned.update(name for expr in both for name in columns_of(expr))
            suffix = node.suffix
            mentioned.update(name.removesuffix(suffix) for name in list(mentioned))
        elif isinstance(node, OrderBy):
            mentioned.update(name for key in node.keys for name in columns_of(key.expr))
        elif isinstance(node, (Distinct, Explode, Unnest)):
            if node.columns is None:
                return None
            mentioned.update(node.columns)
        elif isinstance(node, (AsOfJoin, Unpivot, Union)):
            return None
    root = query.root
    while isinstance(root, (Where, OrderBy, Limit)):  # these let everything through
        child = root.inputs[0]
        assert isinstance(child, Relation)
        root = child
    if not isinstance(root, (GroupAggregate, Project)):
        return None
    return tuple(name for name in given.schema if name in mentioned)
