"""Aggregate functions of SQL -> `Aggregate`. Of nothing SQL's sum is null, and the engine's is 0: a count beside it tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Aggregate, Call, Cast, ExprNode, Literal, SortKey, has_aggregate, has_window
from dataflow.sql.calls import written
from dataflow.sql.errors import refuse
from dataflow.sql.functions import AGGREGATES
from dataflow.sql.trees import chained, if_any, rewritten

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["aggregate", "sort_key"]


def aggregate(of: Expressions, node: exp.Expr, where: ExprNode | None = None) -> ExprNode | None:
    """An aggregate call as an expression of `Aggregate`s; None if the node is none."""
    match node:
        case exp.Filter():
            found = aggregate(of, node.this, _plain(of.condition(node.expression.this), node))
            if found is None:
                refuse(node, "FILTER stands behind an aggregate", "sum(x) FILTER (WHERE y > 0)")
            return found
        case exp.WithinGroup():
            return _within_group(of, node, where)
        case exp.IgnoreNulls(this=inner):
            return _without_nulls(of, inner, where)
        case exp.Count():
            return _count(of, node, where)
        case exp.CountIf():
            return Aggregate("len", (), _and(where, of.condition(node.this)))
        case exp.Sum():
            return _of_some("sum", *_argument(of, node), where)
        case exp.LogicalAnd():
            return _of_some("all", *_argument(of, node), where)
        case exp.LogicalOr():
            return _of_some("any", *_argument(of, node), where)
        case exp.ApproxQuantile():
            fraction = of.constant(node.args.get("quantile"), "the quantile")
            arg, distinct = _argument(of, node)
            return Aggregate("approx_quantile", (arg,), where, (), (("q", _share(fraction, node)),), distinct)
        case exp.Quantile() | exp.PercentileCont() if node.this is not None and (node.args.get("quantile") or node.args.get("expression")):
            fraction = of.constant(node.args.get("quantile") or node.expression, "the quantile")
            return _quantile(*_argument(of, node), fraction, where, node)
        case exp.GroupConcat():
            return _joined(of, node, where)
        case exp.PercentileDisc() if node.this is not None and node.expression is not None:
            fraction = of.constant(node.expression, "the quantile")
            return _value_at(of, *_argument(of, node), _share(fraction, node), where)
        case exp.Anonymous() if str(node.this).lower() == "product" and len(node.expressions) == 1:
            inner, distinct = _different(of, node.expressions[0], node)
            return _of_some("product", _plain(of.expr(inner), node), distinct, where)
        case exp.Anonymous() if str(node.this).lower() == "approx_percentile":
            if len(node.expressions) != 2:
                refuse(node, "approx_percentile takes a column and a share", "approx_percentile(x, 0.9)")
            fraction = of.constant(node.expressions[1], "the quantile")
            return Aggregate("approx_quantile", (_plain(of.expr(node.expressions[0]), node),), where, (), (("q", _share(fraction, node)),))
        case exp.ArgMax() | exp.ArgMin():
            by = _plain(of.expr(node.expression), node)
            order = (SortKey(by, isinstance(node, exp.ArgMax), True),)
            return Aggregate("first", (_argument(of, node)[0],), _and(where, Call("is_not_null", (by,))), order)
        case _ if type(node) in AGGREGATES:
            return _known(of, node, where)
        case exp.AggFunc():
            refuse(node, f"{_name(of, node)} is not supported in SQL here", "aggregate with group_by().agg() or combine_values()")
        case _:
            return None
    raise AssertionError


def _known(of: Expressions, node: exp.Expr, where: ExprNode | None) -> ExprNode:
    function, options = AGGREGATES[type(node)]
    order = _order(of, node.this)
    inner, distinct = _different(of, node.this, node)
    for key, more in node.args.items():
        if key != "this" and isinstance(more, exp.Expr) and not isinstance(more, exp.Boolean):
            refuse(more, f"{_name(of, node)} takes one argument here", "arg_max(x, by) for the value beside the greatest")
    found = Aggregate(function, (_plain(of.expr(inner), node),), where, order, options, distinct)
    return if_any(Aggregate("len", (), where), found) if function == "collect" else found  # no empty list of no rows


def _name(of: Expressions, node: exp.Expr) -> str:
    return written(of, node, node.sql_name() if isinstance(node, exp.Func) else node.key)


def _argument(of: Expressions, node: exp.Expr) -> tuple[ExprNode, bool]:
    """What is aggregated, and whether DISTINCT stands before it."""
    inner, distinct = _different(of, node.this, node)
    return _plain(of.expr(inner), node), distinct


def _order(of: Expressions, inner: exp.Expr) -> tuple[SortKey, ...]:
    """The keys of ORDER BY within an aggregate's brackets."""
    return tuple(sort_key(of, one) for one in inner.expressions) if isinstance(inner, exp.Order) else ()


