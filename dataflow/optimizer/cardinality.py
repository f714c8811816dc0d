"""How many records a relational node gives, from what is known of its inputs.

Where: `selectivity`.  Join: `join_sizes`.  GroupAggregate, Distinct: the combinations of values that so many records have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from dataflow.expr.nodes import Call, Column, ExprNode, Literal, columns_of
from dataflow.optimizer.join_sizes import divisor, reference
from dataflow.optimizer.selectivity import different, filtered, selectivity
from dataflow.plan.columns_out import aggregates_of, named, shared_keys
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip
from dataflow.plan.statistics import ITEMS, TEXT, ColumnStatistics, Statistics, width_of

__all__ = ["column_of", "estimate", "together"]

LONELY = 0.1  # the least share of records without a partner that is believed


def estimate(node: Relation, given: Sequence[Statistics | None]) -> Statistics | None:
    """One node over inputs of which this is known."""
    known = [one for one in given if one is not None]
    if len(known) < len(given) or not known:
        return None
    below = known[0]
    match node:
        case Where(predicate=predicate):
            return filtered(below, predicate)
        case Project():
            return _project(node, below)
        case GroupAggregate():
            return _grouped(node, below)
        case Join():
            return _joined(node, known[0], known[1])
        case AsOfJoin():
            return Statistics(below.rows, {**known[1].columns, **below.columns})
        case OrderBy(limit=limit):
            return below if limit is None else _at_most(below, limit)
        case Limit(count=count, offset=offset):
            return _at_most(below.of_rows(max(0.0, below.rows - offset)), count)
        case Distinct(columns=columns):
            names = columns if columns is not None else tuple(node.schema or ())
            return below.of_rows(_combinations([below.columns.get(name) for name in names], below.rows))
        case Explode(columns=columns):
            rest = {name: one for name, one in below.columns.items() if name not in columns}
            return Statistics(below.rows * ITEMS, rest)
        case Unnest(columns=columns):
            return Statistics(below.rows, {name: one for name, one in below.columns.items() if name not in columns})
        case Unpivot(on=on, index=index):
            return Statistics(below.rows * len(on), {name: one for name, one in below.columns.items() if name in index})
        case Union():
            return together(known)
        case _:
            return below


_MOST = {"dt.month": 12, "dt.quarter": 4, "dt.weekday": 7, "dt.day": 31, "dt.hour": 24, "dt.minute": 60, "dt.second": 60}


def column_of(expr: ExprNode, given: Statistics) -> ColumnStatistics:
    """What is known of an expression's values: of a column all, of anything else that it has no more of them than its columns do."""
    match expr:
        case Column(name) if name in given.columns:
            return given.columns[name]
        case Literal():
            return ColumnStatistics(1, 1)
        case Call("dt.year", (Column(name),)) if name in given.columns:
            of = given.columns[name]
            count = of.distinct if of.low is None or of.high is None else min(of.distinct, (of.high - of.low) / 365 + 1)
        case Call(operation) if operation in _MOST:
            count = min(given.rows, float(_MOST[operation]))
        case _:
            names = columns_of(expr)
            if len(names) == 1 and names[0] in given.columns:
                return replace(given.columns[names[0]], low=None, high=None)
            count = _combinations([given.columns.get(name) for name in names], given.rows)
    return ColumnStatistics(count, count)


def _combinations(columns: list[ColumnStatistics | None], rows: float) -> float:
    """How many combinations of values of some columns there are in so many rows. No more than rows in the table they are all of."""
    if any(one is None for one in columns):
        return rows
    known = [one for one in columns if one is not None]
    most = math.prod(max(1.0, one.distinct) + (one.nulls > 0) for one in known)
    if len({one.base for one in known}) == 1:
        most = min(most, known[0].base)
    if not math.isfinite(most):
        return rows
    return max(min(1.0, rows), different(most, rows))


def _at_most(given: Statistics, count: int | None) -> Statistics:
    return given if count is None else given.of_rows(min(given.rows, float(count)))


