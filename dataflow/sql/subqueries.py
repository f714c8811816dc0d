"""Subqueries in expressions: noted while the expression is translated, joined when the query knows where.

EXISTS, IN in a condition of their own   ->  semi join        NOT EXISTS  ->  anti join
NOT IN, x > ALL …                        ->  anti join, and none of the comparisons null
the same inside of another expression    ->  mark join: a bool column (null where a comparison was null)
(SELECT …) as a value                    ->  grouped by the outer columns it reads, and left joined
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dataflow.expr.nodes import Call, Column, ExprNode
from dataflow.expr.types import BOOL
from dataflow.expr.typing import ExprError
from dataflow.plan.nodes import Node
from dataflow.record import record
from dataflow.sql.errors import refuse
from dataflow.sql.trees import both

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["Pending", "Planned", "exists", "member", "quantified", "scalar"]


@record(eq=True)
class Planned:
    """A translated query: its node, and its columns as (name in the text, unique name), in order.

    ``one_row``: it has exactly one row, as an aggregate without GROUP BY. ``hidden``: sort keys that are no column of the result.
    """

    node: Node
    columns: tuple[tuple[str, str], ...]
    one_row: bool = False


@dataclass(slots=True)
class Pending:
    """A subquery that an expression needs. Its value is the column ``name``, once joined.

    ``pairs``: (outer expression, subquery's column) that must be equal; ``test``: their comparison where it is another one.
    ``negated``: the value is NOT of what is found (x > ALL q is NOT (x <= ANY q)). ``done``: the value, once it is joined.
    """

    kind: str  # "scalar", "exists", "any"
    planned: Planned
    name: str
    node: exp.Expr
    operands: tuple[ExprNode, ...] = ()
    test: ExprNode | None = None
    equality: bool = False
    negated: bool = False
    done: ExprNode | None = None


def _note(of: Expressions, pending: Pending) -> ExprNode:
    of.pending[pending.name] = pending
    return Column(pending.name)


def unwrapped(node: exp.Expr) -> exp.Expr:
    """The query inside of brackets."""
    while isinstance(node, (exp.Subquery, exp.Paren)) and not (isinstance(node, exp.Subquery) and _says_more(node)):
        node = node.this
    return node


def _says_more(node: exp.Subquery) -> bool:
    return any(node.args.get(key) for key in ("with_", "order", "limit", "offset"))


def scalar(of: Expressions, node: exp.Expr) -> ExprNode:
    """(SELECT max(x) FROM t): a value; null if there is no row."""
    planned = of.plan(unwrapped(node), of.scope)
    if len(planned.columns) != 1:
        refuse(node, f"a subquery used as a value has one column, and this has {len(planned.columns)}", "select one column, or use EXISTS")
    kind = of.build.types[planned.columns[0][1]]
    return _note(of, Pending("scalar", planned, of.build.fresh("subquery", kind), node))


def exists(of: Expressions, node: exp.Exists) -> ExprNode:
    query = unwrapped(node.this)
    if (
        isinstance(query, exp.Select)
        and query.expressions
        and not any(query.args.get(key) for key in ("group", "having", "distinct", "qualify", "limit", "offset"))
    ):
        if not any(one.find(exp.AggFunc, exp.Window) for one in query.expressions):
            query = query.copy()
            query.set("expressions", [exp.Literal.number(1)])  # which columns it selects does not matter
            query.set("order", None)
    planned = of.plan(query, of.scope)
    return _note(of, Pending("exists", planned, of.build.fresh("exists", BOOL), node))


def member(of: Expressions, node: exp.In, query: exp.Expr) -> ExprNode:
    """x IN (SELECT y …) is x = ANY (SELECT y …)."""
    return _any(of, node.this, "equal", query, node)


_NOT = {
    "equal": "not_equal",
    "not_equal": "equal",
    "less": "greater_equal",
    "less_equal": "greater",
    "greater": "less_equal",
    "greater_equal": "less",
}


def quantified(of: Expressions, node: exp.Expr, side: exp.Expr) -> ExprNode:
    """x > ANY (SELECT …), x = ALL (SELECT …)."""
    from dataflow.sql.expressions import COMPARISONS

    operation = COMPARISONS[type(node)]
    query = unwrapped(side.this)
    if side is not node.expression or not isinstance(query, exp.Query) or operation not in _NOT:
        refuse(node, "ANY and ALL take a subquery on the right of a comparison", "x = ANY (SELECT …); for lists list_contains(items, x)")
    if isinstance(side, exp.All):
        return _any(of, node.this, _NOT[operation], query, node, negated=True)
    return _any(of, node.this, operation, query, node)


def _any(of: Expressions, left: exp.Expr, operation: str, query: exp.Expr, node: exp.Expr, negated: bool = False) -> ExprNode:
    given = list(left.expressions) if isinstance(left, exp.Tuple) else [left]
    operands = tuple(map(of.expr, given))
    planned = of.plan(unwrapped(query), of.scope)
    if len(planned.columns) != len(operands):
        refuse(node, f"{len(operands)} values are compared with {len(planned.columns)} columns", "the subquery selects as many columns")
    if len(operands) > 1 and operation != "equal":
        refuse(node, "rows are compared with a subquery by IN and = ANY only", "(a, b) IN (SELECT …)")
    tests: list[ExprNode] = [Call(operation, (one, Column(unique))) for one, (_, unique) in zip(operands, planned.columns)]
    for test in tests:
        try:
            of.build.type_of(test)
        except ExprError as error:
            refuse(node, "the types do not fit the subquery's: " + str(error).split(": ", 1)[-1], "CAST one side")
    name = of.build.fresh("in" if operation == "equal" else "any", BOOL)
    return _note(of, Pending("any", planned, name, node, operands, both(tests), operation == "equal", negated))
