"""Which columns of its inputs a relational tree only carries, and which its expressions read.

    select a, b + 1 as c over given(a, b, x) where x > 0    a: carried from input 0, c: made; read: b, x

What is only carried comes out in the very type it came in with, also where the plan's types know less than Arrow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

from dataflow.expr.nodes import Column, ExprNode, columns_of
from dataflow.plan.columns_out import aggregates_of, named, shared_keys
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    Given,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Table,
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip
from dataflow.plan.traversal import topological
from dataflow.record import record

__all__ = ["Lineage", "lineage"]

Origins = frozenset[tuple[int, str]]
_MADE: Origins = frozenset()


@record(frozen=False, eq=True)
class Lineage:
    """``carried``: the input columns that each column of the result is, unchanged; none for what is made. ``read``: the input
    columns, by input, in which expressions look. ``used``: those and all that come out or are compared."""

    carried: dict[str, Origins] = field(default_factory=dict)
    read: set[tuple[int, str]] = field(default_factory=set)
    used: set[tuple[int, str]] = field(default_factory=set)


def lineage(root: Relation, inputs: Sequence[Sequence[str]]) -> Lineage:
    """The lineage of a tree over inputs of these columns."""
    found = Lineage()
    known: dict[int, dict[str, Origins]] = {}
    for node in topological((root,)):
        assert isinstance(node, Relation)
        known[id(node)] = _of_node(node, [known[id(child)] for child in node.inputs], inputs, found)
    found.carried = known[id(root)]
    found.used |= found.read.union(*found.carried.values())
    return found


def _of_node(node: Relation, given: list[dict[str, Origins]], inputs: Sequence[Sequence[str]], found: Lineage) -> dict[str, Origins]:
    def read(exprs: Iterable[ExprNode], of: dict[str, Origins]) -> None:
        for expr in exprs:
            for name in columns_of(expr):
                found.read |= of.get(name, _MADE)

    def plainly(exprs: dict[str, ExprNode], of: dict[str, Origins]) -> dict[str, Origins]:
        """Expressions under their names: plain columns are carried, what others look at is read."""
        read((expr for expr in exprs.values() if not isinstance(expr, Column)), of)
        return {name: of.get(expr.name, _MADE) if isinstance(expr, Column) else _MADE for name, expr in exprs.items()}

    first = given[0] if given else {}
    match node:
        case Given(index=index):
            return {name: frozenset([(index, name)]) for name in inputs[index]}
        case Table() | Limit():
            return first
        case Project(exprs=exprs, keep=keep):
            new = plainly(named(exprs, tuple(first)), first)
            return {**first, **new} if keep else new
        case Where(predicate=predicate):
            read([predicate], first)
            return first
        case GroupAggregate(keys=keys):
            aggs = aggregates_of(node, tuple(first))
            read(aggs.values(), first)
            by = plainly(named(keys, tuple(first)), first)
            found.used.update(*by.values())
            return {**by, **dict.fromkeys(aggs, _MADE)}
        case Join():
            left, right = given
            for exprs, of in ((node.left_on, left), (node.right_on, right)):
                keys_ = plainly({str(at): expr for at, expr in enumerate(exprs)}, of)
                found.used.update(*keys_.values())
            if node.how in ("semi", "anti", "mark"):
                out = {**left, node.suffix: _MADE} if node.how == "mark" else left
            else:
                shared = shared_keys(node)
                beside = {(n + node.suffix if n in left else n): of for n, of in right.items() if n not in shared}
                either = {name: left[name] | right[name] for name in shared} if node.how in ("right", "full") else {}
                out = {**left, **either, **beside}
            if node.residual is not None:
                all_ = {**{(n + node.suffix if n in left else n): of for n, of in right.items()}, **left}
                read([node.residual], all_)
            return out
        case AsOfJoin():
            left, right = given
            read(map(Column, (node.left_on, *node.left_by)), left)
            read(map(Column, (node.right_on, *node.right_by)), right)
            skip = {*node.right_by, node.right_on} if node.left_on == node.right_on else set(node.right_by)
            renamed = {(n + node.suffix if n in left else n): of for n, of in right.items() if n not in skip}
            return {**left, **renamed}
        case OrderBy(keys=order):
            read((key.expr for key in order), first)
            return first
        case Distinct(columns=columns):
            found.used.update(*(first[name] for name in (columns if columns is not None else first)))
            return first
        case Explode(columns=columns):
            read(map(Column, columns), first)
            return {name: _MADE if name in columns else of for name, of in first.items()}
        case Unnest(columns=columns):
            read(map(Column, columns), first)
            return {name: first[name] if name in first and name not in columns else _MADE for name in node.schema or first}
        case Unpivot(on=on, index=index):
            read(map(Column, on), first)
            return {**{name: first[name] for name in index}, node.name: _MADE, node.value: _MADE}
        case Union():
            names = dict.fromkeys(name for part in given for name in part)
            return {name: _either([part[name] for part in given if name in part]) for name in names}
        case _:
            raise AssertionError(type(node).__name__)


def _either(origins: list[Origins]) -> Origins:
    """A column that is each of these in turn: carried if all of them are."""
    return frozenset().union(*origins) if all(origins) else _MADE
