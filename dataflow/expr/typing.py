"""The type of an expression over a schema, or an `ExprError` that names the part that is wrong and what would be right."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

from dataflow.errors import column_meant
from dataflow.expr.nodes import (
    Aggregate,
    Alias,
    AllColumns,
    Apply,
    Call,
    Case,
    Cast,
    Column,
    ExprNode,
    Frame,
    Literal,
    Ranking,
    Window,
    children,
    show,
    walk,
)  # fmt: skip
from dataflow.expr.operations import AGGREGATES, OPERATIONS, RANKINGS, SKETCHES, Refusal
from dataflow.expr.rules.casts import castable
from dataflow.expr.types import (
    BINARY,
    BOOL,
    DATE,
    FLOAT64,
    INT64,
    NULL,
    STRING,
    TIME,
    DType,
    Schema,
    datetime_of,
    decimal_of,
    duration_of,
    is_fixed_offset,
    list_of,
    promoted,
    struct_of,
)  # fmt: skip

__all__ = ["ExprError", "fitted", "is_loose", "type_of", "type_of_call", "type_of_value"]


class ExprError(Exception):
    """An expression that means nothing over these columns; ``hint`` says what might have been meant."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def type_of(node: ExprNode, schema: Schema) -> DType:
    """The type of an expression's value.

    >>> type_of(Call("add", (Column("a"), Literal(1))), {"a": DType("int8")})
    DType('int8')
    """
    match node:
        case Column(name):
            return _column(name, schema)
        case Literal(value, kind):
            return kind if kind is not None else type_of_value(value)
        case Alias(input):
            return type_of(input, schema)
        case Cast(input, to):
            have = type_of(input, schema)
            if not castable(have, to):
                raise ExprError(f"{show(node)}: {have} has no form as {to}")
            if {have.name, to.name} == {"string", "datetime"} and is_fixed_offset((to if to.name == "datetime" else have).args[1]):
                raise ExprError(f"{show(node)}: of an offset no clock is known", "go by .dt.convert_time_zone('UTC'), or a place's")
            return to
        case Call(_, args):
            return type_of_call(node, fitted(args, tuple(type_of(arg, schema) for arg in args)))
        case Case(branches, otherwise):
            for condition, _ in branches:
                kind = type_of(condition, schema)
                if kind not in (BOOL, NULL):
                    raise ExprError(f"when({show(condition)}) needs a bool, not {kind}")
            values = (*(value for _, value in branches), otherwise)
            return _ruled(node, OPERATIONS["coalesce"].rule, fitted(values, tuple(type_of(v, schema) for v in values)), {})
        case Aggregate(function, args, where, order, options, distinct):
            for part in children(node):
                if any(isinstance(one, (Aggregate, Window)) for one in walk(part)):
                    raise ExprError(f"{show(node)}: an aggregate of aggregates or windows", "compute the inner ones in a step before")
            if where is not None and type_of(where, schema) not in (BOOL, NULL):
                raise ExprError(f"filter({show(where)}) needs a bool, not {type_of(where, schema)}")
            for key in order:
                type_of(key.expr, schema)
            if distinct and args:
                _ruled(node, AGGREGATES["n_unique"], (type_of(args[0], schema),), {})
            return _ruled(node, AGGREGATES.get(function) or SKETCHES[function], tuple(type_of(arg, schema) for arg in args), dict(options))
        case Ranking():
            raise ExprError(f"{show(node)} needs a window: .over(…, order_by=…)")
        case Window(function, partition, order, frame):
            for expr in (*partition, *(key.expr for key in order), *function.args):
                if any(isinstance(one, Window) for one in walk(expr)):
                    raise ExprError(f"{show(node)}: a window within a window", "compute the inner one in a step before")
                type_of(expr, schema)
            if frame is not None:
                _check_frame(node, frame, schema)
            if isinstance(function, Aggregate) and function.order and (order or frame is not None):
                raise ExprError(f"{show(node)}: two orders", "give the order to over() alone")
            if isinstance(function, Ranking) and not order:
                raise ExprError(f"{show(function)} needs an order: .over(…, order_by=…)")
            return _type_of_ranking(function, schema) if isinstance(function, Ranking) else type_of(function, schema)
        case Apply(_, args, returns):
            for arg in args:
                type_of(arg, schema)
            return returns
        case AllColumns():
            raise ExprError("all() stands for many columns, and one is needed here")
        case _:
            raise AssertionError(type(node).__name__)


def type_of_call(node: Call, types: tuple[DType, ...]) -> DType:
    """The type of an operation over arguments of these types, which `fitted` made."""
    return _ruled(node, OPERATIONS[node.operation].rule, types, dict(node.options))


def _type_of_ranking(node: Ranking, schema: Schema) -> DType:
    types = fitted(node.args, tuple(type_of(arg, schema) for arg in node.args))
    return _ruled(node, RANKINGS[node.function], types, dict(node.options))


