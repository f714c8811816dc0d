"""Simplify expressions: conditions become those that other rules and the scan of a file can use.

    ~(x > 1)                        ──>   x <= 1
    (a & b) | (a & c)               ──>   a & (b | c)
    x & true,  x | x                ──>   x
    '1995-03-15'.cast('date')       ──>   the date
    x.is_in(5)                      ──>   x == 5
    when(true).then(a), ~false      ──>   a, true

Every rewriting keeps the value for null and NaN too (in an order where NaN is the largest number ``~(x > 1)`` is ``x <= 1``), and
the type: a literal number takes the type of what it meets, so arithmetic on literals is left to the kernel.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from dataflow.expr.nodes import Call, Case, Cast, ExprNode, Literal, SortKey, transform
from dataflow.expr.types import BOOL, DATE, Schema
from dataflow.expr.typing import ExprError, is_loose, type_of
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, OrderBy, Project, Where
from dataflow.plan.traversal import rewrite

__all__ = ["simplified", "simplify_expressions"]

_OPPOSITE = {
    "equal": "not_equal", "not_equal": "equal", "less": "greater_equal", "greater_equal": "less", "greater": "less_equal",
    "less_equal": "greater", "equal_missing": "not_equal_missing", "not_equal_missing": "equal_missing", "is_null": "is_not_null",
    "is_not_null": "is_null",
}  # fmt: skip


def simplify_expressions(plan: Plan, remarks: Remarks) -> Plan:
    """Simplify the expressions of every relational node; a filter that lets everything through goes."""

    def simplify(node: Node) -> Node:
        if not isinstance(node, (Project, Where, GroupAggregate, OrderBy, Join)):
            return node
        schemas = [child.schema for child in node.inputs if isinstance(child, Relation)]
        if len(schemas) != len(node.inputs) or any(schema is None for schema in schemas):
            return node
        first: Schema = schemas[0] or {}

        def on(expr: ExprNode) -> ExprNode:
            return simplified(expr, first)

        match node:
            case Where(input=below, predicate=predicate):
                new = on(predicate)
                if new == Literal(True):
                    remarks.say(f"dropped: {node.label} lets everything through")
                    return below
                return node if new == predicate else replace(node, predicate=new)
            case Project(exprs=exprs):
                return replace(node, exprs=tuple(map(on, exprs)))
            case GroupAggregate(keys=keys, aggs=aggs):
                return replace(node, keys=tuple(map(on, keys)), aggs=tuple(map(on, aggs)))
            case OrderBy(keys=order):
                return replace(node, keys=tuple(SortKey(on(key.expr), key.descending, key.nulls_last) for key in order))
            case _:
                return node

    return rewrite(plan, simplify)


def simplified(expr: ExprNode, schema: Schema) -> ExprNode:
    """An expression of the same value and type, simpler where it can be."""
    try:
        kind = type_of(expr, schema)
        new = transform(expr, lambda one: _as_it_was(one, _simpler(one), schema))
        return new if type_of(new, schema) == kind else expr
    except ExprError:  # `all()` stands in it, whose columns are not one by one here
        return expr


def _as_it_was(node: ExprNode, found: ExprNode, schema: Schema) -> ExprNode:
    """What a node became, of the node's type: a branch that is left over may have another, or, as a number, that of what it meets."""
    if found is node or not isinstance(node, (Case, Call)) or (isinstance(node, Call) and node.operation != "coalesce"):
        return found
    kind = type_of(node, schema)
    return Cast(found, kind) if is_loose(found) or type_of(found, schema) != kind else found


def _simpler(node: ExprNode) -> ExprNode:
    match node:
        case Call("not", (Call("not", (inner,)),)):
            return inner
        case Call("not", (Literal(bool() as value),)):
            return Literal(not value)
        case Call("not", (Call(operation, args, options),)) if operation in _OPPOSITE:
            return Call(_OPPOSITE[operation], args, options)
        case Call("and", args):
            return _chain("and", args, True)
        case Call("or", args):
            return _factored(_chain("or", args, False))
        case Call("is_in", (value, Literal() as one)) if one.value is not None:
            return Call("equal", (value, one))
        case Call("coalesce", (only,)):
            return only
        case Case(branches, otherwise):
            return _cases(node, branches, otherwise)
        case Cast(Literal(str() as text), to) if to == DATE:
            return _date(text, node)
        case Cast(Cast(_, first) as inner, to) if first == to:
            return inner
        case _:
            return node


def _cases(node: Case, branches: tuple[tuple[ExprNode, ExprNode], ...], otherwise: ExprNode) -> ExprNode:
    """Without the branches that are never taken, and those behind one that always is."""
    left = [(condition, value) for condition, value in branches if condition not in (Literal(False), Literal(None), Literal(None, BOOL))]
    always = next((at for at, (condition, _) in enumerate(left) if condition == Literal(True)), None)
    if always is not None:
        left, otherwise = left[:always], left[always][1]
    if not left:
        return otherwise
    return node if len(left) == len(branches) and otherwise is node.otherwise else Case(tuple(left), otherwise)


def _date(text: str, node: ExprNode) -> ExprNode:
    """The date of a text in the one form that means the same everywhere; any other is left to fail, or not, where it runs."""
    try:
        return Literal(dt.date.fromisoformat(text)) if len(text) == 10 and text[4] == text[7] == "-" else node
    except ValueError:
        return node


def _parts(operation: str, args: tuple[ExprNode, ...]) -> list[ExprNode]:
    """The operands of nested calls of one operation, each once."""
    found: dict[ExprNode, None] = {}
    for arg in args:
        inner = _parts(operation, arg.args) if isinstance(arg, Call) and arg.operation == operation else [arg]
        found.update(dict.fromkeys(inner))
    return list(found)


def _chain(operation: str, args: tuple[ExprNode, ...], neutral: bool) -> ExprNode:
    """and, or without operands that change nothing; the one operand that decides alone (false, true) if it is there."""
    parts = [part for part in _parts(operation, args) if part != Literal(neutral)]
    if Literal(not neutral) in parts:
        return Literal(not neutral)
    if not parts:
        return Literal(neutral)
    return parts[0] if len(parts) == 1 else Call(operation, tuple(parts))


def _factored(node: ExprNode) -> ExprNode:
    """Conditions that stand in every branch of an or, before it: they can be pushed down, and be keys of joins."""
    if not isinstance(node, Call) or node.operation != "or":
        return node
    branches = [_parts("and", (arg,)) for arg in node.args]
    common = [part for part in branches[0] if all(part in branch for branch in branches[1:])]
    if not common:
        return node
    rests = [_chain("and", tuple(part for part in branch if part not in common), True) for branch in branches]
    return _chain("and", (*common, _chain("or", tuple(rests), False)), True)
