"""Casts in Polars. What Polars casts by other rules than ours, or not at all, is parsed and made here.

A text that has no form as a date or time is replaced by one that no format takes, so that a strict cast fails with it.
"""

from __future__ import annotations

import polars as pl

from dataflow.expr.types import BOOL, STRING, TIME, DType
from dataflow.kernels.lowered import Lowered
from dataflow.kernels.types import to_polars

__all__ = ["cast"]

_DATE = r"^\d{4}-\d\d-\d\d$"
_TIME = r"^\d\d:\d\d(:\d\d(\.\d{1,9})?)?$"
_CLOCK = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?$"
_INSTANT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$"
_OFFSET = r"(Z|[+-]\d\d:?\d\d)$"


def cast(given: Lowered, to: DType, strict: bool) -> pl.Expr:
    """The value as another type; one that has no form there fails the run if ``strict``, else is null."""
    have, expr = given.type, given.expr
    if have == to:
        return expr
    target = to_polars(to)
    if have == STRING:
        return _from_text(expr, to, strict)
    if to == BOOL:
        return expr != 0 if have.is_numeric else expr.cast(target)
    if have == BOOL and to.name == "decimal":
        return expr.cast(pl.Int8).cast(target, strict=strict)
    if have.is_float and to.name == "decimal" and not strict:  # what has too many digits is an error in Polars' cast even so
        fits = expr.round(to.args[1]).abs() < 10.0 ** (to.args[0] - to.args[1])
        return pl.when(fits).then(expr).cast(target, strict=False)
    if have.name == "binary" and to == STRING:
        return expr.cast(target) if strict else expr.map_batches(_decoded, return_dtype=pl.String(), is_elementwise=True)
    if have == TIME and to == STRING:
        return expr.dt.strftime("%H:%M:%S%.f")
    if to.name in ("datetime", "duration") and to.args[0] == "s":
        return _whole_seconds(expr.cast(target, strict=strict), to)
    if have.name == to.name == "struct":
        return _struct(given, to, strict)
    if have.name in ("list", "array") and to.name in ("list", "array"):
        return _list(given, to, strict)
    return expr.cast(target, strict=strict)


def _whole_seconds(expr: pl.Expr, to: DType) -> pl.Expr:
    """Polars has no seconds: they are milliseconds without a rest. Durations are cut toward zero."""
    if to.name == "datetime":
        return expr.dt.truncate("1s")
    return (expr.dt.total_seconds() * 1000).cast(pl.Duration("ms"))


def _struct(given: Lowered, to: DType, strict: bool) -> pl.Expr:
    """Field by field, by name."""
    have = dict(given.type.args)
    fields = [
        (
            cast(Lowered(given.expr.struct.field(name), have[name]), kind, strict) if name in have else pl.lit(None, dtype=to_polars(kind))
        ).alias(name)
        for name, kind in to.args
    ]
    return pl.when(given.expr.is_not_null()).then(pl.struct(fields))


def _list(given: Lowered, to: DType, strict: bool) -> pl.Expr:
    items = given.expr.arr.to_list() if given.type.name == "array" else given.expr
    inner = cast(Lowered(pl.element(), given.type.args[0]), to.args[0], strict)
    found = items if given.type.args[0] == to.args[0] else items.list.eval(inner)
    if to.name == "list":
        return found
    if not strict:
        found = pl.when(found.list.len() == to.args[1]).then(found)
    return found.cast(to_polars(to), strict=strict)


def _decoded(values: pl.Series) -> pl.Series:
    def text(value: bytes | None) -> str | None:
        try:
            return value.decode() if value is not None else None
        except UnicodeDecodeError:
            return None

    return pl.Series(list(map(text, values.to_list())), dtype=pl.String)


# -- text


def _from_text(text: pl.Expr, to: DType, strict: bool) -> pl.Expr:
    target = to_polars(to)
    match to.name:
        case "bool":
            low, words = text.str.to_lowercase(), {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
            if strict:
                return low.replace_strict(words, return_dtype=pl.Boolean)
            return low.replace_strict(words, default=None, return_dtype=pl.Boolean)
        case "date":
            return _formed(text, _DATE).str.to_date("%Y-%m-%d", strict=strict)
        case "time":
            whole = pl.when(text.str.len_chars() == 5).then(text + pl.lit(":00")).otherwise(text)
            return _formed(text, _TIME, whole).str.to_time("%H:%M:%S%.f", strict=strict)
        case "datetime" if to.args[1] is None:
            return _clock(_formed(text, _CLOCK), to, strict)
        case "datetime":
            return _instant(text, to, strict)
        case _:
            return text.cast(target, strict=strict)


def _formed(text: pl.Expr, pattern: str, whole: pl.Expr | None = None) -> pl.Expr:
    """The text where it has that form, else one that has none and shows it."""
    wrong = pl.lit("not in ISO 8601's form: ") + text
    second = text.str.contains(r":60(\.|$|Z|[+-])")  # a leap second, which Polars takes
    return pl.when(text.str.contains(pattern) & ~second).then(text if whole is None else whole).otherwise(wrong)


def _clock(text: pl.Expr, to: DType, strict: bool) -> pl.Expr:
    spaced = text.str.replace("T", " ", literal=True)
    length = spaced.str.len_chars()
    whole = pl.when(length == 10).then(spaced + pl.lit(" 00:00:00")).when(length == 16).then(spaced + pl.lit(":00")).otherwise(spaced)
    found = whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit=to_polars(to).time_unit, strict=strict)
    return _whole_seconds(found, to) if to.args[0] == "s" else found


def _instant(text: pl.Expr, to: DType, strict: bool) -> pl.Expr:
    """With an offset it is that instant; without one the clock of the type's zone, the first of an hour that comes twice."""
    offset = text.str.extract(_OFFSET, 1).str.replace(":", "", literal=True)
    formed = pl.when(text.str.contains(_INSTANT)).then(text.str.replace(_OFFSET, "")).otherwise(_formed(text, _CLOCK))
    clock = _clock(_formed(formed, _CLOCK), to, strict)
    minutes = offset.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + offset.str.slice(3, 2).cast(pl.Int64, strict=False)
    ahead = pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    moved = (clock - pl.duration(minutes=ahead, time_unit="ms").cast(pl.Duration(to_polars(to).time_unit))).dt.replace_time_zone("UTC")
    local = (
        pl.when(offset.is_null())
        .then(clock)
        .dt.replace_time_zone(to.args[1], ambiguous="earliest", non_existent="raise" if strict else "null")
    )
    return pl.when(offset.is_null()).then(local).otherwise(moved.dt.convert_time_zone(to.args[1]))
