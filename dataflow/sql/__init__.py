"""SQL text -> the same relational nodes that the methods of a collection make. No other engine sees the text.

    text ──parse──> tree ──query──> Planned(node, columns)          (sqlglot reads the text; all else is here)

    query       WITH names, brackets, the result's names; for each SELECT:
    block         FROM, WHERE -> GROUP BY -> HAVING -> windows -> QUALIFY -> SELECT -> DISTINCT -> ORDER BY -> LIMIT
    from_clause   groups of tables ──> joins        a join graph: no cross product where an equality exists
    expressions   names (scope), functions, times, aggregates, windows -> `ExprNode`, each typed at its place in the text
    subqueries    a subquery in an expression is noted as a column to come; attach joins it: semi, anti, mark, left, single
    dependent     what an inner query reads of an outer one is pushed down as a join (Neumann and Kemper 2015)
    setops        UNION, INTERSECT, EXCEPT

Three ideas carry it. Columns are named uniquely in the whole statement (`building`), so a correlated column is simply one that is
free in a plan. Expressions are made first over the tables and then lifted over groups and windows, so SELECT, HAVING and ORDER BY
are the same thing. And correlation is undone on our nodes, not on the text, so any query may stand in a subquery.

Words and nulls follow DuckDB: ``/`` divides to a float and ``//`` to an integer, nulls sort last, names compare without case.
sqlglot is imported at the first translation. Whatever is not understood is a `SqlError` with its place and what to use instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dataflow.sql.errors import SqlError, place_of

if TYPE_CHECKING:
    from dataflow.expr.types import Schema
    from dataflow.plan.nodes import Node
    from dataflow.plan.origin import Origin
    from dataflow.plan.relational import Relation

__all__ = ["SqlError", "translate"]


def translate(
    text: str, tables: Mapping[str, Node], schemas: Mapping[str, Schema], label: Callable[[str], str], origin: Origin
) -> Relation:
    """The relation that a query stands for, over the given tables of known columns. Raises `SqlError`."""
    try:
        from dataflow.sql.parse import parse
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "sqlglot":
            raise
        raise SqlError("SQL is read by sqlglot, which is not installed", hint="pip install 'dataflow-engine[sql]'") from error
    from dataflow.expr.typing import ExprError
    from dataflow.sql.building import Builder
    from dataflow.sql.query import translated

    build = Builder(text, tables, schemas, label, origin)
    tree = build.at = parse(text)
    try:
        return translated(build, tree)
    except ExprError as error:
        raise SqlError(str(error), *place_of(build.at), error.hint) from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Not a user's traceback to read: the parser lets trees pass that no grammar has. The cause is kept for us.
        what = f"{type(error).__name__}: {error}"
        raise SqlError(
            f"this SQL could not be translated ({what})", *place_of(build.at), "this is a fault of ours; please report it"
        ) from error
    except RecursionError:
        raise SqlError("this SQL nests too deeply to be translated", *place_of(build.at), "name inner queries with WITH") from None
