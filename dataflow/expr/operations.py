"""Every operation's name and typing rule: types of arguments in, type of the result out, or a `Refusal` that says why not.

    name             rule                          nulls
    "add"            numbers, times, text          a null argument gives null ("strict")
    "fill_null"      the types must meet           "own": the operation says itself what null means

Sources of the rules: arithmetic and comparison as in SQL where it is exact (decimal), as in Polars elsewhere; `docs/columns.md`
tells them to users. Sections by namespace; keep a name in the same place in all three tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.expr.types import (
    BOOL,
    DATE,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    NULL,
    STRING,
    DType,
    decimal_of,
    duration_of,
    list_of,
    promoted,
)  # fmt: skip

__all__ = ["AGGREGATES", "OPERATIONS", "RANKINGS", "Operation", "Refusal"]


class Refusal(Exception):
    """An operation does not take such types; the text says what it takes."""


Rule = Callable[[tuple[DType, ...], Mapping[str, Any]], DType]


@dataclass(frozen=True, slots=True)
class Operation:
    """``own_nulls``: null arguments are given to the operation instead of making the result null."""

    rule: Rule
    own_nulls: bool = False


# -- parts of rules


def _shown(types: tuple[DType, ...]) -> str:
    return " and ".join(map(str, types))


def _always(result: DType) -> Rule:
    return lambda types, options: result


def _first(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return types[0]


def _given(*kinds: Callable[[DType], bool], result: DType | None = None, what: str) -> Rule:
    """A rule for arguments of stated kinds; null is taken for any. The result is the first argument's type by default."""

    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        for kind, check in zip(types, kinds, strict=False):
            if kind != NULL and not check(kind):
                raise Refusal(f"it takes {what}, not {_shown(types)}")
        return result if result is not None else types[0]

    return rule


def _is(*names: str) -> Callable[[DType], bool]:
    return lambda kind: kind.name in names


def _numeric(kind: DType) -> bool:
    return kind.is_numeric


def _integer(kind: DType) -> bool:
    return kind.is_integer


def _any(kind: DType) -> bool:
    return True


_text, _bool, _bytes, _date, _instant = _is("string"), _is("bool"), _is("binary"), _is("date"), _is("date", "datetime")


def _on_text(result: DType | None = None, *more: Callable[[DType], bool]) -> Rule:
    return _given(_text, *more, result=result, what="text")


def _meeting(types: tuple[DType, ...]) -> DType:
    found = types[0]
    for kind in types[1:]:
        both = promoted(found, kind)
        if both is None:
            raise Refusal(f"{found} and {kind} have no common type; cast one to the other")
        found = both
    return found


