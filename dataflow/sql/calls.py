"""Calls of functions: those of the table in `functions`, and those whose arguments SQL counts or orders otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Call, Column, ExprNode, Literal
from dataflow.expr.types import INT64
from dataflow.sql.errors import refuse
from dataflow.sql.functions import BY_NAME, FUNCTIONS, Function
from dataflow.sql.texts import on_text

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["call", "written"]


def call(of: Expressions, node: exp.Expr) -> ExprNode:
    found: Function | None
    if isinstance(node, exp.Anonymous):
        name = str(node.this)
        found = BY_NAME.get(name.lower())
        parts: dict[str, Any] = {str(place): one for place, one in enumerate(node.expressions)}
    else:
        found, parts = FUNCTIONS.get(type(node)), node.args
        name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    if (special := on_text(of, node) or _special(of, node)) is not None:
        return special
    name = written(of, node, name)
    if found is None:
        refuse(node, f"{name} is not supported in SQL here", "compute the column before with with_columns(), or after")
    taken = {*found.args, *(key for _, key in found.options)}
    for key, one in parts.items():
        if key not in taken and isinstance(one, exp.Expr) and not isinstance(one, exp.Boolean):
            refuse(one, f"{name} takes no such argument here")
    args: list[ExprNode] = []
    for key in found.args:
        given = parts.get(key)
        if given is None and key not in ("expressions",):
            refuse(node, f"{name} lacks an argument")
        args += map(of.expr, given if isinstance(given, list) else [given] if given is not None else [])
    options = tuple((option, of.constant(parts.get(key), f"{option} of {name}")) for option, key in found.options)
    return Call(found.operation, tuple(args), (*options, *found.fixed))


def written(of: Expressions, node: exp.Expr, name: str) -> str:
    """A function's name as the text has it: the parser has its own for many."""
    if "start" in node.meta:
        word = of.build.text[node.meta["start"] : node.meta["end"] + 1]
        if word.isidentifier():
            return word.lower()
    return name.lower()


def _special(of: Expressions, node: exp.Expr) -> ExprNode | None:
    """Functions whose arguments are counted or ordered otherwise in SQL."""
    match node:
        case exp.Round():
            return Call("round", (of.expr(node.this),), (("decimals", of.constant(node.args.get("decimals"), "round's digits") or 0),))
        case exp.Trunc():
            return Call("truncate", (of.expr(node.this),), (("decimals", of.constant(node.args.get("decimals"), "trunc's digits") or 0),))
        case exp.Log():
            if node.expression is None:
                return Call("log", (of.expr(node.this),), (("base", 10.0),))
            base, value = float(of.constant(node.this, "log's base")), of.expr(node.expression)
            if base in (2, 10) or base <= 0:
                return Call("log", (value,), (("base", base),))
            return Call("divide", (Call("log10", (value,)), Literal(math.log10(base))))  # as DuckDB, for which log(3, 243) is 5
        case exp.Grouping() | exp.GroupingId():
            args = tuple(map(of.expr, node.expressions))
            known = next((name for name, given in of.groupings.items() if given == args), None)
            name = known or of.build.fresh("grouping", INT64)
            of.groupings[name] = args
            of.places[Column(name)] = node
            return Column(name)
        case exp.BitwiseLeftShift():
            return refuse(node, "<< is not supported in SQL here", "x * 8 for x << 3")
        case exp.BitwiseRightShift():
            return refuse(node, ">> is not supported in SQL here", "floor(x / 8) for x >> 3")
        case exp.Explode() | exp.Unnest():
            return refuse(node, "unnest stands alone in SELECT, or in FROM", "SELECT u.v + 1 FROM t, unnest(t.items) u(v)")
        case exp.Placeholder() | exp.Parameter():
            return refuse(node, "there is no value for this placeholder", "put the value into the text, or join a table that holds it")
        case exp.Collate():
            return refuse(node, "COLLATE is not supported", "lower(name) compares without case")
        case exp.Star():
            return refuse(node, "* stands for many columns, and one value is needed here", "name the column, or count(*)")
        case exp.Tuple():
            return refuse(node, "a row of values is only understood beside = or IN", "(a, b) IN (SELECT …)")
        case _:
            return None