def _check_frame(node: Window, frame: Frame, schema: Schema) -> None:
    if isinstance(node.function, Ranking):
        raise ExprError(f"{show(node)}: a ranking has no frame")
    ends = [end for end in (frame.start, frame.end) if end is not None]
    if frame.unit == "rows" and not all(isinstance(end, int) for end in ends):
        raise ExprError(f"{show(node)}: a frame of rows is counted in whole numbers")
    if frame.unit == "range" and any(end != 0 for end in ends):
        if len(node.order) != 1:
            raise ExprError(f"{show(node)}: a frame of values needs one order key", "order_by=…, or rows=… with several")
        kind = type_of(node.order[0].expr, schema)
        spans = kind.name in ("date", "datetime")
        if not (kind.is_numeric or kind.name == "duration" or spans) or any(
            isinstance(end, (str, dt.timedelta)) == kind.is_numeric and end != 0 for end in ends
        ):
            raise ExprError(f"{show(node)}: {kind} has no frame of such values")


def _column(name: str, schema: Schema) -> DType:
    if name not in schema:
        hint = column_meant(name, schema)
        if not name.isidentifier():
            hint += f"; a text is lit({name!r})"
        raise ExprError(f"there is no column {name!r}", hint)
    return schema[name]


def _ruled(node: ExprNode, rule: Any, types: tuple[DType, ...], options: dict[str, Any]) -> DType:
    try:
        return rule(types, options)
    except Refusal as refusal:
        raise ExprError(f"{show(node)}: {refusal}") from None


def fitted(args: tuple[ExprNode, ...], types: tuple[DType, ...]) -> tuple[DType, ...]:
    """The types of arguments, untyped number literals taking the type of what they meet.

    An int beside a column of integers, floats or decimals takes that column's type if it fits there; a float does beside
    floats, and beside decimals too if it is written with few digits, as 0.05 is.
    """
    others = [kind for arg, kind in zip(args, types, strict=True) if not is_loose(arg) and kind != NULL]
    if not others or len(others) == len(types):
        return types
    meet = others[0]
    for kind in others[1:]:
        meet = promoted(meet, kind) or meet
    return tuple(_fit(arg, kind, meet) if is_loose(arg) else kind for arg, kind in zip(args, types, strict=True))


def is_loose(node: ExprNode) -> bool:
    """Whether an expression is a number without a type, which takes that of what it meets.

    >>> is_loose(Literal(1)), is_loose(Literal("a")), is_loose(Literal(1, FLOAT64))
    (True, False, False)
    """
    return isinstance(node, Literal) and node.type is None and type(node.value) in (int, float)


def _fit(node: ExprNode, kind: DType, meet: DType) -> DType:
    assert isinstance(node, Literal)
    value = node.value
    if type(value) is int:
        if meet.is_integer:
            low, high = _bounds(meet)
            return meet if low <= value <= high else kind
        if meet.is_float:
            return meet
        if meet.name == "decimal":
            return decimal_of(len(str(abs(value))), 0)
    elif type(value) is float:
        if meet.is_float:
            return meet
        if meet.name == "decimal" and value == value and abs(value) < 1e15:
            exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
            scale, zeros = max(0, -int(exponent.exponent)), max(0, int(exponent.exponent))
            return decimal_of(max(len(exponent.digits) + zeros, scale), scale) if scale <= 18 else kind
    return kind


def _bounds(kind: DType) -> tuple[int, int]:
    bits = int(kind.name.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if kind.name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def type_of_value(value: Any) -> DType:
    """The type of a Python value as a literal."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case int():
            return INT64 if -(2**63) <= value < 2**63 else decimal_of(38, 0)
        case float():
            return FLOAT64
        case str():
            return STRING
        case bytes():
            return BINARY
        case dt.datetime():
            zone = getattr(value.tzinfo, "key", None) or (str(value.tzinfo) if value.tzinfo else None)
            if zone is not None and zone.startswith(("UTC+", "UTC-")):  # a fixed offset, as Arrow spells it
                zone = zone.removeprefix("UTC")
            return datetime_of("us", zone)
        case dt.date():
            return DATE
        case dt.time():
            return TIME
        case dt.timedelta():
            return duration_of()
        case decimal.Decimal():
            if not value.is_finite():
                raise ExprError(f"{value} is no decimal that a column holds", f"float({str(value).lower()!r}) is a float")
            _, digits, exponent = value.as_tuple()
            scale = max(0, -int(exponent)) if isinstance(exponent, int) else 0
            whole = len(digits) + (exponent if isinstance(exponent, int) and exponent > 0 else 0)
            return decimal_of(max(whole, scale, 1), scale)
        case list() | tuple():
            found = NULL
            for item in value:
                both = promoted(found, type_of_value(item))
                if both is None:
                    raise ExprError(f"a list of {found} and {type_of_value(item)}: {value!r}")
                found = both
            return list_of(found)
        case dict():
            return struct_of({str(k): type_of_value(v) for k, v in value.items()})
        case _:
            raise ExprError(f"a {type(value).__name__} is no value of a column: {value!r}", "cast it to a plain Python value first")
