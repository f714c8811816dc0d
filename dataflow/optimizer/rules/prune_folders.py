"""Prune folders: of Hive folders only those are read whose values a condition lets through.

    where day == '2024-01-02' and x > 1 over table over read out (day=…/)
       ──>   where x > 1 over table over read out [1 of 31 folders: day == '2024-01-02']

A condition on folder columns alone is the same for all records of a folder: it is asked once a folder, and not again. Of one that reads
other columns too, what it says of the folders is asked, of ``(day == 1 & x > 1) | day == 2`` that is ``day == 1 | day == 2``, and the
condition stays. Where no folder is left, a table without records is read.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from dataflow.errors import DataflowError
from dataflow.expr.nodes import show
from dataflow.optimizer.conditions import conjunction, conjuncts
from dataflow.optimizer.implied import implied
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Read
from dataflow.plan.relational import Table, Where
from dataflow.plan.traversal import rewrite

__all__ = ["prune_folders"]


def prune_folders(plan: Plan, remarks: Remarks) -> Plan:
    """Read only the folders that conditions over a read let through."""
    count = itertools.count(1)

    def prune(node: Node) -> Node:
        if not isinstance(node, Where) or not isinstance(table := node.input, Table) or not isinstance(read := table.input, Read):
            return node
        source: Any = read.source
        folders = getattr(source, "folders", None)
        if folders is None or table.schema is None:
            return node
        try:
            known = folders()
        except (DataflowError, OSError):  # the run will say what cannot be read
            return node
        if known is None:
            return node
        columns = {name for name, kind in known.columns().items() if table.schema.get(name) == kind}
        parts = dict.fromkeys(conjuncts(node.predicate))
        asked = {part: one for part in parts if (one := implied(part, columns)) is not None}
        kept = known.where(list(asked.values())) if asked else None
        if kept is None:
            return node
        conditions = dict.fromkeys(asked.values())
        text = f"{len(kept)} of {len(known)} folders: {' & '.join(map(show, conditions))}"
        remarks.say(f"folders: {node.label} reads {text}")
        read = replace(read, label=inner_label(read.label, "folders", next(count)), source=source.of_folders(kept, text))
        rest = [part for part in parts if asked.get(part) is not part]
        if not rest:
            return replace(table, label=node.label, origin=node.origin, input=read)
        below = replace(table, label=inner_label(node.label, "table"), input=read)
        return replace(node, input=below, predicate=conjunction(rest))

    return rewrite(plan, prune)
