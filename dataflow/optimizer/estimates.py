"""How much the inputs of a query take in memory, guessed from metadata before anything runs."""

from __future__ import annotations

from dataflow.expr.nodes import columns_of
from dataflow.plan.nodes import Node, Query, Read
from dataflow.plan.relational import Given, Project
from dataflow.plan.traversal import consumers, topological

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
    """The columns of an input that a query uses, None for all: those of the selects that `prune_columns` put over it."""
    readers = consumers((query.root,))
    for node in topological((query.root,)):
        if isinstance(node, Given) and node.index == index:
            above = readers[id(node)]
            if node.schema is None or not all(isinstance(one, Project) and not one.keep for one in above):
                return None
            used = {name for one in above if isinstance(one, Project) for expr in one.exprs for name in columns_of(expr)}
            return tuple(name for name in node.schema if name in used)
    return None
