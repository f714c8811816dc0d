"""Every operation's name and typing rule: types of arguments in, type of the result out, or a `Refusal` that says why not.

    name             rule                          nulls
    "add"            numbers, times, text          a null argument gives null ("strict")
    "coalesce"       the types must meet           "own": the operation says itself what null means

Sources of the rules: arithmetic and comparison as in SQL where it is exact (decimal), as in Polars elsewhere; `docs/columns.md`
tells them to users. A file of `rules` for each namespace; a name stands in the file of the same name in all three tables.
"""

from __future__ import annotations

from dataflow.expr.rules import logic, nested, numbers, texts, times
from dataflow.expr.rules.aggregates import AGGREGATES, RANKINGS, SKETCHES
from dataflow.expr.rules.parts import Operation, Refusal

__all__ = ["AGGREGATES", "OPERATIONS", "RANKINGS", "SKETCHES", "Operation", "Refusal"]

OPERATIONS: dict[str, Operation] = {
    **numbers.OPERATIONS, **logic.OPERATIONS, **texts.OPERATIONS, **times.OPERATIONS, **nested.OPERATIONS,
}  # fmt: skip
