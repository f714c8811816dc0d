"""Text and lists put together: ||, concat, concat_ws, list_concat. They differ in what a null among the parts does.

||                      of text or of lists; null with a null
concat, list_concat     leave nulls out
concat_ws               leaves nulls out, with their separators
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dataflow.expr.nodes import Call, Cast, ExprNode, Literal
from dataflow.expr.types import NULL, STRING
from dataflow.sql.errors import refuse
from dataflow.sql.literals import as_text
from dataflow.sql.trees import chained

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["concatenated", "lists_concatenated"]


def concatenated(of: Expressions, node: exp.Expr) -> ExprNode:
    """The expression of ||, concat or concat_ws."""
    if isinstance(node, exp.DPipe):
        parts = [of.expr(one) for one in _operands(node)]
        if any(of.type(part).name in ("list", "array") for part in parts):
            return _lists(of, parts, node)
        return chained("str.concat", [_text(of, part) for part in parts])
    given = node.expressions
    if len(given) < (2 if isinstance(node, exp.ConcatWs) else 1):
        refuse(node, f"{node.key} needs more arguments")
    if isinstance(node, exp.ConcatWs):
        return _separated(of, given[0], [_text(of, of.expr(one)) for one in given[1:]])
    return chained("str.concat", [Call("coalesce", (_text(of, of.expr(one)), Literal(""))) for one in given])


def lists_concatenated(of: Expressions, node: exp.ArrayConcat) -> ExprNode:
    """list_concat."""
    parts = [of.expr(one) for one in (node.this, *node.expressions)]
    known = [(part, kind) for part in parts if (kind := of.type(part)) != NULL and part != Literal(None, kind)]
    filled = [part if isinstance(part, Literal) else Call("coalesce", (part, Literal([], kind))) for part, kind in known]
    return Call("list.concat", tuple(filled)) if filled else Literal(None)


def _operands(node: exp.DPipe) -> list[exp.Expr]:
    """Those of a chain of ||, which may be a thousand long."""
    found: list[exp.Expr] = []
    stack: list[exp.Expr] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, exp.DPipe):
            stack.extend((one.expression, one.this))
        else:
            found.append(one)
    return found


def _lists(of: Expressions, parts: list[ExprNode], node: exp.Expr) -> ExprNode:
    kinds = [of.type(part) for part in parts]
    wrong = next((kind for kind in kinds if kind.name not in ("list", "array", "null")), None)
    if wrong is not None:
        refuse(node, f"a list is put together with a list, not with {wrong}", "items || [x]")
    return Literal(None, kinds[0]) if NULL in kinds else Call("list.concat", tuple(parts))


def _separated(of: Expressions, separator: exp.Expr, parts: list[ExprNode]) -> ExprNode:
    """Without a separator it is null."""
    between = of.constant(separator, "the separator of concat_ws")
    known = tuple(part for part in parts if of.type(part) != NULL)
    if between is None or not known:
        return Literal(None, STRING) if between is None else Literal("")
    return Call("concat_str", known, (("separator", as_text(between)), ("ignore_nulls", True)))


def _text(of: Expressions, found: ExprNode) -> ExprNode:
    if isinstance(found, Literal) and found.value is not None:
        return Literal(as_text(found.value))
    return found if of.type(found) in (STRING, NULL) else Cast(found, STRING)
