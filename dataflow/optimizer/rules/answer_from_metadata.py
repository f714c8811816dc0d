"""Answer from metadata: how many rows, and the least and greatest of a column, stand in the footers of files.

    aggregate len, min(x), max(x) over table over read                  ──>   a table of one record
    aggregate max(a) - min(a) over select (x as a) over table over read ──>   select #0 - #1 over a table of one record

For whole files and folders alone, without keys and conditions, choices and names of columns between; of columns for which every footer says
so (integers, dates, times, decimals: the bounds of text may be cut short there, and NaN is not in those of floats).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Aggregate, Alias, Column, ExprNode, Literal, Window, transform, walk
from dataflow.expr.typing import type_of
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import aggregates_of, named
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Read
from dataflow.plan.relational import GroupAggregate, Project, Table
from dataflow.plan.traversal import rewrite

__all__ = ["answer_from_metadata"]

Asked = tuple[str, "str | None"]


def answer_from_metadata(plan: Plan, remarks: Remarks) -> Plan:
    """Replace aggregations of whole files that their footers answer."""

    def answer(node: Node) -> Node:
        if not isinstance(node, GroupAggregate) or node.keys or node.sets is not None or node.schema is None:
            return node
        found = _source(node.input)
        if found is None:
            return node
        table, meanings = found
        known = getattr(table.input.source, "from_metadata", None)
        exprs = aggregates_of(node, tuple(meanings))
        asked = _asked(exprs, meanings) if known is not None else None
        if not asked:
            return node
        plain = {expr: name for name, expr in exprs.items()}
        names = {one: plain.get(one, f"#{at}") for at, one in enumerate(asked)}
        answered = known({names[one]: question for one, question in asked.items()})  # type: ignore[misc]
        if answered is None:
            return node
        remarks.say(f"answered: {node.label} from the footers of {table.input.label}")
        read = replace(table.input, label=inner_label(node.label, "footers"), source=answered)
        if all(names.get(expr) == name for name, expr in exprs.items()):  # type: ignore[call-overload]
            return Table(label=node.label, origin=node.origin, element=node.element, schema=node.schema, input=read)
        types = {names[one]: type_of(one, _schema(node.input)) for one in asked}
        below = Table(label=inner_label(node.label, "answers"), origin=node.origin, element=node.element, schema=types, input=read)

        def told(expr: ExprNode) -> ExprNode:
            return Column(names[expr]) if isinstance(expr, Aggregate) else expr

        shown = tuple(Alias(transform(expr, told), name) for name, expr in exprs.items())
        return Project(label=node.label, origin=node.origin, element=node.element, schema=node.schema, input=below, exprs=shown)

    return rewrite(plan, answer)


def _schema(node: Node) -> Any:
    return node.schema  # type: ignore[attr-defined]


def _source(node: Node) -> tuple[Any, dict[str, str | None]] | None:
    """The table over a read that is all there is below but choices of columns, and the column of it that each name means, None for
    what is computed."""
    steps: list[Project] = []
    while isinstance(node, Project):
        if any(isinstance(one, Window) for expr in node.exprs for one in walk(expr)):
            return None
        steps.append(node)
        node = node.input
    if not isinstance(node, Table) or not isinstance(node.input, Read) or node.schema is None:
        return None
    known: dict[str, str | None] = {name: name for name in node.schema}
    for step in reversed(steps):
        new = {name: known[expr.name] if isinstance(expr, Column) else None for name, expr in named(step.exprs, tuple(known)).items()}
        known = {**(known if step.keep else {}), **new}
    return node, known


def _asked(exprs: dict[str, ExprNode], meanings: dict[str, str | None]) -> dict[Aggregate, Asked] | None:
    """What the aggregates in some expressions ask of the files; None where one is none that a footer answers."""
    asked: dict[Aggregate, Asked] = {}
    for expr in exprs.values():
        inside: set[int] = set()
        for one in walk(expr):
            if isinstance(one, Window):
                return None
            if not isinstance(one, Aggregate):
                if isinstance(one, Column) and id(one) not in inside:
                    return None
                continue
            inside.update(id(arg) for arg in one.args)
            match one:
                case Aggregate("len", (), None) | Aggregate("count", (Literal(),), None, ()) if not one.args or _is_there(one.args[0]):
                    asked[one] = ("len", None)
                case Aggregate("count" | "min" | "max" as function, (Column(name),), None, ()) if (
                    column := meanings.get(name)
                ) is not None:
                    asked[one] = (function, column)
                case _:
                    return None
    return asked


def _is_there(expr: ExprNode) -> bool:
    return isinstance(expr, Literal) and expr.value is not None
