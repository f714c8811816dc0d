"""Share what is the same by other names: joins and groupings that differ only in what their columns are called.

    join(T as a, U as b) ─> sum          join(T as a, U as b) ─┬─> sum
    join(T as c, U as d) ─> avg   ──>                          └─> select (a.x as c.x, …) ─> avg

SQL names the tables of a subquery anew. Behind `push_filters`, so that two joins which different conditions go into stay two; before
columns are pruned, which would make two of what is read differently. What is shared is kept until both have read it, so it is done where
that is much less than what it is made from.
"""

from __future__ import annotations

from dataflow.expr.nodes import Alias, Column
from dataflow.optimizer.estimates import columns_that_matter, estimates
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.optimizer.shapes import Shapes
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, Project, Where
from dataflow.plan.traversal import topological

__all__ = ["share_renamed"]

LESS = 0.5  # of the records that it is made from, what is kept may be at most


def share_renamed(plan: Plan, remarks: Remarks) -> Plan:
    """Put a select over the first of a shape in the place of the others."""
    shapes = Shapes()
    firsts: dict[int, tuple[Node, Relation]] = {}  # of a shape: the first as it was, and as it is
    new: dict[int, Node] = {}
    small: dict[int, bool] = {}
    for node in topological(plan):
        made = new[id(node)] = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if not isinstance(made, Relation):
            continue
        shape = shapes.of(made)
        if not shape.made or not isinstance(made, (Join, GroupAggregate, Where)):
            continue
        before, first = firsts.setdefault(shape.number, (node, made))
        if first is not made and (found := _renamed(made, first, shapes)) is not None:
            small = small or _small(plan)
            if small.get(id(before)):
                remarks.say(f"shared: {node.label} is {before.label} by other names")
                new[id(node)] = found
    return tuple(new[id(node)] for node in plan)


def _renamed(node: Relation, first: Relation, shapes: Shapes) -> Relation | None:
    """The records of a node from another of its shape; None if that has not all of its columns."""
    names = {word: name for name, word in shapes.of(first).words.items()}
    words = shapes.of(node).words
    if not set(words.values()) <= set(names):
        return None
    if all(names[words[name]] == name for name in words) and list(words) == list(first.schema or ()):
        return first
    exprs = tuple(Column(old) if (old := names[words[name]]) == name else Alias(Column(old), name) for name in node.schema or ())
    label = inner_label(node.label, "renamed")
    return Project(label=label, origin=node.origin, element=node.element, schema=node.schema, input=first, exprs=exprs)


def _small(plan: Plan) -> dict[int, bool]:
    """Of each node, by its id, whether it is known to give much fewer records than are read for it."""
    order = topological(plan)
    known = estimates(order, columns_that_matter(order))
    read: dict[int, float] = {}
    for node in order:
        below = [read[id(child)] for child in node.inputs if isinstance(node, Relation) and isinstance(child, Relation)]
        rows = known[id(node)].rows if id(node) in known else 0.0
        read[id(node)] = sum(below) if below else rows
    return {id(node): id(node) in known and known[id(node)].rows <= LESS * read[id(node)] for node in order}
