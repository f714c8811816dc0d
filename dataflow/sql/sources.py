"""One table of FROM: a table given by the user, a WITH name, an inner query, VALUES, a series of numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Literal
from dataflow.expr.types import INT64, NULL, DType, promoted
from dataflow.plan.nodes import Node, Read
from dataflow.sql.errors import did_you_mean, refuse
from dataflow.sql.expressions import Expressions
from dataflow.sql.scope import Source
from dataflow.sql.subqueries import Planned, unwrapped

if TYPE_CHECKING:
    from dataflow.sql.query import Context

__all__ = ["read_source", "values"]

MOST_NUMBERS = 1_000_000  # a longer series is written as a collection of its own


def read_source(of: Expressions, context: Context, node: exp.Expr) -> tuple[Source, Node]:
    """A table's names and its relation."""
    names = [one.name for one in node.args["alias"].args.get("columns") or []] if isinstance(node.args.get("alias"), exp.TableAlias) else []
    match node:
        case exp.Table():
            return _table(of, context, node, names)
        case exp.Subquery():
            if (part := node.args.get("sample")) or (part := (node.args.get("pivots") or [None])[0]):
                refuse(part, "TABLESAMPLE and PIVOT are not supported in SQL here", "sample() and pivot() on the collection")
            planned = context.query(unwrapped(node) if isinstance(node.this, exp.Subquery) else node, of.scope.parent)
            return context.renamed(planned, node.alias, names, node)
        case exp.Values():
            return context.renamed(values(of, context, node), node.alias, names, node)
        case _:
            return refuse(node, f"{node.key} is not supported in FROM", "tables, subqueries, VALUES, unnest and LATERAL are")


def _table(of: Expressions, context: Context, node: exp.Table, names: list[str]) -> tuple[Source, Node]:
    for key, what in (("sample", "TABLESAMPLE"), ("pivots", "PIVOT"), ("version", "a table's version"), ("rows_from", "ROWS FROM")):
        if given := node.args.get(key):
            part = given[0] if isinstance(given, list) else given
            refuse(
                part if isinstance(part, exp.Expr) else node,
                f"{what} is not supported in SQL here",
                "sample() and pivot() on the collection, then sql()",
            )
    if isinstance(node.this, exp.GenerateSeries):
        return context.renamed(_series(of, context, node.this), node.alias or "series", names, node)
    if not isinstance(node.this, exp.Identifier):
        refuse(
            node, "functions are not supported in FROM", "read files with read_parquet() and its like, and pass them: sql(…, t=collection)"
        )
    name = node.name
    if node.args.get("db") is None and (planned := context.names.get(name.lower())) is not None:
        return context.renamed(planned, node.alias or name, names, node)
    tables = context.build.tables
    found = name if name in tables else next((one for one in tables if one.lower() == name.lower()), None)
    if node.args.get("db") is not None or found is None:
        known = [*tables, *context.names]
        hint = did_you_mean(name, known, "tables")
        given = node.sql("duckdb").split(" AS ")[0][:60]
        refuse(node, f"there is no table {given}", hint if known else "pass it: sql(text, orders=orders)")
    columns = context.build.schemas[found]
    return _scanned(context, context.build.tables[found], columns, node.alias or name, names, node)


def _scanned(
    context: Context, table: Node, columns: Any, alias: str, names: list[str], node: exp.Expr
) -> tuple[Source, Node]:  # fmt: skip
    if len(names) > len(columns):
        refuse(node, f"{len(names)} names for the {len(columns)} columns of {alias!r}")
    seen = dict(zip(columns, [*names, *list(columns)[len(names) :]]))
    used = [name for name in columns if context.uses(seen[name])] or list(columns)[:1]
    unique = {name: context.build.fresh(f"{alias}.{seen[name]}", columns[name]) for name in used}
    shown = tuple((seen[name], unique[name]) for name in used)
    return Source(alias, shown, tuple(seen.values())), context.build.scan(table, columns, unique)


def values(of: Expressions, context: Context, node: exp.Values) -> Planned:
    """VALUES (1, 'a'), (2, 'b'): rows of constants."""
    rows = [
        [of.constant(one, "a value of VALUES") for one in (row.expressions if isinstance(row, exp.Tuple) else [row])]
        for row in node.expressions
    ]
    width = len(rows[0])
    kinds: list[DType] = [NULL] * width
    for row, at in zip(rows, node.expressions):
        if len(row) != width:
            refuse(at, f"this row has {len(row)} values, and the first has {width}")
        for place, value in enumerate(row):
            kind = promoted(kinds[place], of.type(Literal(value)))
            if kind is None:
                refuse(at, f"column {place + 1} of VALUES holds {kinds[place]} and {of.type(Literal(value))}", "CAST one")
            kinds[place] = kind
    rows = [[_as_kind(value, kind) for value, kind in zip(row, kinds)] for row in rows]
    return _listed(context, rows, kinds, [f"col{place}" for place in range(width)])


def _as_kind(value: Any, kind: DType) -> Any:
    """A constant among others of its column, as a value of the type that holds all of them."""
    match kind.name, value:
        case ("float64", int() | Decimal()) if not isinstance(value, bool):
            return float(value)
        case ("decimal", int()) if not isinstance(value, bool):
            return Decimal(value)
        case ("datetime", dt.date()) if not isinstance(value, dt.datetime):
            return dt.datetime.combine(value, dt.time())
        case _:
            return value


def _series(of: Expressions, context: Context, node: exp.GenerateSeries) -> Planned:
    start, end, step = (of.constant(node.args.get(key), f"the {key} of a series") for key in ("start", "end", "step"))
    step = 1 if step is None else step
    if not all(isinstance(one, int) for one in (start, end, step)) or not step:
        refuse(node, "a series takes whole numbers, and a step that is not 0")
    numbers = range(start, end if node.args.get("is_end_exclusive") else end + (1 if step > 0 else -1), step)
    if len(numbers) > MOST_NUMBERS:
        refuse(node, f"a series of {len(numbers):,} numbers, more than {MOST_NUMBERS:,}", "p.create(range(…)) is a table of any length")
    return _listed(context, [[one] for one in numbers], [INT64], ["range" if node.args.get("is_end_exclusive") else "generate_series"])


def _listed(context: Context, rows: list[list[Any]], kinds: list[DType], names: list[str]) -> Planned:
    from dataflow.io.whole import ListSource

    build = context.build
    read = Read(
        label=build.label("sql values"), origin=build.origin, source=ListSource([dict(zip(names, row)) for row in rows]), element=dict
    )  # fmt: skip
    unique = {name: build.fresh(name, kind) for name, kind in zip(names, kinds)}
    return Planned(build.scan(read, dict(zip(names, kinds)), unique, cast=True), tuple(unique.items()))
