"""Delay partners: whether a record has a partner is asked after the joins that leave fewer records than the question does.

    join(anti(A, R), B)  on B few   ──>   anti(join(A, B), R)             so, too, for semi joins, and on the right side

SQL's IN and NOT IN stand where their column comes from; like conditions, what leaves fewest should come first.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.expr.nodes import columns_of
from dataflow.optimizer.estimates import columns_that_matter, estimates
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import schema_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join
from dataflow.plan.traversal import consumers, topological

__all__ = ["delay_partners"]

GAIN = 0.8  # of the records that the question leaves the join may leave at most


def delay_partners(plan: Plan, remarks: Remarks) -> Plan:
    """Put semi and anti joins above the inner joins that leave less."""
    order = topological(plan)
    if not any(_asks(child) for node in order if isinstance(node, Join) and node.how == "inner" for child in node.inputs):
        return plan
    known = estimates(order, columns_that_matter(order))
    rows = {id(node): known[id(node)].rows for node in order if id(node) in known}
    shared = {key for key, readers in consumers(plan).items() if len(readers) > 1}
    new: dict[int, Node] = {}
    for node in order:
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Join) and isinstance(node, Join) and made.how == "inner":
            for side, before in (("left", node.left), ("right", node.right)):
                if id(before) in shared or not rows.keys() >= {id(before), id(node)} or (delayed := _delayed(made, side)) is None:
                    continue
                first = rows.get(id(delayed.left.inputs[0 if side == "left" else 1]))
                if first is None or not rows[id(before)]:
                    continue
                left = rows[id(node)] * first / rows[id(before)]  # by the join, of all
                if left < GAIN * rows[id(before)]:
                    remarks.say(f"delayed: {delayed.label} until {node.label} has left about {left:,.0f} of {first:,.0f} records")
                    made, rows[id(delayed.left)] = delayed, left
                    break
        new[id(node)] = made
        if id(node) in rows:
            rows[id(made)] = rows[id(node)]
    return tuple(new[id(node)] for node in plan)


def _asks(node: Node) -> bool:
    return isinstance(node, Join) and node.how in ("semi", "anti")


def _delayed(node: Join, side: str) -> Join | None:
    """The question on one side of a join above it; None where there is none, or its columns are called otherwise there."""
    asked, other = (node.left, node.right) if side == "left" else (node.right, node.left)
    if not isinstance(asked, Join) or not _asks(asked) or not isinstance(asked.left, Relation) or not isinstance(asked.right, Relation):
        return None
    if not isinstance(other, Relation) or None in (node.schema, asked.left.schema, asked.right.schema, other.schema):
        return None
    ours, whole = asked.left.schema or {}, node.schema or {}
    names = {name for key in asked.left_on for name in columns_of(key)}
    if asked.residual is not None:
        used = set(columns_of(asked.residual))
        names |= used & ours.keys()
        if not (used - ours.keys()).isdisjoint(whole):
            return None
    if not names <= whole.keys() or (side == "right" and not names.isdisjoint(other.schema or {})):
        return None
    joined = replace(node, left=asked.left) if side == "left" else replace(node, right=asked.left)
    schemas = (ours, other.schema) if side == "left" else (other.schema, ours)
    return replace(asked, left=joined, schema=node.schema) if schema_of(joined, schemas) == node.schema else None
