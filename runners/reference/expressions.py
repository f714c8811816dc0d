"""What an expression means: `evaluate` of one row, `aggregate` of many, `window_values` of every row among others.

    row ──evaluate──> value        rows ──aggregate──> value        rows ──window_values──> a value for every row
              └── MEANINGS                 └── AGGREGATE_MEANINGS          └── RANKING_MEANINGS

`column` puts them together, for every row. Aggregates, windows and group keys are computed first and given to `evaluate` as
``known``: the values of whole nodes. The tables have the names of `dataflow.expr.operations`, and `docs/columns.md` says in
words what they say. Slow on purpose: a frame is found by asking every row whether it is in it.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from dataflow.expr.nodes import (
    Aggregate,
    Alias,
    Apply,
    Call,
    Case,
    Cast,
    Column,
    ExprNode,
    Literal,
    Ranking,
    SortKey,
    Window,
    children,
    show,
)  # fmt: skip
from dataflow.expr.operations import OPERATIONS
from dataflow.expr.types import Schema
from dataflow.expr.typing import ExprError, fitted, type_of
from runners.reference.aggregates import AGGREGATE_MEANINGS, RANKING_MEANINGS, Place, different
from runners.reference.casts import cast
from runners.reference.membership import members_of
from runners.reference.operations import MEANINGS
from runners.reference.times import moved, offset_by
from runners.reference.values import EXACT, Site, fit, identity, is_nan, order, utc

__all__ = [
    "AGGREGATE_MEANINGS", "MEANINGS", "RANKING_MEANINGS", "Known", "aggregate", "column", "evaluate", "sorted_rows", "window_values",
]  # fmt: skip

Row = Mapping[str, Any]
Known = Mapping[ExprNode, Any]


def evaluate(node: ExprNode, row: Row, schema: Schema, known: Known = {}) -> Any:  # noqa: B006  # nobody changes it
    """The value of an expression for one row."""
    if known and node in known:
        return known[node]
    match node:
        case Column(name):
            if name not in row:
                raise ExprError(f"{show(node)} is neither aggregated nor a key of the groups")
            return fit(row[name], schema[name])
        case Literal(value):
            return fit(value, type_of(node, schema))
        case Alias(input):
            return evaluate(input, row, schema, known)
        case Cast(input, to, strict):
            return cast(evaluate(input, row, schema, known), type_of(input, schema), to, strict)
        case Call():
            return _called(node, row, schema, known)
        case Case(branches, otherwise):
            chosen = next((value for condition, value in branches if evaluate(condition, row, schema, known) is True), otherwise)
            return fit(evaluate(chosen, row, schema, known), type_of(node, schema))
        case Apply():
            return _applied(node, [evaluate(arg, row, schema, known) for arg in node.args], schema)
        case _:
            raise ExprError(f"{show(node)} is not a value of one row")


def _called(node: Call, row: Row, schema: Schema, known: Known) -> Any:
    if (members := members_of(node, schema)) is not None:
        return members.hold(evaluate(node.args[0], row, schema, known))
    operation = OPERATIONS[node.operation]
    types = fitted(node.args, tuple(type_of(arg, schema) for arg in node.args))
    values = [fit(evaluate(arg, row, schema, known), kind) for arg, kind in zip(node.args, types, strict=True)]
    if None in values and not operation.own_nulls:
        return None
    result = type_of(node, schema)
    with decimal.localcontext(EXACT):
        return fit(MEANINGS[node.operation](Site(types, result, dict(node.options)), *values), result)


def _applied(node: Apply, values: list[Any], schema: Schema) -> Any:
    if not node.batches:
        return fit(node.fn(*values), node.returns)
    import pyarrow as pa

    from dataflow.kernels.types import to_arrow

    (found,) = node.fn(*(pa.array([value], to_arrow(type_of(arg, schema))) for value, arg in zip(values, node.args, strict=True)))
    return fit(found.as_py() if isinstance(found, pa.Scalar) else found, node.returns)


def column(node: ExprNode, rows: list[Row], schema: Schema, known: Known = {}) -> list[Any]:  # noqa: B006
    """The value of an expression for every row, windows among them."""
    windows = {window: window_values(window, rows, schema) for window in _outermost(node, Window)}
    return [
        evaluate(node, row, schema, {**known, **{window: values[at] for window, values in windows.items()}}) for at, row in enumerate(rows)
    ]


def _outermost(node: ExprNode, kind: type) -> Iterator[Any]:
    if isinstance(node, kind):
        yield node
    else:
        for child in children(node):
            yield from _outermost(child, kind)


# -- aggregates


def aggregate(node: ExprNode, rows: list[Row], schema: Schema, keys: Known = {}) -> Any:  # noqa: B006
    """The value of an expression of aggregates over these rows; ``keys``: the values of a group's key expressions."""
    known = dict(keys)
    for one in _outermost(node, Aggregate):
        known[one] = _aggregated(one, rows, schema)
    return evaluate(node, {}, schema, known)


