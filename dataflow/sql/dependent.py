"""Correlated subqueries made into joins: the outer rows' different values are pushed down to where the inner query reads them.

    for every row o of O: S(o.k)     ->     O  join on k  S'        S' has a column k, and its rows for every k that occurs

`D`, the domain, is the distinct values of the outer columns that S reads. Going down S, every node learns to keep rows of
different k apart: a grouping groups by k too, a window partitions by it, a LIMIT counts per k, a join of two parts that both read k
joins on it. Where the inner query itself says ``inner_column = k``, that column is k, and no D is needed. At the leaves D is joined.

The scheme is that of Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW 2015).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Aggregate, Alias, Call, Column, ExprNode, Literal, Ranking, SortKey, Window, columns_of, has_window
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Distinct, Explode, GroupAggregate, Join, Limit, OrderBy, Project, Relation, Union, Where
from dataflow.sql.building import Builder, own_expressions, schema
from dataflow.sql.errors import refuse
from dataflow.sql.trees import both, conjuncts, rewritten

__all__ = ["Correlation", "counts", "free_columns"]


def free_columns(build: Builder, node: Node) -> frozenset[str]:
    """The columns that a plan reads and does not have: those of a query around it."""
    found: set[str] = set()
    seen: set[int] = set()
    stack = [node]
    while stack:
        one = stack.pop()
        if id(one) in seen or one in build.scans or not isinstance(one, Relation):
            continue
        seen.add(id(one))
        known = {name for child in one.inputs for name in schema(child)}
        found.update(name for expr in own_expressions(one) for name in columns_of(expr) if name not in known)
        stack.extend(one.inputs)
    return frozenset(found)


def counts(node: GroupAggregate) -> dict[str, ExprNode]:
    """What the aggregates of no rows are, by name, where that is not null."""
    found: dict[str, ExprNode] = {}
    for one in node.aggs:
        assert isinstance(one, Alias)
        assert isinstance(one.input, Aggregate)
        if one.input.function in ("len", "count", "n_unique", "approx_n_unique", "sum"):
            found[one.name] = Literal(0)
        elif one.input.function in ("any", "all"):
            found[one.name] = Literal(one.input.function == "all")
    return found


class Correlation:
    """One subquery's way to its outer rows. ``needs_domain`` says afterwards whether D was joined somewhere: then null is a
    value of k like any, else k came from an equality and is never null."""

    def __init__(self, build: Builder, outer: Node, names: list[str]) -> None:
        self.build, self.outer, self.names = build, outer, names
        self._set = frozenset(names)
        self._domain: Node | None = None
        self._done: dict[int, tuple[Node, Node]] = {}

    @property
    def needs_domain(self) -> bool:
        return self._domain is not None

    def domain(self) -> Node:
        if self._domain is None:
            self._domain = self.build.distinct(self.build.project(self.outer, self._columns()))
        return self._domain

    def _columns(self) -> list[ExprNode]:
        return [Column(name) for name in self.names]

    def reads(self, node: Node) -> bool:
        return bool(free_columns(self.build, node) & self._set)

    def run(self, node: Node) -> Node:
        """The plan with the outer columns among its own."""
        if id(node) not in self._done:
            self._done[id(node)] = (node, self._pushed(node))
        return self._done[id(node)][1]

    def renamed(self, node: Node) -> tuple[Node, list[str]]:
        """The same with the outer columns under fresh names, so that it can be joined to what has them too."""
        new = [self.build.fresh(name, self.build.types[name]) for name in self.names]
        kept: list[ExprNode] = [Column(name) for name in schema(node) if name not in self._set]
        return self.build.project(node, [*kept, *(Alias(Column(a), b) for a, b in zip(self.names, new))]), new

    def _pushed(self, node: Node) -> Node:
        if not self.reads(node):
            return self.build.join(self.domain(), node, "cross")
        match node:
            case Where():
                return self._where(node)
            case Project(exprs=exprs, keep=keep):
                apart = tuple(self._windows_apart(expr) for expr in exprs)
                return self._again(node, self.run(node.input), exprs=apart if keep else (*apart, *self._columns()))
            case GroupAggregate():
                return self._group(node)
            case Join():
                return self._join(node)
            case OrderBy(keys=keys, limit=None):
                return self.run(node.input)  # the order of a part of a join means nothing
            case OrderBy(keys=keys, limit=count):
                return self._first(self.run(node.input), keys, count, 0)
            case Limit(count=count, offset=offset):
                below, keys = (
                    (node.input.input, node.input.keys)
                    if isinstance(node.input, OrderBy) and node.input.limit is None
                    else (node.input, ())
                )
                return self._first(self.run(below), keys, count, offset)
            case Distinct(columns=columns):
                return self._again(node, self.run(node.input), columns=None if columns is None else (*columns, *self.names))
            case Explode():
                return self._again(node, self.run(node.input))
            case Union(parts=parts):
                new = tuple(self.run(part) for part in parts)
                made = replace(node, label=self.build.label("sql union"), parts=new)
                return self.build.made(made, *map(schema, new))
            case _:
                raise AssertionError(type(node).__name__)

    def _again(self, node: Any, input: Node, **changes: Any) -> Node:
        made = replace(node, label=self.build.label("sql correlated"), input=input, **changes)
        return self.build.made(made, schema(input))

    def _where(self, node: Where) -> Node:
        if self.reads(node.input):
            return self._again(node, self.run(node.input))
        parts = conjuncts(node.predicate)
        plain = [part for part in parts if not self._set & set(columns_of(part))]
        rest = [part for part in parts if part not in plain]
        below = self.build.where(node.input, plain)
        equal: dict[str, tuple[ExprNode, ExprNode]] = {}
        for part in rest:
            if (pair := self._equality(part, below)) is not None and pair[0] not in equal:
                equal[pair[0]] = (pair[1], part)
        used = [part for _, part in equal.values()]
        if all(name in equal and self.build.type_of(equal[name][0]) == self.build.types[name] for name in self.names):
            below = self.build.where(below, [Call("is_not_null", (equal[name][0],)) for name in self.names])
            below = self.build.project(below, [Alias(equal[name][0], name) for name in self.names], keep=True)
            return self.build.where(below, [part for part in rest if part not in used])
        pairs = [(Column(name), expr) for name, (expr, _) in equal.items()]
        return self.build.join(self.domain(), below, "inner", pairs, residual=[part for part in rest if part not in used])

    def _equality(self, part: ExprNode, below: Node) -> tuple[str, ExprNode] | None:
        """``k = inner`` as (k, inner)."""
        if isinstance(part, Call) and part.operation == "equal":
            for one, two in (part.args, part.args[::-1]):
                if isinstance(one, Column) and one.name in self._set and columns_of(two) and set(columns_of(two)) <= set(schema(below)):
                    return one.name, two
        return None

    def _windows_apart(self, expr: ExprNode) -> ExprNode:
        if not has_window(expr):
            return expr
        added = tuple(self._columns())
        return rewritten(expr, lambda one: replace(one, partition=(*one.partition, *added)) if isinstance(one, Window) else None)

    def _group(self, node: GroupAggregate) -> Node:
        more = len(self.names)
        sets = None if node.sets is None else tuple((*range(more), *(place + more for place in one)) for one in node.sets)
        grouped = self._again(node, self.run(node.input), keys=(*self._columns(), *node.keys), sets=sets)
        if node.keys:
            return grouped
        right, new = self.renamed(grouped)  # no keys: a row for every k, also for those without rows
        pairs = [(Column(a), Column(b)) for a, b in zip(self.names, new)]
        joined = self.build.join(self.domain(), right, "left", pairs, null_equal=True)
        filled = [Alias(Call("coalesce", (Column(name), value)), name) for name, value in counts(node).items()]
        return self.build.project(joined, filled, keep=True)

    def _join(self, node: Join) -> Node:
        if node.how in ("right", "full"):
            sentence = f"a subquery that reads the outer query's columns inside a {node.how.upper()} JOIN is not supported"
            refuse(self.build.at, sentence, "turn it into a LEFT JOIN")
        left_reads, right_reads = self.reads(node.left), self.reads(node.right)
        if node.how in ("inner", "cross") and right_reads and not left_reads:
            return self._joined(node, node.left, self.run(node.right))
        left = self.run(node.left)
        if not right_reads:
            return self._joined(node, left, node.right)
        right, new = self.renamed(self.run(node.right))
        if not node.null_equal:  # k's nulls are equal, and those of the other keys must not become so
            right = self.build.where(right, [Call("is_not_null", (key,)) for key in node.right_on])
        return self._joined(
            node, left, right, how="inner" if node.how == "cross" else node.how, null_equal=True,
            left_on=(*node.left_on, *self._columns()), right_on=(*node.right_on, *map(Column, new)),
        )  # fmt: skip

    def _joined(self, node: Join, left: Node, right: Node, **changes: Any) -> Node:
        made = replace(node, label=self.build.label("sql correlated join"), left=left, right=right, **changes)
        return self.build.made(made, schema(left), schema(right))

    def _first(self, input: Node, keys: tuple[SortKey, ...], count: int | None, offset: int) -> Node:
        order = keys or (SortKey(Literal(0), False, True),)
        place = self.build.column("place", Window(Ranking("row_number"), tuple(self._columns()), order))
        numbered = self.build.project(input, [place], keep=True)
        parts: list[ExprNode] = [Call("greater", (Column(place.name), Literal(offset)))] if offset else []
        if count is not None:
            parts.append(Call("less_equal", (Column(place.name), Literal(offset + count))))
        return self.build.where(numbered, [both(parts)])
