"""Calls of functions: those of the table in `functions`, and those whose arguments SQL counts or orders otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Call, Column, ExprNode, Literal
from dataflow.expr.operations import OPERATIONS
from dataflow.expr.types import INT64
from dataflow.sql.errors import refuse
from dataflow.sql.functions import BY_NAME, FUNCTIONS, Function

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["call"]


def call(of: Expressions, node: exp.Expr) -> ExprNode:
    found: Function | None
    if isinstance(node, exp.Anonymous):
        name = str(node.this)
        found = BY_NAME.get(name.lower())
        parts: dict[str, Any] = {str(place): one for place, one in enumerate(node.expressions)}
    else:
        found, parts = FUNCTIONS.get(type(node)), node.args
        name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    if (special := _special(of, node)) is not None:
        return special
    if found is None or found.operation not in OPERATIONS:
        refuse(node, f"{name.lower()} is not supported in SQL here", "compute the column before with with_columns(), or after")
    args: list[ExprNode] = []
    for key in found.args:
        given = parts.get(key)
        if given is None and key not in ("expressions",):
            refuse(node, f"{name.lower()} lacks an argument")
        args += map(of.expr, given if isinstance(given, list) else [given] if given is not None else [])
    options = tuple((option, of.constant(parts.get(key), f"{option} of {name.lower()}")) for option, key in found.options)
    return Call(found.operation, tuple(args), (*options, *found.fixed))


def _special(of: Expressions, node: exp.Expr) -> ExprNode | None:
    """Functions whose arguments are counted or ordered otherwise in SQL."""
    match node:
        case exp.Substring():
            start, length = (
                of.constant(node.args.get("start"), "substring's start"),
                of.constant(node.args.get("length"), "substring's length"),
            )
            return _slice(of.expr(node.this), 1 if start is None else start, length, node)
        case exp.Left():
            return _slice(of.expr(node.this), 1, of.constant(node.expression, "left's length"), node)
        case exp.Right():
            count = of.constant(node.expression, "right's length")
            if type(count) is not int or count < 0:
                refuse(node, "right takes a whole number that is not negative")
            return Call("str.slice", (of.expr(node.this),), (("offset", -count), ("length", None))) if count else Literal("")
        case exp.Trim():
            position = str(node.args.get("position") or "BOTH").upper()
            which = {"LEADING": "str.strip_chars_start", "TRAILING": "str.strip_chars_end"}.get(position, "str.strip_chars")
            characters = of.constant(node.args.get("expression"), "the characters of trim")
            return Call(which, (of.expr(node.this),), (("characters", " " if characters is None else characters),))
        case exp.Round():
            return Call("round", (of.expr(node.this),), (("decimals", of.constant(node.args.get("decimals"), "round's digits") or 0),))
        case exp.Log():
            if node.expression is None:
                return Call("log", (of.expr(node.this),), (("base", 10.0),))
            return Call("log", (of.expr(node.expression),), (("base", float(of.constant(node.this, "log's base"))),))
        case exp.RegexpExtract():
            pattern, group = of.constant(node.expression, "the pattern"), of.constant(node.args.get("group"), "the group")
            return Call("str.extract", (of.expr(node.this),), (("pattern", pattern), ("group", group or 0)))
        case exp.RegexpReplace():
            pattern, value = (
                of.constant(node.expression, "the pattern"),
                of.constant(node.args.get("replacement"), "the replacement"),
            )
            every = "g" in str(of.constant(node.args.get("modifiers"), "the modifiers") or "")
            options = (("pattern", pattern), ("value", value), ("literal", False))
            return Call("str.replace_all" if every else "str.replace", (of.expr(node.this),), options)
        case exp.Length():
            value = of.expr(node.this)
            return Call("list.len" if of.type(value).name in ("list", "array") else "str.len_chars", (value,))
        case exp.Array():
            items = [of.expr(one) for one in node.expressions]
            if not all(isinstance(one, Literal) for one in items):
                refuse(node, "a list of columns is not supported", "a list of constants is")
            return Literal([one.value for one in items if isinstance(one, Literal)])
        case exp.Grouping() | exp.GroupingId():
            args = tuple(map(of.expr, node.expressions))
            known = next((name for name, given in of.groupings.items() if given == args), None)
            name = known or of.build.fresh("grouping", INT64)
            of.groupings[name] = args
            of.places[Column(name)] = node
            return Column(name)
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


def _slice(value: ExprNode, start: Any, length: Any, node: exp.Expr) -> ExprNode:
    """SUBSTRING counts from 1; what lies before the text is cut off its length."""
    if start is None or not isinstance(start, int) or (length is not None and (not isinstance(length, int) or length < 0)):
        refuse(node, "substring takes whole numbers, and a length that is not negative")
    if start < 0:
        return Call("str.slice", (value,), (("offset", start), ("length", length)))
    if start == 0 and length is not None:
        length = max(0, length - 1)
    return Call("str.slice", (value,), (("offset", max(0, start - 1)), ("length", length)))