def _aggregated(node: Aggregate, rows: list[Row], schema: Schema) -> Any:
    result = type_of(node, schema)
    if node.where is not None:
        rows = [row for row, keep in zip(rows, column(node.where, rows, schema), strict=True) if keep is True]
    if node.order:
        rows = sorted_rows(rows, node.order, schema)
    values = column(node.args[0], rows, schema) if node.args else [None] * len(rows)
    if node.distinct:
        values = different(values)
    kind = type_of(node.args[0], schema) if node.args else result
    return fit(AGGREGATE_MEANINGS[node.function](values, kind, dict(node.options)), result)


# -- order


def sorted_rows(rows: list[Row], keys: tuple[SortKey, ...], schema: Schema) -> list[Row]:
    """The rows in the order of the keys; equal ones stay as they came."""
    return [rows[at] for at in _ordered(list(range(len(rows))), [column(key.expr, rows, schema) for key in keys], keys)]


def _ordered(places: list[int], values: list[list[Any]], keys: tuple[SortKey, ...]) -> list[int]:
    """Sorted by the last key first; later sorts keep what is equal to them. Nulls stand where the key says, NaN is largest."""
    for key, found in reversed(list(zip(keys, values, strict=True))):
        nulls = [at for at in places if found[at] is None]
        others = sorted((at for at in places if found[at] is not None), key=lambda at: order(found[at]), reverse=key.descending)
        places = others + nulls if key.nulls_last else nulls + others
    return places


# -- windows


def window_values(node: Window, rows: list[Row], schema: Schema) -> list[Any]:
    """The value of a window function for every row, in the order of the rows."""
    partitions: dict[Any, list[int]] = {}
    parts = [column(expr, rows, schema) for expr in node.partition]
    for at in range(len(rows)):
        partitions.setdefault(identity([values[at] for values in parts]), []).append(at)
    keys = [column(key.expr, rows, schema) for key in node.order]
    result = type_of(node, schema)
    found: dict[int, Any] = {}
    for places in partitions.values():
        places = _ordered(places, keys, node.order)
        here = [rows[at] for at in places]
        standing = _standing([identity([values[at] for values in keys]) for at in places])
        if isinstance(node.function, Ranking):
            args = [[fit(evaluate(arg, row, schema), result) for arg in node.function.args] for row in here]
            computed = [RANKING_MEANINGS[node.function.function](place, args, dict(node.function.options)) for place in standing]
        else:
            first = [keys[0][at] for at in places] if keys else [None] * len(places)
            frames = [[row for other, row in enumerate(here) if _in_frame(node, place, other, first)] for place in standing]
            computed = [_aggregated(node.function, frame, schema) for frame in frames]
        found.update(zip(places, (fit(value, result) for value in computed), strict=True))
    return [found[at] for at in range(len(rows))]


def _standing(keys: list[Any]) -> list[Place]:
    """The places of rows by their ordered keys."""
    return [
        Place(at, len(keys), keys.index(key), len(keys) - 1 - keys[::-1].index(key), len(set(keys[: keys.index(key)])))
        for at, key in enumerate(keys)
    ]


def _in_frame(node: Window, place: Place, other: int, keys: list[Any]) -> bool:
    """Whether the row at ``other`` is in the frame of the row at ``place``; ``keys``: the first order key of all rows."""
    if node.frame is None:  # SQL's default
        return not node.order or other <= place.last
    start, end = node.frame.start, node.frame.end
    if node.frame.unit == "rows":
        return (start is None or other >= place.index + start) and (end is None or other <= place.index + end)
    down = bool(node.order) and node.order[0].descending
    behind = start is None or _reached(keys, place, other, start, down)
    return behind and (end is None or _reached(keys, place, other, end, down, back=True))


def _reached(keys: list[Any], place: Place, other: int, by: Any, down: bool, back: bool = False) -> bool:
    """Whether a row is at or behind the key ``by`` away from that of ``place`` (``back``: at or before). Null and NaN are near
    their equals only, and so is any key if ``by`` is 0."""
    mine, its = keys[place.index], keys[other]
    if mine is None or is_nan(mine) or by == 0:
        return other <= place.last if back else other >= place.first
    if its is None or is_nan(its):
        return other < place.index if back else other > place.index
    border, axis = _axis(_away(mine, by, down)), _axis(its)
    return bool(axis <= border) if back != down else bool(axis >= border)


def _away(key: Any, by: Any, down: bool) -> Any:
    if isinstance(by, str):
        turned = by[1:] if by.startswith("-") else "-" + by
        return offset_by(_axis(key) if isinstance(key, dt.date) and not isinstance(key, dt.datetime) else key, turned if down else by)
    by = -by if down else by
    if isinstance(by, dt.timedelta):
        return moved(_axis(key) if isinstance(key, dt.date) and not isinstance(key, dt.datetime) else key, by)
    return key + float(by) if isinstance(key, float) else _axis(key) + Fraction(str(by))


def _axis(key: Any) -> Any:
    """A key as something that compares with keys moved away from it: dates are midnights, numbers exact."""
    match key:
        case float() | dt.timedelta() | dt.time():
            return key
        case dt.datetime():
            return utc(key)
        case dt.date():
            return dt.datetime.combine(key, dt.time())
        case _:
            return Fraction(key)
