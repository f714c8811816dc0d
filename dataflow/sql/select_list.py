"""The select list: names and expressions of the result, ``*`` written out; and ORDER BY, whose keys may be of that list."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from dataflow.expr.nodes import ExprNode, SortKey
from dataflow.sql.aggregates import sort_key
from dataflow.sql.errors import did_you_mean, refuse
from dataflow.sql.expressions import Expressions

__all__ = ["order_key", "read_items"]


class _Spelling(DuckDB.Generator):  # type: ignore[misc, valid-type]
    """SQL as it was written: DuckDB itself has no count(DISTINCT a, b), which would be spelled as a CASE."""

    MULTI_ARG_DISTINCT = True


def read_items(of: Expressions, select: exp.Select) -> tuple[list[tuple[str, ExprNode]], list[int]]:
    """The select list as names and expressions, ``*`` written out; and the places where ``unnest`` stands."""
    found: list[tuple[str, ExprNode]] = []
    unnested: list[int] = []
    for node in select.expressions:
        inner = node.this if isinstance(node, exp.Alias) else node
        if isinstance(inner, (exp.Star, exp.Column)) and inner.is_star:
            found += _star(of, inner)
        elif isinstance(inner, (exp.Explode, exp.Unnest)):
            unnested.append(len(found))
            items = inner.this if isinstance(inner, exp.Explode) else inner.expressions[0]
            found.append((node.alias or "unnest", of.expr(items)))
        else:
            found.append((_name(of, node), of.expr(node)))
    if not found:
        refuse(select, "this SELECT has no columns", "SELECT *")
    if len(unnested) > 1:
        refuse(select, "more than one unnest in a SELECT is not supported", "FROM t, unnest(t.items) AS u(item)")
    return found, unnested


def _name(of: Expressions, node: exp.Expr) -> str:
    """What a column of the result is called: its alias, the table's spelling of a column, else the text."""
    if isinstance(node, exp.Alias):
        return str(node.alias)
    if isinstance(node, (exp.Column, exp.Dot)):
        for source in of.scope.sources:
            if isinstance(node, exp.Column) and (not node.table or node.table.lower() == source.alias.lower()):
                for seen, _ in source.columns:
                    if seen.lower() == node.name.lower():
                        return seen
        return node.name
    spelled = str(_Spelling(dialect="duckdb", normalize_functions="lower", comments=False).generate(node))
    return "".join(letter if letter.isprintable() else " " for letter in spelled)[:60]


def _star(of: Expressions, node: exp.Expr) -> list[tuple[str, ExprNode]]:
    star = node.this if isinstance(node, exp.Column) else node
    found = of.scope.star(node.table or None if isinstance(node, exp.Column) else None, node)
    known = [seen for seen, _ in found]
    without = {one.name.lower(): one for one in star.args.get("except_") or []}
    changed = {one.alias.lower(): one for one in star.args.get("replace") or []}
    renamed = {one.this.name.lower(): one for one in star.args.get("rename") or []}
    for name, one in {**without, **changed, **renamed}.items():
        if name not in {seen.lower() for seen in known}:
            refuse(one, f"there is no column {name!r} in *", did_you_mean(name, known, "columns"))
    return [
        (
            renamed[seen.lower()].alias if seen.lower() in renamed else seen,
            of.expr(changed[seen.lower()].this) if seen.lower() in changed else expr,
        )
        for seen, expr in found
        if seen.lower() not in without
    ]


def order_key(of: Expressions, node: exp.Expr, items: list[tuple[str, ExprNode]]) -> SortKey:
    """One key of ORDER BY: a place or name of the result, else an expression over the tables."""
    inner = node.this if isinstance(node, exp.Ordered) else node
    if isinstance(inner, exp.Literal) and not inner.is_string:
        if not inner.name.isdigit() or not 1 <= int(inner.name) <= len(items):
            refuse(inner, f"ORDER BY {inner.name[:20]}: there are {len(items)} columns in SELECT")
        expr = items[int(inner.name) - 1][1]
    elif isinstance(inner, exp.Var) or (
        isinstance(inner, exp.Column) and inner.name.lower() == "all" and not inner.this.args.get("quoted")
    ):
        refuse(node, f"ORDER BY {inner.name.upper()} is not supported", "name the columns")
    elif isinstance(inner, exp.Column) and not inner.table and (named := _named(inner.name, items)) is not None:
        expr = named
    else:
        return sort_key(of, node)
    down, first = bool(node.args.get("desc")), bool(node.args.get("nulls_first"))
    return SortKey(expr, down, not first)


def _named(name: str, items: list[tuple[str, ExprNode]]) -> ExprNode | None:
    return next((expr for seen, expr in items if seen.lower() == name.lower()), None)
