"""Names: which tables a query sees, and which of their columns a name in the text means.

    Scope(sources: alias -> its columns)  ──parent──>  Scope of the query around it  ──>  …

Names compare without case, as in SQL; the spelling of the table wins in the result. A name that fits two tables is an error that
names both. What the own tables do not have is looked for in the query around (a correlated column).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from dataflow.expr.nodes import Call, Column, ExprNode
from dataflow.record import record
from dataflow.sql.errors import did_you_mean, refuse

__all__ = ["Scope", "Source"]


@record(eq=True)
class Source:
    """One table of FROM: what it is called, and its columns as (name in the text, unique name)."""

    alias: str
    columns: tuple[tuple[str, str], ...]
    known: tuple[str, ...] = ()  # all columns of the table, also those that the statement does not read

    @property
    def names(self) -> tuple[str, ...]:
        return self.known or tuple(seen for seen, _ in self.columns)

    def find(self, name: str) -> list[str]:
        low = name.lower()
        found = [(seen, unique) for seen, unique in self.columns if seen.lower() == low]
        exact = [(seen, unique) for seen, unique in found if seen == name]
        return [unique for _, unique in (exact if len(exact) == 1 else found)]


@dataclass(slots=True)
class Scope:
    """``merged``: columns of JOIN USING, seen as one, by name. ``aliases``: the select list's own names, for GROUP BY and others."""

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    merged: dict[str, tuple[str, ExprNode, frozenset[str]]] = field(default_factory=dict)
    aliases: dict[str, exp.Expr] = field(default_factory=dict)

    def add(self, source: Source, node: exp.Expr) -> None:
        if any(one.alias.lower() == source.alias.lower() for one in self.sources if source.alias):
            refuse(node, f"two tables are called {source.alias!r} here", "give one another name: FROM orders AS o2")
        self.sources.append(source)

    # -- one column

    def find(self, node: exp.Column) -> ExprNode | None:
        """What a column's name means in this query's own tables; None if nothing."""
        parts = [part.name for part in node.parts]
        if len(parts) == 1:
            return self._bare(parts[0], node)
        return self._dotted(parts, node)

    def _bare(self, name: str, node: exp.Column) -> ExprNode | None:
        if merged := self.merged.get(name.lower()):
            others = [s for s in self.sources for unique in s.find(name) if unique not in merged[2]]
            if not others:
                return merged[1]
        found = [(source, unique) for source in self.sources for unique in source.find(name)]
        if len(found) > 1:
            self._ambiguous(name, found, node)
        return Column(found[0][1]) if found else None

    def _dotted(self, parts: list[str], node: exp.Column) -> ExprNode | None:
        source = self.source(parts[0])
        if source is None:
            if self.parent is not None and self.parent._has(parts):
                return None  # a table of the query around goes before a column of this one that would have to be a struct
            whole = self._bare(parts[0], node)  # a struct's field: address.city
            return _fields(whole, parts[1:]) if whole is not None else None
        found = source.find(parts[1])
        if len(found) > 1:
            self._ambiguous(parts[1], [(source, one) for one in found], node)
        if not found:
            hint = did_you_mean(parts[1], source.names, "columns")
            refuse(node, f"table {source.alias!r} has no column {parts[1]!r}", hint)
        return _fields(Column(found[0]), parts[2:])

    def _has(self, parts: list[str]) -> bool:
        """Whether this query or one around it has a table of that name with such a column."""
        source = self.source(parts[0])
        return bool(source.find(parts[1])) if source is not None else self.parent is not None and self.parent._has(parts)

    def source(self, alias: str) -> Source | None:
        return next((one for one in self.sources if one.alias.lower() == alias.lower()), None)

    def _ambiguous(self, name: str, found: list[tuple[Source, str]], node: exp.Expr) -> None:
        places = " and ".join(dict.fromkeys(repr(f"{source.alias}.{name}") for source, _ in found))
        first = found[0][0].alias
        refuse(
            node, f"column {name!r} is ambiguous: {places}", f"say which: {first}.{name}" if first else "give them different names with AS"
        )

    def owns(self, unique: str) -> bool:
        """Whether a unique column is of this query's own tables."""
        return any(unique == own for source in self.sources for _, own in source.columns)

    def unknown(self, node: exp.Column) -> None:
        """The error for a name that means nothing in this query and those around it."""
        scopes: list[Scope] = []
        scope: Scope | None = self
        while scope is not None:
            scopes.append(scope)
            scope = scope.parent
        name = node.name
        if node.table:
            known = [one.alias for scope in scopes for one in scope.sources if one.alias]
            refuse(node, f"there is no table {node.parts[0].name!r} in this query", did_you_mean(node.parts[0].name, known, "tables"))
        columns = [seen for scope in scopes for one in scope.sources for seen in one.names]
        hint = did_you_mean(name, [*columns, *(alias for scope in scopes for alias in scope.aliases)], "columns")
        if node.this.args.get("quoted") and not hint.startswith("did you"):
            hint = f"text stands in single quotes: '{name}'; {hint}"
        refuse(node, f"there is no column {name!r}", hint)

    # -- all columns

    def star(self, alias: str | None, node: exp.Expr) -> list[tuple[str, ExprNode]]:
        """The columns that ``*`` or ``alias.*`` stands for, in order; those of USING once."""
        if alias is not None:
            source = self.source(alias)
            if source is None:
                known = [one.alias for one in self.sources]
                refuse(node, f"there is no table {alias!r} in this query", did_you_mean(alias, known, "tables"))
            return [(seen, Column(unique)) for seen, unique in source.columns]
        if not self.sources:
            refuse(node, "* needs a FROM")
        found: list[tuple[str, ExprNode]] = []
        done: set[str] = set()
        for source in self.sources:
            for seen, unique in source.columns:
                merged = self.merged.get(seen.lower())
                if merged is None or unique not in merged[2]:
                    found.append((seen, Column(unique)))
                elif seen.lower() not in done:
                    done.add(seen.lower())
                    found.append((merged[0], merged[1]))
        return found


def _fields(expr: ExprNode, names: list[str]) -> ExprNode:
    for name in names:
        expr = Call("struct.field", (expr,), (("name", name),))
    return expr
