"""OVER (PARTITION BY … ORDER BY … ROWS …) -> `Window`, with the names of a WINDOW clause put in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Aggregate, ExprNode, Frame, Literal, Ranking, SortKey, Window
from dataflow.sql import aggregates, literals
from dataflow.sql.errors import did_you_mean, refuse
from dataflow.sql.functions import RANKINGS
from dataflow.sql.trees import rewritten

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["window"]

_NO_ORDER = (SortKey(Literal(0), False, True),)  # rankings need an order; without one any will do


def window(of: Expressions, node: exp.Window) -> ExprNode:
    """A window call; a function made of several aggregates (sum, with its count) becomes several windows of one shape."""
    partition, order, spec = _clauses(of, node)
    keys = tuple(aggregates.sort_key(of, one) for one in order)
    by = tuple(of.expr(one) for one in partition)
    frame = _frame(of, spec, node) if spec is not None else None
    ranking = _ranking(of, node.this)
    if ranking is not None:
        return Window(ranking, by, keys or _NO_ORDER)
    function = aggregates.aggregate(of, node.this)
    if function is None:
        refuse(node, f"{node.this.sql()[:40]} is no window function", "row_number(), rank(), lag(x), sum(x), …")
    if frame is not None and frame.unit == "range" and (frame.start, frame.end) not in ((None, 0), (None, None)) and len(keys) != 1:
        refuse(node, "RANGE with a distance takes one ORDER BY key", "ROWS counts rows instead")
    return rewritten(function, lambda one: Window(one, by, keys, frame) if isinstance(one, Aggregate) else None)


def _clauses(of: Expressions, node: exp.Window) -> tuple[list[exp.Expr], list[exp.Expr], exp.Expr | None]:
    """Partition, order and frame; what is not said here comes from the named window."""
    partition = list(node.args.get("partition_by") or [])
    order = list(node.args["order"].expressions) if node.args.get("order") is not None else []
    spec = node.args.get("spec")
    name = node.args.get("alias")
    if name is not None:
        named = of.windows.get(name.name.lower())
        if named is None:
            refuse(node, f"there is no window {name.name!r}", did_you_mean(name.name, of.windows, "windows"))
        if named is node:
            refuse(node, f"window {name.name!r} is defined by itself")
        above = _clauses(of, named)
        partition, order, spec = partition or above[0], order or above[1], spec or above[2]
    return partition, order, spec


def _ranking(of: Expressions, node: exp.Expr) -> Ranking | None:
    if isinstance(node, exp.IgnoreNulls) and type(node.this) in RANKINGS:
        refuse(node, "IGNORE NULLS is not supported here", "leave nulls out with WHERE in a subquery")
    if isinstance(node, exp.RespectNulls):
        node = node.this
    if isinstance(node, exp.NthValue):
        refuse(node, "nth_value is not supported", "row_number() in a subquery, and WHERE rn = 2 around it")
    function = RANKINGS.get(type(node))
    if function is None:
        return None
    if function == "ntile":
        return Ranking(function, (), (("n", _positive(of, node.this, node)),))
    if function not in ("lag", "lead"):
        return Ranking(function)
    value, default = of.expr(node.this), node.args.get("default")
    count = node.args.get("offset")
    n = of.constant(count, "the distance of lag") if count is not None else 1
    if not isinstance(n, int):
        refuse(node, "the distance of lag and lead is a whole number")
    if n < 0:
        function, n = ("lead" if function == "lag" else "lag"), -n
    args = (value,) if default is None else (value, of.expr(default))
    return Ranking(function, args, (("n", n),))


def _positive(of: Expressions, value: exp.Expr | None, node: exp.Expr) -> int:
    n = of.constant(value, "the number of ntile")
    if not isinstance(n, int) or n < 1:
        refuse(node, "ntile takes a whole number of at least 1")
    return n


def _frame(of: Expressions, spec: exp.Expr, node: exp.Expr) -> Frame:
    kind = str(spec.args.get("kind") or "rows").lower()
    if kind not in ("rows", "range"):
        refuse(node, f"a frame of {kind.upper()} is not supported", "ROWS or RANGE")
    if spec.args.get("exclude") is not None:
        refuse(node, "EXCLUDE in a frame is not supported", "subtract the row's own value")
    start = _edge(of, spec.args.get("start"), spec.args.get("start_side"), kind, node)
    end = _edge(of, spec.args.get("end") or "CURRENT ROW", spec.args.get("end_side"), kind, node)
    if start is not None and end is not None and type(start) is type(end) and start > end:
        refuse(node, "this frame ends before it starts", "ROWS BETWEEN 3 PRECEDING AND CURRENT ROW")
    return Frame("rows" if kind == "rows" else "range", start, end)


def _edge(of: Expressions, value: Any, side: str | None, kind: str, node: exp.Expr) -> Any:
    if value is None or value == "UNBOUNDED":
        return None
    if value == "CURRENT ROW":
        return 0
    sign = -1 if str(side).lower() == "preceding" else 1
    distance: Any
    if isinstance(value, exp.Interval):
        span = literals.read_span(value)
        distance = literals.duration(span, node)
    else:
        distance = of.constant(value, "the distance of a frame")
    if kind == "rows" and not isinstance(distance, int):
        refuse(node, "ROWS counts whole rows")
    if (
        distance is None
        or (isinstance(distance, dt.timedelta) and distance < dt.timedelta())
        or (isinstance(distance, int) and distance < 0)
    ):
        refuse(node, "the distance of a frame is not negative")
    return distance * sign