def _unordered(inner: Any) -> Any:
    """What is aggregated, without its ORDER BY."""
    return inner.this if isinstance(inner, exp.Order) else inner


def _different(of: Expressions, inner: exp.Expr, node: exp.Expr) -> tuple[exp.Expr, bool]:
    inner = _unordered(inner)
    if not isinstance(inner, exp.Distinct):
        return inner, False
    if len(inner.expressions) != 1:
        refuse(node, f"{_name(of, node)} takes one DISTINCT column", "count(DISTINCT a, b) takes several")
    return inner.expressions[0], True


def _plain(expr: ExprNode, node: exp.Expr) -> ExprNode:
    if has_window(expr):
        refuse(node, "a window function stands within an aggregate", "compute it in a subquery first")
    if has_aggregate(expr) and not isinstance(node.parent, exp.Window):
        refuse(node, "an aggregate stands within an aggregate", "compute the inner one in a subquery")
    return expr


def _and(one: ExprNode | None, two: ExprNode) -> ExprNode:
    return two if one is None else Call("and", (one, two))


def _of_some(function: str, arg: ExprNode, distinct: bool, where: ExprNode | None) -> ExprNode:
    return if_any(Aggregate("count", (arg,), where), Aggregate(function, (arg,), where, distinct=distinct))


def _count(of: Expressions, node: exp.Count, where: ExprNode | None) -> ExprNode:
    inner = _unordered(node.this)
    if inner is None or isinstance(inner, exp.Star):
        return Aggregate("len", (), where)
    if isinstance(inner, exp.Distinct):
        return _count_different(of, inner.expressions, where, node)
    if node.expressions:
        refuse(node, "count takes one column, or *", "count(*) counts rows")
    arg = _plain(of.expr(inner), node)
    return Aggregate("len", (), where) if isinstance(arg, Literal) and arg.value is not None else Aggregate("count", (arg,), where)


def _count_different(of: Expressions, given: list[exp.Expr], where: ExprNode | None, node: exp.Expr) -> ExprNode:
    """count(DISTINCT a, b) leaves out rows with a null among them, as in MySQL and Spark; in count(DISTINCT (a, b)) null is a value
    like any, as in DuckDB and PostgreSQL."""
    if not given:
        refuse(node, "count(DISTINCT …) lacks a column", "count(DISTINCT a)")
    row = given[0] if len(given) == 1 and isinstance(given[0], exp.Tuple) else None
    parts = [_plain(of.expr(one), node) for one in (row.expressions if row is not None else given)]
    if len(parts) == 1:
        return Aggregate("n_unique", tuple(parts), where)
    if row is None:
        known = chained("and", [Call("is_not_null", (part,)) for part in parts])
        where = _and(where, known)
    struct = Call("struct", tuple(parts), (("names", tuple(f"v{place}" for place in range(len(parts)))),))
    return Aggregate("n_unique", (struct,), where)


