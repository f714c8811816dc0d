"""The relational nodes: steps on the columns of records. What goes in and out are bags of records.

    any node of records ─> Where ─> Project ─> Join ─> GroupAggregate ─> OrderBy ─> Limit ─> any node

`schema` is the columns and types that come out, None where they are known only when data is seen (the results of a Python
function without a type): then names and types are checked when the step runs. Every node's expressions are over the schema
of its input; those of a join's ``residual`` over the left columns and the right ones as they come out.

A node's meaning is in `runners/reference/relations`.
"""

from __future__ import annotations

from typing import Any
from typing import Literal as OneOf

from dataflow.expr.nodes import ExprNode, SortKey
from dataflow.plan.nodes import Node, Relation
from dataflow.record import record

__all__ = [
    "AsOfJoin", "Distinct", "Explode", "Given", "GroupAggregate", "HowToJoin", "Join", "Limit", "OrderBy", "Project",
    "Relation", "Table", "Union", "Unnest", "Unpivot",
    "Where", "expressions_of",
]  # fmt: skip

HowToJoin = OneOf["inner", "left", "right", "full", "semi", "anti", "cross", "single", "mark"]


@record(kw_only=True)
class _OneRelation(Relation):
    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        (only,) = inputs
        return self if only is self.input else replace(self, input=only)


@record(kw_only=True)
class _TwoRelations(Relation):
    left: Node
    right: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.inputs else replace(self, left=inputs[0], right=inputs[1])


@record(kw_only=True)
class Table(_OneRelation):
    """Any collection of records whose columns are known, as they are: where relational steps begin."""


@record(kw_only=True)
class Project(_OneRelation):
    """select and with_columns: new columns by expression. ``keep``: after those the input has, replacing equal names in place."""

    exprs: tuple[ExprNode, ...]
    keep: bool = False


@record(kw_only=True)
class Where(_OneRelation):
    """The records for which the predicate is true; null is not true."""

    predicate: ExprNode


@record(kw_only=True)
class GroupAggregate(_OneRelation):
    """group_by().agg(): one record for every combination of ``keys`` that occurs, null a value like any. No keys: one record.

    ``sets``: grouping sets, each the places of its keys; a key that is not in the set is null there. Each ``aggs`` is an
    expression of aggregates and keys.
    """

    keys: tuple[ExprNode, ...]
    aggs: tuple[ExprNode, ...]
    sets: tuple[tuple[int, ...], ...] | None = None


@record(kw_only=True)
class Join(_TwoRelations):
    """Pairs of records whose keys are equal (null equals null only if ``null_equal``) and for which ``residual`` is true.

    Columns: the left's, then the right's under their own name, or with ``suffix`` where the left has it; a right key column
    that is plainly equal to a left one (same expression ``col(k)``) comes once, except in a right join of different values.
    semi, anti: the left records with, without, a partner. single: the right side has at most one record per left one (an
    error else), null without. mark: the left columns and a bool ``suffix`` that says whether there is a partner.
    """

    how: HowToJoin
    left_on: tuple[ExprNode, ...] = ()
    right_on: tuple[ExprNode, ...] = ()
    null_equal: bool = False
    suffix: str = "_right"
    residual: ExprNode | None = None


@record(kw_only=True)
class AsOfJoin(_TwoRelations):
    """For every left record the one right record of equal ``by`` whose ``right_on`` is nearest: the last not after ("backward"),
    the first not before ("forward"), or the nearer; null where there is none, or none within ``tolerance``."""

    left_on: str
    right_on: str
    left_by: tuple[str, ...] = ()
    right_by: tuple[str, ...] = ()
    strategy: OneOf["backward", "forward", "nearest"] = "backward"
    tolerance: Any = None
    suffix: str = "_right"


@record(kw_only=True)
class OrderBy(_OneRelation):
    """The records in order of the keys; with ``limit``, only the first of them (top-k). Equal records stay as they came."""

    keys: tuple[SortKey, ...]
    limit: int | None = None


@record(kw_only=True)
class Limit(_OneRelation):
    """``count`` records after the first ``offset``: in order behind an order, else any."""

    count: int | None
    offset: int = 0


@record(kw_only=True)
class Distinct(_OneRelation):
    """One record for every combination of values of the ``columns`` (all if None), null a value like any."""

    columns: tuple[str, ...] | None = None


@record(kw_only=True)
class Explode(_OneRelation):
    """A record for every item of the lists in ``columns``, which must be equally long; an empty or null list gives null."""

    columns: tuple[str, ...]


@record(kw_only=True)
class Unnest(_OneRelation):
    """Structs in ``columns`` replaced by their fields."""

    columns: tuple[str, ...]


@record(kw_only=True)
class Unpivot(_OneRelation):
    """Columns become rows: for every record and every column of ``on``, the ``index`` columns, its name and its value."""

    on: tuple[str, ...]
    index: tuple[str, ...]
    name: str = "variable"
    value: str = "value"


@record(kw_only=True)
class Union(Relation):
    """The records of all parts, columns matched by name, types promoted. ``fill``: a column that a part lacks is null there."""

    parts: tuple[Node, ...]
    fill: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.parts else replace(self, parts=inputs)


@record(kw_only=True)
class Given(Relation):
    """Inside a `Query`: the records of its input number ``index``."""

    index: int


def expressions_of(node: Node) -> tuple[ExprNode, ...]:
    """The expressions of a relational node, each over the columns of its input."""
    match node:
        case Project(exprs=exprs):
            return exprs
        case Where(predicate=predicate):
            return (predicate,)
        case GroupAggregate(keys=exprs, aggs=aggs):
            return (*exprs, *aggs)
        case Join(left_on=left_on, right_on=right_on, residual=residual):
            return (*left_on, *right_on, *((residual,) if residual is not None else ()))
        case OrderBy(keys=keys):
            return tuple(key.expr for key in keys)
        case _:
            return ()
