"""Gather queries: relational nodes that stand together become one query for the kernel.

    read ─> where ─┐                          read ─┐
                   ├─> join ─> order ─> sink   ──>   ├─> Query [where, join, order] ─> sink
    map f ─────────┘                          map f ─> View ─┘

A tree ends above where something else than a relational node makes its input, or where a relational node has other readers
too: its records are then made once and kept.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Query, Read, Relation, View
from dataflow.plan.traversal import consumers, topological


def gather_queries(plan: Plan, remarks: Remarks) -> Plan:
    """Replace every maximal tree of relational nodes by a `Query`."""
    readers = consumers(plan)
    new: dict[int, Node] = {}

    def ends_here(node: Node) -> bool:
        return any(not isinstance(reader, Relation) for reader in readers[id(node)]) or any(node is out for out in plan)

    for node in topological(plan):
        if not isinstance(node, Relation):
            new[id(node)] = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        elif ends_here(node):
            # a table whose records are all that is asked for needs no query
            new[id(node)] = new[id(node.inputs[0])] if _is_table(node) else _query(node, ends_here, new, remarks)
    return tuple(new[id(node)] for node in plan)


def _query(root: Relation, ends_here: Callable[[Node], bool], new: dict[int, Node], remarks: Remarks) -> Query:
    from dataflow.plan.relational import Given, Table  # a plan without columns does without its module

    sources: list[Node] = []
    inside: dict[int, Node] = {}
    names: list[str] = []
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if id(node) in inside:
            continue
        if isinstance(node, Table) or (node is not root and (not isinstance(node, Relation) or ends_here(node))):
            schema = node.schema if isinstance(node, Relation) else None
            below = node.input if isinstance(node, Table) else node
            inside[id(node)] = Given(
                label=inner_label(root.label, "input", len(sources)), origin=node.origin, schema=schema, index=len(sources)
            )
            sources.append(_source(below, new[id(below)], root, len(sources)))
        elif ready:
            names.append(node.label)
            inside[id(node)] = node.with_inputs(tuple(inside[id(child)] for child in node.inputs))
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.inputs))
    if len(names) > 1:
        remarks.say(f"gathered: {', '.join(names)} (one query)")
    top = inside[id(root)]
    assert isinstance(top, Relation)
    return Query(label=root.label, origin=root.origin, element=root.element, root=top, sources=tuple(sources))


def _is_table(node: Relation) -> bool:
    from dataflow.plan.relational import Table

    return isinstance(node, Table)


def _source(node: Node, made: Node, root: Relation, index: int) -> Node:
    """What the kernel scans itself, or the kept records of anything else: also of a source that passes over what it cannot read, since
    a phase that reads it counts that."""
    if isinstance(made, Read) and getattr(made.source, "has_columns", False) and not getattr(made.source, "skip_bad", False):
        return made
    return View(label=inner_label(root.label, "given", index), origin=node.origin, input=made, kind="records")
