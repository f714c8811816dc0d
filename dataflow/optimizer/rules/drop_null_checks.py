"""Drop null checks: of columns that hold no null, by their files, nobody asks whether they do.

    aggregate count(x) by k over table(x: no nulls)                             ──>   aggregate len() by k
    when(n > 0).then(s).otherwise(null) over aggregate len() as n by k          ──>   s
    where ~((rows > 0) & ((known < rows) | x.is_null())), the check of NOT IN   ──>   where ~((rows > 0) & (false | false))

SQL asks much: a sum of nothing is null, so that every sum comes with a count, and x NOT IN (…) is null if a null is on either side. Here
the answers are put in place of the questions; `simplify_expressions` makes them shorter, and `prune_columns` drops what nobody reads then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow.expr.nodes import Aggregate, Alias, Call, Column, ExprNode, Literal, has_window, name_of, transform
from dataflow.expr.types import Schema
from dataflow.expr.typing import type_of
from dataflow.optimizer.never_null import Sure, holds, never_null, sure_of
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Node
from dataflow.plan.relational import GroupAggregate, Project, Where
from dataflow.plan.traversal import topological

__all__ = ["drop_null_checks"]


def drop_null_checks(plan: Plan, remarks: Remarks) -> Plan:
    """Answer what expressions ask about nulls, where files do."""
    new: dict[int, Node] = {}
    sure: dict[int, Sure] = {}
    for node in topological(plan):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        given = [sure[id(child)] for child in node.inputs]
        below = getattr(node.inputs[0], "schema", None) if isinstance(node, (Project, Where, GroupAggregate)) else None
        if isinstance(made, (Project, Where, GroupAggregate)) and below is not None:
            answered = _answered(made, given[0], below)
            if answered is not made:
                remarks.say(f"dropped: checks for null of {node.label}, as there are none")
                made = answered
        new[id(node)] = made
        sure[id(node)] = sure_of(made, given)
    return tuple(new[id(node)] for node in plan)


def _answered(node: Project | Where | GroupAggregate, sure: Sure, schema: Schema) -> Project | Where | GroupAggregate:
    """A node with the answers in its expressions; itself where there are none."""

    def on(expr: ExprNode) -> ExprNode:
        found = _told(expr, sure, schema, isinstance(node, GroupAggregate) and not has_window(expr))
        if found is expr or isinstance(expr, Alias) or isinstance(node, Where):
            return found
        return found if name_of(found) == name_of(expr) else Alias(found, name_of(expr))

    def all_of(exprs: tuple[ExprNode, ...], on: Callable[[ExprNode], ExprNode]) -> tuple[ExprNode, ...]:
        found = tuple(map(on, exprs))
        return found if any(a is not b for a, b in zip(found, exprs, strict=True)) else exprs

    match node:
        case Where(predicate=predicate):
            found = on(predicate)
            return node if found is predicate else replace(node, predicate=found)
        case Project(exprs=exprs):
            some = all_of(exprs, on)
            return node if some is exprs else replace(node, exprs=some)
        case GroupAggregate(keys=keys, aggs=aggs):
            by, some = all_of(keys, on), all_of(aggs, on)
            return node if by is keys and some is aggs else replace(node, keys=by, aggs=some)


def _told(expr: ExprNode, sure: Sure, schema: Schema, aggregates: bool) -> ExprNode:
    """An expression with the answers to what it asks."""

    def full(one: ExprNode) -> bool:
        return holds(never_null(one, sure, schema))

    def answer(one: ExprNode) -> ExprNode:
        match one:
            case Call("is_null" | "is_not_null" as operation, (arg,)) if full(arg):
                return Literal(operation == "is_not_null")
            case Call("greater", (Column(name), Literal(0))) if name in sure.counts:
                return Literal(True)
            case Call("less", (Column(a), Column(b))) if sure.same and a in sure.same and sure.same[a] is sure.same.get(b) and full(one):
                return Literal(False)
            case Aggregate("count", (arg,), None, (), ()) if aggregates and full(arg):
                return Aggregate("len")
            case _:
                return one

    found = transform(expr, answer)
    return found if found is not expr and type_of(found, schema) == type_of(expr, schema) else expr