def _project(node: Project, below: Statistics) -> Statistics:
    have = tuple(node.input.schema or ()) if isinstance(node.input, Relation) else ()
    columns = dict(below.columns) if node.keep else {}
    for name, expr in named(node.exprs, have).items():
        columns.pop(name, None)
        if not isinstance(expr, Column):
            columns[name] = replace(column_of(expr, below), width=_width(node, name))
        elif expr.name in below.columns:
            columns[name] = below.columns[expr.name]
    return Statistics(below.rows, columns)


def _width(node: Relation, name: str) -> float:
    return width_of(node.schema[name]) if node.schema is not None else TEXT


def _grouped(node: GroupAggregate, below: Statistics) -> Statistics:
    have = tuple(node.input.schema or ()) if isinstance(node.input, Relation) else ()
    keys = {name: column_of(expr, below) for name, expr in named(node.keys, have).items()}
    sets = node.sets if node.sets is not None else (tuple(range(len(keys))),)
    of_keys = list(keys.values())
    rows = sum(_combinations([of_keys[at] for at in chosen], below.rows) if chosen else 1.0 for chosen in sets)
    columns = {}
    for name, one in keys.items():  # each group comes once: alone it is a key of the groups
        count = min(one.distinct, rows)
        columns[name] = replace(one, distinct=count, domain=count, base=rows, kept=1.0)
    for name in aggregates_of(node, have):
        columns[name] = ColumnStatistics(rows, rows, width=_width(node, name))
    return Statistics(rows, columns)


def _joined(node: Join, left: Statistics, right: Statistics) -> Statistics:
    pairs = [(column_of(one, left), column_of(two, right)) for one, two in zip(node.left_on, node.right_on, strict=True)]
    rows = left.rows * right.rows / math.prod(map(divisor, pairs)) * reference(pairs)
    shared = shared_keys(node)
    columns = dict(left.columns)
    for name, one in right.columns.items():
        if name not in shared:
            columns[name + node.suffix if name in columns else name] = one
    for on, (one, two) in zip(node.left_on, pairs, strict=True):
        if isinstance(on, Column) and node.how in ("inner", "semi"):
            columns[on.name] = replace(one, distinct=min(one.distinct, two.distinct))
    also = selectivity(node.residual, columns) if node.residual is not None else 1.0
    rows *= also
    partnered = math.prod(_share(one, two) for one, two in pairs) * also
    match node.how:
        case "semi":
            return left.of_rows(max(min(1.0, left.rows), left.rows * partnered))
        case "anti":  # nobody asks for what has no partner where all have one
            return left.of_rows(max(min(1.0, left.rows), left.rows * max(LONELY, 1 - partnered)))
        case "mark" | "single":
            return Statistics(left.rows, columns)
        case "left":
            rows = max(rows, left.rows)
        case "right":
            rows = max(rows, right.rows)
        case "full":
            rows = max(rows, left.rows, right.rows)
        case _:
            rows = max(rows, min(1.0, left.rows, right.rows))
    return Statistics(max(rows, left.rows, right.rows) + 1, columns).of_rows(rows)


def _share(one: ColumnStatistics, two: ColumnStatistics) -> float:
    """The share of a column's rows whose value is among those of another column."""
    return min(1.0, two.distinct / max(1.0, one.distinct)) * (1 - one.nulls)


def together(parts: Sequence[Statistics]) -> Statistics:
    """The records of several collections: of a column those numbers that all parts have."""
    rows = sum(part.rows for part in parts)
    columns = {}
    for name in parts[0].columns:
        same = [part.columns[name] for part in parts if name in part.columns]
        if len(same) == len(parts):
            lows, highs = [one.low for one in same if one.low is not None], [one.high for one in same if one.high is not None]
            bounds = (min(lows), max(highs)) if len(lows) == len(highs) == len(same) else (None, None)
            most = max(same, key=lambda one: one.distinct)
            columns[name] = replace(most, base=rows, low=bounds[0], high=bounds[1])
    return Statistics(rows, columns)
