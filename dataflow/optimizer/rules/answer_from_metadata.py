"""Answer from metadata: how many rows, and the least and greatest of a column, stand in the footers of files.

    aggregate len, min(x), max(x) over table over read   ──>   a table of one record

For whole files alone, without keys and conditions; of columns for which every footer says so (integers, dates, times, decimals:
the bounds of text may be cut short there, and NaN is not in those of floats).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Aggregate, Alias, Column, name_of
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Read
from dataflow.plan.relational import GroupAggregate, Table
from dataflow.plan.traversal import rewrite

__all__ = ["answer_from_metadata"]


def answer_from_metadata(plan: Plan, remarks: Remarks) -> Plan:
    """Replace aggregations of whole files that their footers answer."""

    def answer(node: Node) -> Node:
        if not isinstance(node, GroupAggregate) or node.keys or node.sets is not None or node.schema is None:
            return node
        table = node.input
        if not isinstance(table, Table) or not isinstance(table.input, Read):
            return node
        asked: dict[str, tuple[str, str | None]] = {}
        for expr in node.aggs:
            inner = expr.input if isinstance(expr, Alias) else expr
            match inner:
                case Aggregate("len", (), None):
                    asked[name_of(expr)] = ("len", None)
                case Aggregate("count" | "min" | "max" as function, (Column(column),), None, ()):
                    asked[name_of(expr)] = (function, column)
                case _:
                    return node
        source: Any = table.input.source
        known = getattr(source, "from_metadata", None)
        answered = known(asked) if known is not None else None
        if answered is None:
            return node
        remarks.say(f"answered: {node.label} from the footers of {table.input.label}")
        read = replace(table.input, label=inner_label(node.label, "footers"), source=answered)
        return Table(label=node.label, origin=node.origin, element=node.element, schema=node.schema, input=read)

    return rewrite(plan, answer)
