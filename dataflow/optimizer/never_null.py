"""Which columns of a node are sure to hold no null, and which no number below one.

    Table(Read) ─> Where ─> Join ─> GroupAggregate ─> …       for each a `Sure`, by `sure_of`, from those of its inputs
    x: of read 1      x, and y, as y > 3 is asked

Other than a guess of `statistics`, this is relied on: it comes from what files, tables and steps are, never from samples. A column is
known by the columns of sources that it is made of (``needs``); a source is asked only when something depends on it, since it may have to
look at many footers for the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.expr.nodes import Aggregate, Alias, Call, Case, Cast, Column, ExprNode, Literal, walk
from dataflow.expr.types import Schema
from dataflow.expr.typing import type_of
from dataflow.optimizer.conditions import conjuncts
from dataflow.plan.columns_out import aggregates_of, named, shared_keys
from dataflow.plan.nodes import Node, Read
from dataflow.plan.relational import Distinct, GroupAggregate, Join, Limit, OrderBy, Project, Table, Where
from dataflow.record import record

__all__ = ["Needs", "Sure", "holds", "never_null", "sure_of"]

Needs = frozenset[tuple[Read, str]]  # columns of sources
_NONE: Needs = frozenset()
_COMPARED = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_OF_NUMBERS = ("add", "subtract", "multiply", "negate")  # what does not fit wraps around or is an error, never null
_OF_ANY = (*_COMPARED, "and", "or", "not")
_OF_SOME = ("min", "max", "mean", "sum", "first", "last")  # of values of which at least one is there


@record
class Sure:
    """What is sure of the columns of a node: by name, what must hold no null so that it holds none (a name that is not there may hold
    some), those that are at least one, and of those that are equal in each record the same object."""

    needs: Mapping[str, Needs]
    counts: frozenset[str] = frozenset()
    same: Mapping[str, object] | None = None


NOTHING = Sure({})


def holds(needs: Needs | None) -> bool:
    """Whether the columns that are needed hold no null; a source that cannot be read says nothing, and the run will say why."""
    if needs is None:
        return False
    asked: dict[Read, set[str]] = defaultdict(set)
    for read, name in needs:
        asked[read].add(name)
    try:
        return all(names <= read.source.without_nulls(frozenset(names)) for read, names in asked.items())
    except (DataflowError, OSError):
        return False


def never_null(expr: ExprNode, sure: Sure, schema: Schema, grouped: bool = False) -> Needs | None:
    """What must hold no null so that an expression over these columns never is; None if it may be null for all that is known.
    ``grouped``: aggregates are of groups, none of which is empty.

    >>> x_is_full = Sure({"x": frozenset()})
    >>> holds(never_null(Call("is_null", (Column("y"),)), x_is_full, {})), holds(never_null(Column("y"), x_is_full, {}))
    (True, False)
    """
    found: dict[int, Needs | None] = {}
    for one in reversed(list(walk(expr))):
        found[id(one)] = _of_parts(one, sure, schema, found, grouped)
    return found[id(expr)]


def _of_parts(expr: ExprNode, sure: Sure, schema: Schema, known: Mapping[int, Needs | None], grouped: bool) -> Needs | None:
    match expr:
        case Column(name):
            return sure.needs.get(name)
        case Literal(value):
            return _NONE if value is not None else None
        case Alias(below) | Cast(below, _, True):
            return known[id(below)]
        case Call("is_null" | "is_not_null"):
            return _NONE
        case Call("coalesce", args):
            return next((needs for arg in args if (needs := known[id(arg)]) is not None), None)
        case Call(operation, args) if operation in _OF_ANY or operation in _OF_NUMBERS:
            needs = _all(known[id(arg)] for arg in args)
            if needs is None or operation in _OF_ANY or all(type_of(arg, schema).is_numeric for arg in args):
                return needs
            return None
        case Case(branches, otherwise):
            return _all(known[id(value)] for value in (*(value for _, value in branches), otherwise))
        case Aggregate("len" | "count" | "n_unique"):
            return _NONE
        case Aggregate(function, (arg,), None) if grouped and function in _OF_SOME:
            return known[id(arg)]
        case _:
            return None


def _all(parts: Iterable[Needs | None]) -> Needs | None:
    whole = _NONE
    for needs in parts:
        if needs is None:
            return None
        whole |= needs
    return whole


def sure_of(node: Node, given: Sequence[Sure]) -> Sure:
    """What is sure of the columns of a node, from what is of those of its inputs."""
    match node:
        case Table(input=Read() as read, schema=schema) if schema is not None:
            return Sure({name: frozenset(((read, name),)) for name in schema})
        case Where(predicate=predicate):
            there = dict.fromkeys(_must_be_there(predicate), _NONE)
            return replace(given[0], needs={**given[0].needs, **there}) if there else given[0]
        case OrderBy() | Limit() | Distinct():
            return given[0]
        case Project():
            return _projected(node, given[0])
        case GroupAggregate():
            return _grouped(node, given[0])
        case Join():
            return _joined(node, given[0], given[1])
        case _:
            return NOTHING


def _must_be_there(predicate: ExprNode) -> set[str]:
    """Columns that are not null where a condition is true."""
    found: set[str] = set()
    for one in conjuncts(predicate):
        if isinstance(one, Call) and one.operation in (*_COMPARED, "is_not_null"):
            found.update(arg.name for arg in one.args if isinstance(arg, Column))
    return found


def _projected(node: Project, below: Sure) -> Sure:
    have = getattr(node.input, "schema", None)
    if have is None:
        return NOTHING
    exprs = named(node.exprs, tuple(have))
    plain = {name: expr.name for name, expr in exprs.items() if isinstance(expr, Column)}
    needs = {name: found for name, expr in exprs.items() if (found := never_null(expr, below, have)) is not None}
    counts = {name for name, old in plain.items() if old in below.counts}
    same = {name: below.same[old] for name, old in plain.items() if below.same and old in below.same}
    if node.keep:
        needs = {**{name: one for name, one in below.needs.items() if name not in exprs}, **needs}
        counts |= below.counts - exprs.keys()
        same |= {name: one for name, one in (below.same or {}).items() if name not in exprs}
    return Sure(needs, frozenset(counts), same)


def _grouped(node: GroupAggregate, below: Sure) -> Sure:
    have = getattr(node.input, "schema", None)
    if have is None or node.sets is not None:
        return NOTHING
    keys, aggregates = named(node.keys, tuple(have)), aggregates_of(node, tuple(have))
    some = bool(keys)  # without, there is one record of no records, too
    needs = {name: found for name, expr in keys.items() if (found := never_null(expr, below, have)) is not None}
    needs |= {name: found for name, expr in aggregates.items() if (found := never_null(expr, below, have, some)) is not None}
    counts = frozenset(name for name, expr in aggregates.items() if some and expr == Aggregate("len"))
    first: dict[ExprNode, object] = {}
    return Sure(needs, counts, {name: first.setdefault(expr, object()) for name, expr in aggregates.items()})


def _joined(node: Join, left: Sure, right: Sure) -> Sure:
    have, theirs = getattr(node.left, "schema", None), getattr(node.right, "schema", None)
    if have is None or theirs is None or node.how not in ("inner", "cross", "left", "single", "semi", "anti"):
        return NOTHING
    if node.how in ("left", "single"):
        return left
    needs = dict(left.needs)
    if node.how in ("inner", "semi") and not node.null_equal:
        needs |= {key.name: _NONE for key in node.left_on if isinstance(key, Column)}
    if node.how in ("semi", "anti"):
        return replace(left, needs=needs)
    shared = shared_keys(node)
    out = {name: (name + node.suffix if name in have else name) for name in theirs if name not in shared}
    needs |= {new: right.needs[name] for name, new in out.items() if name in right.needs}
    if node.how == "inner" and not node.null_equal:
        needs |= {out[key.name]: _NONE for key in node.right_on if isinstance(key, Column) and key.name in out}
    counts = left.counts | {new for name, new in out.items() if name in right.counts}
    same = {**(left.same or {}), **{new: right.same[name] for name, new in out.items() if right.same and name in right.same}}
    return Sure(needs, counts, same)