def _common(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return _meeting(types)


def _compared(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    kind = _meeting(types)
    if kind.name in ("map", "other"):
        raise Refusal(f"{kind} cannot be compared")
    return BOOL


def _logic(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if all(kind in (BOOL, NULL) for kind in types):
        return BOOL
    if all(kind.is_integer for kind in types):
        return _meeting(types)
    raise Refusal(f"it takes bool, not {_shown(types)}; comparisons need brackets: (a > 1) & (b < 2)")


# -- arithmetic


def _add(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if one.name == two.name == "string":
        return STRING
    if "duration" in (one.name, two.name):
        if one.name == two.name:
            return _meeting(types)
        when = two if one.name == "duration" else one
        if when.name in ("date", "datetime", "time", "null"):
            return when
    return _numbers(types, "add")


def _subtract(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if one.name in ("date", "datetime") and two.name in ("date", "datetime"):
        kind = _meeting(types)
        return duration_of(kind.args[0] if kind.name == "datetime" else "us")
    if two.name == "duration" and one.name in ("date", "datetime", "duration", "null"):
        return _meeting(types) if one.name == "duration" else one
    return _numbers(types, "subtract")


def _multiply(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if "duration" in (one.name, two.name) and (one.is_integer or two.is_integer):
        return one if one.name == "duration" else two
    return _numbers(types, "multiply")


def _divide(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    one, two = types
    if one.name == "duration" and two.is_integer:
        return one
    if one.name == two.name == "duration":
        return FLOAT64
    _numbers(types, "divide")
    return FLOAT32 if FLOAT32 in types and all(kind in (FLOAT32, NULL) for kind in types) else FLOAT64


def _numbers(types: tuple[DType, ...], verb: str) -> DType:
    """The type of arithmetic: decimal results have the digits they need, as in SQL, so nothing is rounded."""
    if not all(kind.is_numeric or kind == NULL for kind in types):
        raise Refusal(f"{_shown(types)} do not {verb}")
    kind = _meeting(types)
    if kind.name != "decimal":
        return kind
    (p1, s1), (p2, s2) = (_decimal(t, kind) for t in types)
    if verb == "multiply":
        return decimal_of(p1 + p2, s1 + s2)
    scale = max(s1, s2)
    return decimal_of(max(p1 - s1, p2 - s2) + scale + 1, scale)


def _decimal(kind: DType, both: DType) -> tuple[int, int]:
    if kind == NULL:
        return both.args
    found = promoted(kind, decimal_of(1, 0))
    assert found is not None
    return found.args


def _arithmetic(verb: str) -> Rule:
    return lambda types, options: _numbers(types, verb)


def _floats(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not all(kind.is_numeric or kind == NULL for kind in types):
        raise Refusal(f"it takes numbers, not {_shown(types)}")
    return FLOAT32 if types[0] == FLOAT32 else FLOAT64


def _negate(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    (kind,) = types
    if not (kind.is_numeric or kind.name in ("duration", "null")) or kind.name.startswith("uint"):
        raise Refusal(f"{kind} has no negative")
    return kind


def _round(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    (kind,) = types
    if not (kind.is_numeric or kind == NULL):
        raise Refusal(f"it takes numbers, not {kind}")
    return kind


def _member(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    _meeting(types)
    return BOOL


# -- nested


def _item(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0].name not in ("list", "array"):
        raise Refusal(f"it takes a list, not {types[0]}")
    return types[0].args[0]


def _field(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0].name != "struct":
        raise Refusal(f"it takes a struct, not {types[0]}")
    fields = dict(types[0].args)
    if options["name"] not in fields:
        raise Refusal(f"there is no field {options['name']!r}; fields: {', '.join(fields)}")
    return fields[options["name"]]


_lists = _is("list", "array")

OPERATIONS: dict[str, Operation] = {
    # arithmetic
    "add": Operation(_add), "subtract": Operation(_subtract), "multiply": Operation(_multiply), "divide": Operation(_divide),
    "floor_divide": Operation(_arithmetic("divide")), "modulo": Operation(_arithmetic("divide")), "power": Operation(_floats),
    "negate": Operation(_negate), "abs": Operation(_round), "round": Operation(_round), "floor": Operation(_round), "ceil": Operation(_round),
    "sqrt": Operation(_floats), "exp": Operation(_floats), "log": Operation(_floats), "sign": Operation(_round),
    # comparison
    "equal": Operation(_compared), "not_equal": Operation(_compared), "less": Operation(_compared), "less_equal": Operation(_compared),
    "greater": Operation(_compared), "greater_equal": Operation(_compared), "equal_missing": Operation(_compared, own_nulls=True),
    "not_equal_missing": Operation(_compared, own_nulls=True), "is_between": Operation(_compared), "is_in": Operation(_member),
    # logic (Kleene: false & null is false)
    "and": Operation(_logic, own_nulls=True), "or": Operation(_logic, own_nulls=True), "xor": Operation(_logic), "not": Operation(_logic),
    # null and NaN
    "is_null": Operation(_always(BOOL), own_nulls=True), "is_not_null": Operation(_always(BOOL), own_nulls=True),
    "is_nan": Operation(_given(_numeric, result=BOOL, what="numbers")), "is_finite": Operation(_given(_numeric, result=BOOL, what="numbers")),
    "coalesce": Operation(_common, own_nulls=True), "null_if": Operation(_first, own_nulls=True),
    "fill_nan": Operation(_common),
    # across columns
    "min_horizontal": Operation(_common, own_nulls=True), "max_horizontal": Operation(_common, own_nulls=True),
    # text
    "str.contains": Operation(_on_text(BOOL)), "str.starts_with": Operation(_on_text(BOOL, _text)), "str.ends_with": Operation(_on_text(BOOL, _text)),
    "str.like": Operation(_on_text(BOOL)), "str.len_chars": Operation(_on_text(INT64)), "str.len_bytes": Operation(_on_text(INT64)),
    "str.to_lowercase": Operation(_on_text(STRING)), "str.to_uppercase": Operation(_on_text(STRING)),
    "str.strip_chars": Operation(_on_text(STRING)), "str.strip_chars_start": Operation(_on_text(STRING)), "str.strip_chars_end": Operation(_on_text(STRING)),
    "str.slice": Operation(_on_text(STRING)), "str.replace": Operation(_on_text(STRING)), "str.replace_all": Operation(_on_text(STRING)),
    "str.extract": Operation(_on_text(STRING)), "str.split": Operation(_on_text(list_of(STRING))), "str.concat": Operation(_on_text(STRING, _text)),
    # time
    "dt.year": Operation(_given(_instant, result=INT32, what="a date or datetime")),
    "dt.month": Operation(_given(_instant, result=INT32, what="a date or datetime")),
    "dt.day": Operation(_given(_instant, result=INT32, what="a date or datetime")),
    "dt.date": Operation(_given(_instant, result=DATE, what="a date or datetime")),
    "dt.offset_by": Operation(_given(_instant, what="a date or datetime")),
    # lists and structs
    "list.len": Operation(_given(_lists, result=INT64, what="a list")), "list.get": Operation(_item), "struct.field": Operation(_field),
}  # fmt: skip


# -- aggregates: one value of many


def _sum(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    """Integers sum to int64, and a sum that does not fit is an error; decimals keep their scale, with 38 digits."""
    (kind,) = types
    if kind.is_integer or kind == BOOL or kind == NULL:
        return INT64
    if kind.name == "decimal":
        return decimal_of(38, kind.args[1])
    if kind.is_float:
        return FLOAT64
    if kind.name == "duration":
        return kind
    raise Refusal(f"it takes numbers, not {kind}")


def _ordered(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0].is_nested or types[0].name == "other":
        raise Refusal(f"{types[0]} has no order")
    return types[0]


def _mean(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    (kind,) = types
    if kind.name == "duration":
        return kind
    if kind.is_numeric or kind in (BOOL, NULL):
        return FLOAT64
    raise Refusal(f"it takes numbers, not {kind}")


def _listed(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return list_of(types[0])


_to_bool = _given(_bool, result=BOOL, what="bool")

AGGREGATES: dict[str, Rule] = {
    "len": _always(INT64), "count": _always(INT64), "n_unique": _always(INT64), "sum": _sum, "mean": _mean, "min": _ordered, "max": _ordered,
    "first": _first, "last": _first, "any": _to_bool, "all": _to_bool, "std": _mean, "var": _mean, "median": _mean, "quantile": _mean,
    "collect": _listed,
}  # fmt: skip
RANKINGS: dict[str, Rule] = {
    "row_number": _always(INT64), "rank": _always(INT64), "dense_rank": _always(INT64), "percent_rank": _always(FLOAT64),
    "cume_dist": _always(FLOAT64), "ntile": _always(INT64), "lag": _common, "lead": _common,
}  # fmt: skip
