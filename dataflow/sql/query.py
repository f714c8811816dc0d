"""A query: WITH names, one SELECT or several put together, brackets, and the result's own names at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from dataflow.expr.nodes import Alias, Column, SortKey, columns_of
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Limit, OrderBy, Relation
from dataflow.sql.building import Builder, schema
from dataflow.sql.errors import refuse
from dataflow.sql.expressions import Expressions
from dataflow.sql.scope import Scope, Source
from dataflow.sql.subqueries import Planned

__all__ = ["Context", "translated"]


class Context:
    """Where a query stands: the builder of the statement and the WITH names it sees."""

    def __init__(
        self, build: Builder, tree: exp.Expr, names: dict[str, Planned] | None = None, words: frozenset[str] | None = None
    ) -> None:
        self.build, self.tree, self.names = build, tree, names or {}
        self._words = words if words is not None else _words(tree)

    def uses(self, column: str) -> bool:
        """Whether the statement may name a column: then its scan keeps it. A star keeps all."""
        return "*" in self._words or column.lower() in self._words

    def query(self, node: exp.Expr, parent: Scope | None) -> Planned:
        """The relation of a query inside of ``parent``."""
        from dataflow.sql.block import translate_select
        from dataflow.sql.setops import translate_set
        from dataflow.sql.sources import values

        inside = self._with(node, parent)
        match node:
            case exp.Select():
                return translate_select(inside, node, parent)
            case exp.SetOperation():
                return translate_set(inside, node, parent)
            case exp.Subquery():
                planned = inside.query(node.this, parent)
                return inside.ordered(planned, node, parent)
            case exp.Values():
                return values(Expressions(self.build, Scope(parent), inside.query), inside, node)
            case exp.Table():
                star = exp.Select(expressions=[exp.Star()], from_=exp.From(this=node.copy()))
                return Context(self.build, star, self.names, frozenset("*")).query(star, parent)
            case _:
                return refuse(node, f"{node.key.upper()} is not a query", "SELECT …")

    def _with(self, node: exp.Expr, parent: Scope | None) -> Context:
        clause = node.args.get("with_")
        if clause is None:
            return self
        inside = Context(self.build, self.tree, dict(self.names), self._words)
        for one in clause.expressions:
            name = one.alias
            if clause.args.get("recursive") and any(table.name.lower() == name.lower() for table in one.this.find_all(exp.Table)):
                refuse(
                    one,
                    f"WITH RECURSIVE is not supported: {name!r} reads itself",
                    "loop in Python: c = p.sql(…, last=c), as often as it takes",
                )
            if any(other is not one and other.alias.lower() == name.lower() for other in clause.expressions):
                refuse(one, f"two WITH queries are called {name!r}", "give one another name")
            planned = inside.query(one.this, parent)
            names = [column.name for column in one.args["alias"].args.get("columns") or []]
            if len(names) > len(planned.columns):
                refuse(one, f"{len(names)} names for the {len(planned.columns)} columns of {name!r}")
            columns = [(names[i] if i < len(names) else seen, unique) for i, (seen, unique) in enumerate(planned.columns)]
            inside.names[name.lower()] = replace(planned, columns=tuple(columns))
        return inside

    def renamed(self, planned: Planned, alias: str, names: Sequence[str], node: exp.Expr) -> tuple[Source, Node]:
        """A query as a table: its columns under names of this place, so that a query may stand in a statement twice."""
        if len(names) > len(planned.columns):
            refuse(node, f"{len(names)} names for the {len(planned.columns)} columns of {alias!r}")
        seen = distinct_names([names[i] if i < len(names) else name for i, (name, _) in enumerate(planned.columns)])
        pairs = [(name, self.build.fresh(f"{alias}.{name}" if alias else name, self.build.types[unique]), unique)
                 for name, (_, unique) in zip(seen, planned.columns)]  # fmt: skip
        relation = self.build.project(planned.node, [Alias(Column(unique), new) for _, new, unique in pairs])
        return Source(alias, tuple((name, new) for name, new, _ in pairs)), relation

    def ordered(self, planned: Planned, node: exp.Expr, parent: Scope | None) -> Planned:
        """ORDER BY and LIMIT behind brackets or a set operation: over the result's columns."""
        from dataflow.sql.block import limits
        from dataflow.sql.select_list import order_key

        order = node.args.get("order")
        of = Expressions(self.build, Scope(parent, [Source("", planned.columns)]), self.query)
        count, offset = limits(of, node)
        items = [(name, Column(unique)) for name, unique in planned.columns]
        keys = [order_key(of, one, list(items)) for one in order.expressions] if order is not None else []
        if not keys and count is None and not offset:
            return planned
        return replace(planned, node=self.bounded(planned.node, keys, count, offset), one_row=False)

    def bounded(self, node: Node, order: Sequence[SortKey], count: int | None, offset: int) -> Node:
        if order:
            node = self.build.order(node, order, count if not offset else None)
            if not offset:
                return node
        return self.build.limit(node, count, offset) if count is not None or offset else node


def distinct_names(names: Sequence[str]) -> list[str]:
    """Every name once: a second ``id`` is ``id_1``, as in DuckDB."""
    found: list[str] = []
    taken = {name.lower() for name in names}
    used: set[str] = set()
    for name in names:
        new, number = name, 0
        while new.lower() in used or (number and new.lower() in taken):
            number += 1
            new = f"{name}_{number}"
        used.add(new.lower())
        found.append(new)
    return found


def _words(tree: exp.Expr) -> frozenset[str]:
    found = {one.name.lower() for one in tree.find_all(exp.Identifier)}
    stars = any(not _means_no_columns(one) for one in tree.find_all(exp.Star))
    natural = any(one.args.get("method") for one in tree.find_all(exp.Join))
    return frozenset(found | ({"*"} if stars or natural else set()))


def _means_no_columns(star: exp.Star) -> bool:
    """count(*) and EXISTS (SELECT * …) read no column by their star."""
    select = star.parent
    return isinstance(select, exp.Count) or (isinstance(select, exp.Select) and isinstance(select.parent, exp.Exists))


def translated(build: Builder, tree: exp.Expr) -> Relation:
    """The whole statement, its columns called as the text calls them, an order last."""
    planned = Context(build, tree).query(tree, None)
    names = distinct_names([name for name, _ in planned.columns])
    new = {unique: name for name, (_, unique) in zip(names, planned.columns)}
    if len(new) < len(names):  # one column twice under two names
        return _named(build, planned.node, [(name, unique) for name, (_, unique) in zip(names, planned.columns)])
    pairs = [(name, unique) for unique, name in new.items()]
    node, skipped = planned.node, None
    if isinstance(node, Limit) and isinstance(node.input, OrderBy):
        skipped, node = node, node.input
    if isinstance(node, OrderBy) and all(name in new for key in node.keys for name in columns_of(key.expr)):
        below = _named(build, node.input, pairs)
        keys = tuple(replace(key, expr=Column(new[columns_of(key.expr)[0]])) for key in node.keys if isinstance(key.expr, Column))
        if len(keys) == len(node.keys):
            made = replace(node, input=below, keys=keys, schema=dict(schema(below)))
            return made if skipped is None else replace(skipped, input=made, schema=dict(schema(below)))
    return _named(build, planned.node, pairs)


def _named(build: Builder, node: Node, pairs: list[tuple[str, str]]) -> Relation:
    types = {name: build.types[unique] for name, unique in pairs}
    found = build.project(node, [Alias(Column(unique), name) for name, unique in pairs])
    assert isinstance(found, Relation)
    return replace(found, schema=types)
