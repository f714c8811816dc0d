"""Share conditions: what two filters of the same records both ask is asked once.

    where a over X,  where a & b over X   ──>   where a over X,  where b over it

A query and the subquery in it often ask the same of one table (TPC-H 22: the customers of some countries), which is then read and
filtered for both. Behind `push_filters`, when filters stand right above the tables.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from dataflow.expr.nodes import ExprNode
from dataflow.optimizer.conditions import conjunction, conjuncts, is_movable
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Where
from dataflow.plan.traversal import topological

__all__ = ["share_conditions"]


def share_conditions(plan: Plan, remarks: Remarks) -> Plan:
    """Put filters of the same input above each other, where one asks all that another does, and more."""
    order = topological(plan)
    above: dict[int, list[Where]] = defaultdict(list)
    for node in order:
        if isinstance(node, Where):
            above[id(node.input)].append(node)
    asked = {id(one): list(dict.fromkeys(conjuncts(one.predicate))) for filters in above.values() if len(filters) > 1 for one in filters}
    first = {id(one): other for filters in above.values() for one in filters if (other := _first(one, filters, asked)) is not None}
    if not first:
        return plan
    new: dict[int, Node] = {}
    for node in order:
        later: list[Where] = []
        while isinstance(node, Where) and id(node) not in new and id(node) in first:
            later.append(node)
            node = first[id(node)]
        if id(node) not in new:
            new[id(node)] = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        for one in reversed(later):
            below = first[id(one)]
            rest = [part for part in asked[id(one)] if part not in asked[id(below)]]
            remarks.say(f"shared: {one.label} chooses among what {below.label} has left")
            new[id(one)] = replace(one, input=new[id(below)], predicate=conjunction(rest))
    return tuple(new[id(node)] for node in plan)


def _first(node: Where, filters: list[Where], asked: dict[int, list[ExprNode]]) -> Where | None:
    """Of the filters of the same input that ask less, and nothing else, the one that asks most."""
    mine = asked.get(id(node), ())
    if not all(map(is_movable, mine)):
        return None
    less = [one for one in filters if len(asked.get(id(one), mine)) < len(mine) and all(part in mine for part in asked[id(one)])]
    return max(less, key=lambda one: len(asked[id(one)]), default=None)
