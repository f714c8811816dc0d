"""One SELECT, in the order in which SQL evaluates it.

    FROM, WHERE -> GROUP BY -> HAVING -> windows -> QUALIFY -> SELECT -> DISTINCT -> ORDER BY -> LIMIT

Expressions are translated first, all over the tables; then they are lifted from stage to stage as the relation grows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dataflow.expr.nodes import (
    Aggregate,
    Alias,
    Call,
    Column,
    ExprNode,
    Literal,
    Ranking,
    SortKey,
    Window,
    columns_of,
    has_aggregate,
    has_window,
)
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Explode
from dataflow.sql.attach import attached, filtered
from dataflow.sql.building import schema
from dataflow.sql.errors import refuse
from dataflow.sql.expressions import Expressions
from dataflow.sql.from_clause import folded, read_from
from dataflow.sql.grouping import Grouping, read_group
from dataflow.sql.scope import Scope
from dataflow.sql.select_list import order_key, read_items
from dataflow.sql.subqueries import Planned
from dataflow.sql.trees import conjuncts, rewritten

if TYPE_CHECKING:
    from dataflow.sql.query import Context

__all__ = ["limits", "translate_select"]

_UNKNOWN = {
    "into": "INTO", "connect": "CONNECT BY", "match": "MATCH_RECOGNIZE", "sample": "USING SAMPLE", "locks": "FOR UPDATE",
    "cluster": "CLUSTER BY",
    "distribute": "DISTRIBUTE BY", "sort": "SORT BY", "prewhere": "PREWHERE", "pivots": "PIVOT", "kind": "SELECT AS STRUCT", "top": "TOP",
}  # fmt: skip

_INSTEAD = {"sample": "p.sql(…).sample(0.1)", "pivots": "p.sql(…).pivot(…)", "sort": "ORDER BY", "top": "LIMIT"}


class Block:
    """A SELECT while it is translated: ``node`` is the relation so far, ``grouping`` what its expressions are lifted over."""

    def __init__(self, context: Context, select: exp.Select, parent: Scope | None) -> None:
        self.context, self.select, self.build = context, select, context.build
        self.of = Expressions(context.build, Scope(parent), lambda query, scope: context.query(query, scope))
        self.of.windows = {one.name.lower(): one for one in select.args.get("windows") or []}
        self.grouping: Grouping | None = None
        self.node: Node
        self.places: dict[Window, str] = {}

    def lift(self, expr: ExprNode) -> ExprNode:
        return self.grouping.lift(expr, self.select) if self.grouping is not None else expr

    def grown(self, expr: ExprNode) -> ExprNode:
        """An expression over the tables as one over the relation so far, its subqueries joined."""
        self.node, found = attached(self.of, self.node, self.lift(expr), self.lift)
        return found

    def windowed(self, expr: ExprNode) -> ExprNode:
        """The expression with every window as a column of its own."""
        new: dict[Window, Alias] = {}

        def change(one: ExprNode) -> ExprNode | None:
            if not isinstance(one, Window):
                return None
            if one not in self.places:
                if any(has_window(part) for part in (*one.partition, *(key.expr for key in one.order), *one.function.args)):
                    inner = next((one for one in self.select.find_all(exp.Window) if one.find_ancestor(exp.Window)), self.select)
                    refuse(inner, "a window function stands within a window function", "compute the inner one in a subquery")
                self.node, whole = attached(self.of, self.node, one, self.lift)
                new[one] = self.build.column(one.function.function, whole)
                self.places[one] = new[one].name
            return Column(self.places[one])

        found = rewritten(expr, change)
        self.node = self.build.project(self.node, list(new.values()), keep=True)
        return found


def translate_select(context: Context, select: exp.Select, parent: Scope | None) -> Planned:
    """The relation of one SELECT."""
    for key, what in _UNKNOWN.items():
        if given := select.args.get(key):
            part = given[0] if isinstance(given, list) else given
            refuse(part if isinstance(part, exp.Expr) else select, f"{what} is not supported in SQL here", _INSTEAD.get(key, ""))
    block = Block(context, select, parent)
    of, build = block.of, block.build
    groups = read_from(of, context, select)
    of.scope.aliases = {one.alias.lower(): one.this for one in select.expressions if isinstance(one, exp.Alias)}
    where = _where(of, select)
    of.aliases_first = True
    items, unnested = read_items(of, select)
    having, qualify = _condition(of, select, "having"), _condition(of, select, "qualify")
    order = [order_key(of, one, items) for one in _order(select)]
    distinct_on = _distinct_on(of, select)
    everything = [*(expr for _, expr in items), *having, *qualify, *(key.expr for key in order)]
    grouped = (
        select.args.get("group") is not None or any(map(has_aggregate, everything)) or _pending_aggregate(of, everything) or bool(having)
    )
    block.node = folded(of, groups, where)
    if grouped:
        block.grouping = read_group(of, select.args.get("group"), items, [has_aggregate(expr) for _, expr in items])
        block.grouping.below = frozenset(schema(block.node))
        for expr in everything:
            _learn(block, expr)
        block.node = block.grouping.made(block.node)
    for part in having:
        block.node = filtered(of, block.node, block.lift(part), block.lift)
    shown = [(name, block.windowed(block.grown(expr))) for name, expr in items]
    keys = [replace(key, expr=block.windowed(block.grown(key.expr))) for key in order]
    for part in qualify:
        plain = block.windowed(block.lift(part))
        block.node = filtered(of, block.node, plain, block.lift)
    if distinct_on is not None:
        on = tuple(block.windowed(block.grown(one)) for one in distinct_on)
        place = build.column("place", Window(Ranking("row_number"), on, tuple(keys) or (SortKey(Literal(0)),)))
        block.node = build.where(build.project(block.node, [place], keep=True), [Call("equal", (Column(place.name), Literal(1)))])
    return _finished(block, shown, keys, unnested, grouped)


def _where(of: Expressions, select: exp.Select) -> list[ExprNode]:
    where = select.args.get("where")
    if where is None:
        return []
    found = of.condition(where.this)
    if has_aggregate(found):
        refuse(where, "an aggregate stands in WHERE, which sees single rows", "HAVING sees groups")
    if has_window(found):
        refuse(where, "a window function stands in WHERE, which comes before windows", "QUALIFY comes after")
    return conjuncts(found)


def _condition(of: Expressions, select: exp.Select, key: str) -> list[ExprNode]:
    node = select.args.get(key)
    if node is None:
        return []
    found = of.condition(node.this)
    if key == "having" and has_window(found):
        refuse(node, "a window function stands in HAVING, which comes before windows", "QUALIFY comes after")
    return conjuncts(found)


def _order(select: exp.Expr) -> list[exp.Expr]:
    order = select.args.get("order")
    return list(order.expressions) if order is not None else []


def _distinct_on(of: Expressions, select: exp.Select) -> list[ExprNode] | None:
    distinct = select.args.get("distinct")
    on = distinct.args.get("on") if distinct is not None else None
    if on is None:
        return None
    return [of.expr(one) for one in (on.expressions if isinstance(on, exp.Tuple) else [on.this if isinstance(on, exp.Paren) else on])]


def _pending_aggregate(of: Expressions, exprs: list[ExprNode]) -> bool:
    """Whether a subquery is compared with an aggregate: sum(x) IN (SELECT …)."""
    return any(has_aggregate(one) for expr in exprs for name in columns_of(expr) if name in of.pending for one in of.pending[name].operands)


def _learn(block: Block, expr: ExprNode) -> None:
    """The grouping sees every expression above it before it is made."""
    block.lift(expr)
    assert block.grouping is not None
    known = block.grouping.keys  # what is made before the groups are, as aggregates are
    for name in columns_of(rewritten(expr, lambda one: Literal(None) if isinstance(one, Aggregate) or one in known else None)):
        if name in block.of.pending:
            for one in block.of.pending[name].operands:
                _learn(block, one)


def _finished(block: Block, shown: list[tuple[str, ExprNode]], keys: list[SortKey], unnested: list[int], grouped: bool) -> Planned:
    """SELECT, DISTINCT, ORDER BY, LIMIT."""
    build, select = block.build, block.select
    columns = [(name, build.column(name, expr)) for name, expr in shown]
    distinct = select.args.get("distinct") is not None and select.args["distinct"].args.get("on") is None
    hidden: list[Alias] = []
    order: list[SortKey] = []
    for key, node_of_key in zip(keys, _order(select)):
        found = next((one for _, one in columns if one.input == key.expr), None) or next(
            (one for one in hidden if one.input == key.expr), None
        )
        if found is None:
            if distinct:
                refuse(node_of_key, "with SELECT DISTINCT, ORDER BY takes columns of the result only", "add it to SELECT")
            found = build.column("order", key.expr)
            hidden.append(found)
        if not isinstance(key.expr, Literal):
            order.append(replace(key, expr=Column(found.name)))
    node = build.project(block.node, [*(one for _, one in columns), *hidden])
    for place in unnested:
        name = columns[place][1].name
        if build.types[name].name not in ("list", "array"):
            at = next(one for one in select.expressions if one.find(exp.Explode, exp.Unnest))
            refuse(at, f"unnest takes a list, and this is {build.types[name]}", "a struct's fields are columns: s.a, s.b")
        node = build.where(node, [Call("greater", (Call("list.len", (Column(name),)), Literal(0)))])
        made = Explode(label=build.label("sql unnest"), origin=build.origin, input=node, columns=(name,))
        node = build.made(made, schema(node))
    if distinct:
        node = build.distinct(node)
    count, offset = limits(block.of, select)
    node = block.context.bounded(node, order, count, offset)
    whole = grouped and not unnested and not any(select.args.get(key) for key in ("group", "having", "qualify", "limit", "offset"))
    return Planned(node, tuple((name, one.name) for name, one in columns), one_row=whole or _plain_row(select))


def _plain_row(select: exp.Select) -> bool:
    """SELECT 1: no FROM, and nothing that could take the row away."""
    return not any(select.args.get(key) for key in ("from_", "where", "having", "qualify", "limit", "offset", "group")) and not any(
        isinstance(one.this if isinstance(one, exp.Alias) else one, (exp.Explode, exp.Unnest)) for one in select.expressions
    )


def limits(of: Expressions, node: exp.Expr) -> tuple[int | None, int]:
    """LIMIT and OFFSET, which are constants."""
    limit, offset = node.args.get("limit"), node.args.get("offset")
    if isinstance(limit, exp.Fetch):
        if limit.args.get("limit_options") is not None and limit.args["limit_options"].args.get("with_ties"):
            refuse(limit, "WITH TIES is not supported", "QUALIFY rank() OVER (ORDER BY …) <= 3")
        count = of.constant(limit.args.get("count"), "FETCH")
    else:
        if limit is not None and (
            isinstance(limit.expression, exp.Mod) or limit.args.get("limit_options") or limit.args.get("expressions")
        ):
            refuse(limit, "LIMIT takes a number of rows only", "QUALIFY percent_rank() OVER (ORDER BY …) < 0.1")
        count = of.constant(limit.expression, "LIMIT") if limit is not None else None
    skipped = of.constant(offset.expression, "OFFSET") if offset is not None else 0
    for value, part in ((count, limit), (skipped, offset)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            refuse(part, f"LIMIT and OFFSET take whole numbers, not {value!r}")
    return count, skipped or 0
