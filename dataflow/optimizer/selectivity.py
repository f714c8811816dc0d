"""Selectivity: the share of records for which a condition holds, guessed from what is known of their columns.

    x == 3            1 / different values of x          x > 3         its share of the range from least to greatest
    x == y            1 / the greater number of them     a & b         the product, as if they had nothing to do with one another
    x is null         the share of nulls                 a | b         1 - (1 - a)(1 - b)

These are the formulas of Selinger, Astrahan, Chamberlin, Lorie & Price, "Access path selection in a relational database management
system" (SIGMOD 1979), and so are the guesses where nothing is known: a tenth, a quarter, a third. `filtered` applies conditions
in turn, and a range leaves a narrower column to the next: ``x > 3 & x < 5`` is the share of the range between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from dataflow.expr.nodes import Call, Cast, Column, ExprNode, Literal
from dataflow.optimizer.conditions import conjuncts
from dataflow.plan.statistics import ColumnStatistics, Statistics, as_number

__all__ = ["different", "filtered", "selectivity"]

EQUAL = 0.1  # Selinger's guess for column = value
LESS = 1 / 3  # and for column > value
BETWEEN = 1 / 4
LIKE = 0.05  # a pattern, between a value and a range; Selinger had none
UNKNOWN = 1 / 3
_MIRRORED = {"less": "greater", "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal"}
_PATTERNS = ("str.like", "str.contains", "str.starts_with", "str.ends_with", "str.contains_any")

Columns = Mapping[str, ColumnStatistics]


def filtered(given: Statistics, predicate: ExprNode) -> Statistics:
    """The records for which a condition holds."""
    rows, columns = given.rows, dict(given.columns)
    for one in conjuncts(predicate):
        rows *= selectivity(one, columns)
        name, new = _narrowed(one, columns)
        if new is not None:
            columns[name] = new
    return Statistics(given.rows, columns).of_rows(max(rows, min(1.0, given.rows)))


def different(domain: float, rows: float) -> float:
    """How many of ``domain`` values occur in so many rows, drawn at random (Cardenas, CACM 1975)."""
    return min(domain * -math.expm1(-rows / domain), rows) if domain > 0 else 0.0


def selectivity(condition: ExprNode, columns: Columns) -> float:
    """The share of records for which a condition is true."""
    match condition:
        case Literal(value):
            return 1.0 if value else 0.0
        case Call("and", args):
            return math.prod(selectivity(one, columns) for one in args)
        case Call("or", args):
            return 1 - math.prod(1 - selectivity(one, columns) for one in args)
        case Call("not", (Call("is_in" | "equal", (Column(name), *_)) as inner,)):
            return max(0.0, 1 - _nulls(name, columns) - selectivity(inner, columns))
        case Call("not", (inner,)):
            return 1 - selectivity(inner, columns)
        case Call("is_null", (Column(name),)):
            return _nulls(name, columns)
        case Call("is_not_null", (Column(name),)):
            return 1 - _nulls(name, columns)
        case Call("not_equal", args):
            return 1 - selectivity(Call("equal", args), columns)
        case Call("equal" | "equal_missing", (one, two)):
            return _equal(one, two, columns)
        case Call("is_in", (one, *values)):
            count = _distinct(one, columns)
            return min(1.0, max(1, len(values)) * (1 / count if count is not None else EQUAL))
        case Call("less" | "less_equal" | "greater" | "greater_equal" | "is_between"):
            return _ranged(condition, columns)
        case Call(operation) if operation in _PATTERNS:
            return LIKE
        case Column(name) if name in columns:
            return 0.5 * (1 - columns[name].nulls)
        case _:
            return UNKNOWN


def _nulls(name: str, columns: Columns) -> float:
    return columns[name].nulls if name in columns else 0.0


def _distinct(expr: ExprNode, columns: Columns) -> float | None:
    """The different values of a column; an expression of one column is taken to have as many."""
    match expr:
        case Column(name) if name in columns:
            return max(1.0, columns[name].distinct)
        case Cast(inner) | Call(_, (inner, Literal())):
            return _distinct(inner, columns)
        case _:
            return None


def _equal(one: ExprNode, two: ExprNode, columns: Columns) -> float:
    if isinstance(one, Literal):
        one, two = two, one
    if isinstance(two, Literal) and isinstance(one, Column) and one.name in columns:
        column, value = columns[one.name], _value(two)
        if value is not None and column.low is not None and column.high is not None and not column.low <= value <= column.high:
            return 0.0
        return (1 - column.nulls) / max(1.0, column.distinct)
    known = [count for count in (_distinct(one, columns), _distinct(two, columns)) if count is not None]
    return 1 / max(known) if known else EQUAL


def _value(expr: ExprNode) -> float | None:
    while isinstance(expr, Cast):
        expr = expr.input
    return as_number(expr.value) if isinstance(expr, Literal) else None


def _interval(condition: ExprNode, columns: Columns) -> tuple[str, float, float] | None:
    """A comparison of a column with values, as the column and from where to where it may be."""
    match condition:
        case Call("less" | "less_equal" | "greater" | "greater_equal", (one, two)):
            operation = condition.operation
            if isinstance(two, Column):
                one, two, operation = two, one, _MIRRORED[operation]
            value = _value(two)
            if not isinstance(one, Column) or one.name not in columns or value is None:
                return None
            return (one.name, -math.inf, value) if operation.startswith("less") else (one.name, value, math.inf)
        case Call("is_between", (Column(name), low, high)) if name in columns:
            ends = _value(low), _value(high)
            return None if ends[0] is None or ends[1] is None else (name, ends[0], ends[1])
        case Call("equal", (Column(name), Literal() as value)) if name in columns and (at := _value(value)) is not None:
            return name, at, at
        case _:
            return None


def _ranged(condition: Call, columns: Columns) -> float:
    guess = BETWEEN if condition.operation == "is_between" else LESS
    found = _interval(condition, columns)
    if found is None:
        return guess
    name, start, end = found
    column = columns[name]
    if column.low is None or column.high is None:
        return guess
    start, end = max(start, column.low), min(end, column.high)
    if start > end:
        return 0.0
    span = column.high - column.low
    share = (end - start) / span if span else 1.0
    return (1 - column.nulls) * min(1.0, max(share, 1 / max(1.0, column.distinct)))


def _narrowed(condition: ExprNode, columns: Columns) -> tuple[str, ColumnStatistics | None]:
    """The column that a condition says something of, as it is where the condition holds."""
    match condition:
        case Call("is_not_null", (Column(name),)) if name in columns:
            return name, replace(columns[name], nulls=0.0)
        case Call("is_in", (Column(name), *values)) if name in columns:
            return name, _kept(columns[name], max(1, len(values)) / max(1.0, columns[name].distinct))
        case Call("equal", (Column(name), Literal())) if name in columns and _interval(condition, columns) is None:
            return name, _kept(columns[name], 0.0)
        case _:
            pass
    found = _interval(condition, columns)
    if found is None:
        return "", None
    name, start, end = found
    column = columns[name]
    share = 0.0 if start == end else selectivity(condition, {name: replace(column, nulls=0.0)})
    if column.low is None or column.high is None:
        return name, _kept(column, share)
    low, high = max(start, column.low), min(end, column.high)
    return name, replace(_kept(column, share), low=min(low, high), high=max(low, high))


def _kept(column: ColumnStatistics, share: float) -> ColumnStatistics:
    """A column of which only that share of the different values is left, one at least."""
    share = min(1.0, max(share, 1 / max(1.0, column.distinct)))
    return replace(column, distinct=column.distinct * share, kept=column.kept * share, nulls=0.0)