def _share(fraction: object, node: exp.Expr) -> float:
    if isinstance(fraction, (list, tuple)):
        refuse(node, "several quantiles in one call are not supported", "quantile_cont(x, 0.25) AS low, quantile_cont(x, 0.75) AS high")
    try:
        q = float(str(fraction))
    except ValueError:
        q = -1.0
    if not 0 <= q <= 1:
        refuse(node, f"a quantile lies between 0 and 1, and this is {fraction}")
    return q


def _quantile(arg: ExprNode, distinct: bool, fraction: object, where: ExprNode | None, node: exp.Expr) -> ExprNode:
    return Aggregate("quantile", (arg,), where, (), (("q", _share(fraction, node)), ("interpolation", "linear")), distinct)


def _joined(of: Expressions, node: exp.GroupConcat, where: ExprNode | None) -> ExprNode:
    """string_agg: null of nothing."""
    separator, order = of.constant(node.args.get("separator"), "the separator"), _order(of, node.this)
    inner, distinct = _different(of, node.this, node)
    arg = _plain(of.expr(inner), node)
    options = (("separator", "," if separator is None else str(separator)),)
    return if_any(Aggregate("count", (arg,), where), Aggregate("join", (arg,), where, order, options, distinct))


def _value_at(of: Expressions, arg: ExprNode, distinct: bool, q: float, where: ExprNode | None) -> ExprNode:
    """quantile_disc: one of the values, of their type."""
    found = Aggregate("quantile", (arg,), where, (), (("q", q), ("interpolation", "equiprobable")), distinct)
    kind = of.type(arg)
    return Cast(found, kind) if kind.is_integer or kind.name == "decimal" else found


def _within_group(of: Expressions, node: exp.WithinGroup, where: ExprNode | None) -> ExprNode:
    function, order = node.this, node.expression
    if isinstance(function, exp.GroupConcat):
        keys = tuple(sort_key(of, one) for one in order.expressions)
        return rewritten(_joined(of, function, where), lambda one: _sorted(one, keys))
    if not isinstance(function, (exp.PercentileCont, exp.PercentileDisc)) or len(order.expressions) != 1:
        refuse(node, "WITHIN GROUP is supported for percentile_cont, percentile_disc and listagg", "median(x), quantile_cont(x, 0.9)")
    share = _share(of.constant(function.this, "the quantile"), node)
    key = order.expressions[0]
    arg, share = _plain(of.expr(key.this), node), 1 - share if key.args.get("desc") else share
    if isinstance(function, exp.PercentileDisc):
        if key.args.get("desc"):
            refuse(node, "percentile_disc in descending order is not supported", "percentile_disc(1 - p) in ascending order")
        return _value_at(of, arg, False, share, where)
    return _quantile(arg, False, share, where, node)


def _sorted(one: ExprNode, keys: tuple[SortKey, ...]) -> ExprNode | None:
    return replace(one, order=keys) if isinstance(one, Aggregate) and one.function == "join" else None


def _without_nulls(of: Expressions, inner: exp.Expr, where: ExprNode | None) -> ExprNode | None:
    if isinstance(inner, exp.AnyValue):
        arg = _plain(of.expr(inner.this), inner)
        return Aggregate("first", (arg,), _and(where, Call("is_not_null", (arg,))))
    found = aggregate(of, inner, where)
    if not isinstance(found, Aggregate) or not found.args:
        refuse(inner, "IGNORE NULLS is not supported here", "leave nulls out with WHERE in a subquery")
    return replace(found, where=_and(found.where, Call("is_not_null", (found.args[0],))))


def sort_key(of: Expressions, node: exp.Expr) -> SortKey:
    """One key of ORDER BY. Nulls come last in either direction unless the text says otherwise, as in DuckDB."""
    if not isinstance(node, exp.Ordered):
        return SortKey(of.expr(node), False, True)
    if node.args.get("with_fill"):
        refuse(node, "WITH FILL is not supported")
    if isinstance(node.this, exp.Collate):
        refuse(node, "COLLATE is not supported", "ORDER BY lower(name)")
    return SortKey(of.expr(node.this), bool(node.args.get("desc")), not node.args.get("nulls_first"))
