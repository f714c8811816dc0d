"""Partition queries: a query whose inputs do not fit the memory is cut into pieces that do, at its joins, groupings and sorts.

    Query [order, aggregate, join, where a | where b]
       ──>  a ─> do where ─┐
                           ├─> Exchange by key [join] ─> do partial aggregate ─> Exchange by key [aggregate] ─> Sort
            b ─> do where ─┘

Here it is decided which are cut; how, in `dataflow.optimizer.cutter`.
"""

from __future__ import annotations

from itertools import count

from dataflow.expr.nodes import has_window
from dataflow.optimizer.estimates import estimated_bytes, needed_columns
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Node, Query, Relation
from dataflow.plan.relational import Project, Where, expressions_of
from dataflow.plan.traversal import rewrite, topological

__all__ = ["partition_queries"]

WHOLE_SHARE = 0.4  # of the memory may be a query's input; a join or a sort holds it about twice


def partition_queries(plan: Plan, remarks: Remarks, *, memory: int, placement: str = "auto") -> Plan:
    """Cut every query that is too large for the kernel to take whole. ``placement``: "auto", "whole" or "partitioned" for all."""

    labels = count(1)

    def place(node: Node) -> Node:
        if not isinstance(node, Query) or placement == "whole":
            return node
        size = sum(map(estimated_bytes, node.sources, needed_columns(node)))
        if placement == "auto" and size <= memory * WHOLE_SHARE:
            remarks.say(f"whole: {node.label} reads about {size / 1e6:,.0f} MB, which fits the memory")
            return node
        if not _known(node):
            remarks.say(f"whole: {node.label}, because not all its columns are known before it runs")
            return node
        if _has_window_keys(node):
            remarks.say(f"whole: {node.label}, because a window is a key of it, which no part of the records tells")
            return node
        from dataflow.optimizer.cutter import cut  # seven modules, which a first query that goes whole need not wait for

        remarks.say(f"partitioned: {node.label} reads about {size / 1e6:,.0f} MB")
        return cut(node, memory, remarks, labels)

    return rewrite(plan, place)


def _known(node: Query) -> bool:
    return all(isinstance(one, Relation) and one.schema is not None for one in topological((node.root,)))


def _has_window_keys(node: Query) -> bool:
    others = (one for one in topological((node.root,)) if not isinstance(one, (Project, Where)))
    return any(has_window(expr) for one in others for expr in expressions_of(one))
