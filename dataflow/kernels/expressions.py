"""Expressions to Polars'. The only meaning they may have is the reference's; where Polars differs, a cast or a `when` makes up.

    ExprNode + schema ──lower──> Lowered(pl.Expr, DType)      types go along, so that literals and casts are exact

Where Polars differs from us, and what is done: sums of integers are made in 128 bits and must fit 64 (Polars wraps);
decimals multiply at the scale of both (Polars keeps the larger one); counts and lengths are int64 (uint32 there); halves
round away from zero; windows with an order include peers.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

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
)  # fmt: skip
from dataflow.expr.types import BOOL, FLOAT64, INT64, MOST_DIGITS, NULL, STRING, DType, Schema, decimal_of, promoted
from dataflow.expr.typing import fitted, type_of, type_of_value
from dataflow.kernels.types import to_polars

__all__ = ["AGGREGATE_KERNELS", "KERNELS", "RANKING_KERNELS", "Lowered", "lower"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A Polars expression and the plan's type of its value. Of a decimal also, where known: ``stored``, the integer it is stored
    as (seven digits at scale 2 for 12345.67), so that arithmetic can go on with that; ``constant``, a literal's value."""

    expr: pl.Expr
    type: DType
    stored: pl.Expr | None = None
    constant: decimal.Decimal | None = None


def lower(node: ExprNode, schema: Schema) -> pl.Expr:
    """The Polars expression of a node over these columns."""
    return _lower(node, schema, None).expr


def _lower(node: ExprNode, schema: Schema, where: ExprNode | None) -> Lowered:
    match node:
        case Column(name):
            return Lowered(pl.col(name), schema[name])
        case Literal(value, kind):
            found = kind if kind is not None else type_of_value(value)
            return _literal(value, found)
        case Alias(input, name):
            inner = _lower(input, schema, where)
            return Lowered(inner.expr.alias(name), inner.type)
        case Cast(input, to, strict):
            inner = _lower(input, schema, where)
            return Lowered(_cast(inner, to, strict), to)
        case Call(operation, args, options):
            kind = type_of(node, schema)
            types = fitted(args, tuple(type_of(arg, schema) for arg in args))
            parts = [_typed(arg, want, schema) for arg, want in zip(args, types, strict=True)]
            if kind.name == "decimal" and operation in _EXACT:
                return _decimals(_EXACT[operation], parts[0], parts[1], kind)
            return Lowered(KERNELS[operation](parts, dict(options), kind), kind)
        case Case(branches, otherwise):
            kind = type_of(node, schema)
            chain: Any = pl
            for condition, value in branches:
                chain = chain.when(_lower(condition, schema, None).expr).then(_as(_typed(value, kind, schema), kind))
            return Lowered(chain.otherwise(_as(_typed(otherwise, kind, schema), kind)), kind)
        case Aggregate():
            return _aggregate(node, schema)
        case Window():
            return _window(node, schema)
        case Apply():
            return _apply(node, schema)
        case _:
            raise AssertionError(f"{type(node).__name__} has no kernel of its own")


def _typed(node: ExprNode, want: DType, schema: Schema) -> Lowered:
    """An argument; a bare literal already as the type it takes here."""
    if isinstance(node, Literal) and node.type is None:
        return _literal(node.value, want)
    return _lower(node, schema, None)


def _literal(value: Any, kind: DType) -> Lowered:
    if value is None:
        return Lowered(pl.lit(None, dtype=to_polars(kind)) if kind != NULL else pl.lit(None), kind)
    if kind.name == "decimal":
        exact = decimal.Decimal(repr(value)) if isinstance(value, float) else decimal.Decimal(value)
        return Lowered(pl.lit(exact, dtype=pl.Decimal(max(kind.args[0], kind.args[1]), kind.args[1])), kind, constant=exact)
    return Lowered(pl.lit(value, dtype=to_polars(kind)), kind)


def _as(given: Lowered, kind: DType) -> pl.Expr:
    """The value as a wider type; nothing where it has that type."""
    return given.expr if given.type == kind else given.expr.cast(to_polars(kind))


def _cast(given: Lowered, to: DType, strict: bool) -> pl.Expr:
    have = given.type
    if have == to:
        return given.expr
    target = to_polars(to)
    if have == STRING and to.name == "date":
        return given.expr.str.to_date("%Y-%m-%d", strict=strict)
    if have == STRING and to.name == "datetime":
        return given.expr.str.to_datetime(time_unit=target.time_unit, time_zone=target.time_zone, strict=strict)
    if have == STRING and to == BOOL:
        low = given.expr.str.to_lowercase()
        known = pl.when(low.is_in(["true", "t", "1"])).then(True).when(low.is_in(["false", "f", "0"])).then(False)
        return known.otherwise(None) if not strict else known.otherwise(low.replace_strict({"true": True}, return_dtype=pl.Boolean))
    return given.expr.cast(target, strict=strict)


# -- operations

Kernel = Callable[[list[Lowered], Mapping[str, Any], DType], pl.Expr]


def _binary(method: str) -> Kernel:
    """A method of two arguments that meet in the result's type."""
    return lambda args, options, kind: getattr(_as(args[0], kind), method)(_as(args[1], kind))


def _compare(method: str) -> Kernel:
    """A method of arguments that meet in their common type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        one, *rest = _met(args)
        return getattr(one, method)(*rest)

    return kernel


def _met(args: list[Lowered]) -> list[pl.Expr]:
    meet = args[0].type
    for arg in args[1:]:
        meet = promoted(meet, arg.type) or meet
    if meet.name in ("decimal", "string", "date") and all(arg.type.name == meet.name for arg in args):
        return [arg.expr for arg in args]  # decimals of different scales compare as they are
    return [_as(arg, meet) for arg in args]


def _arithmetic(method: str) -> Kernel:
    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        one, two = args
        if kind.is_temporal or kind == STRING or one.type.is_temporal or two.type.is_temporal:
            return getattr(one.expr, method)(two.expr)
        return getattr(_as(one, kind), method)(_as(two, kind))

    return kernel


_EXACT = {"add": "add", "subtract": "sub", "multiply": "mul"}


def _decimals(method: str, one: Lowered, two: Lowered, kind: DType) -> Lowered:
    """Exact sums and products of decimals, as the integers they are stored as.

    Polars' own rescales each product by a division in 256 bits: on TPC-H 1 (6 million rows) its two products took 0.46 s of CPU,
    these 0.07 s. Where the result's digits are all in its type nothing can overflow. Where they were cut to 38, a product is
    Polars' checked one at scale 0, which needs no division, and a sum is Polars' own.
    """
    (p1, s1), (p2, s2), scale = _digits(one.type), _digits(two.type), kind.args[1]
    target = to_polars(kind)
    if method == "mul" and s1 + s2 == scale and p1 + p2 <= MOST_DIGITS:
        stored = _stored(one, s1) * _stored(two, s2)
    elif method == "mul" and s1 + s2 == scale:
        whole = pl.Decimal(MOST_DIGITS, 0)
        checked = _stored(one, s1).reinterpret(dtype=whole) * _stored(two, s2).reinterpret(dtype=whole)
        stored = checked.to_physical()
    elif method != "mul" and max(p1 - s1, p2 - s2) + scale < MOST_DIGITS:
        stored = getattr(_stored(one, scale), method)(_stored(two, scale))
    else:
        left, right = _decimal(one, scale), _decimal(two, None if method == "mul" else scale)
        return Lowered(getattr(left, method)(right).cast(target), kind)
    return Lowered(stored.reinterpret(dtype=target), kind, stored)


def _digits(kind: DType) -> tuple[int, int]:
    """Digits and scale of a number that meets a decimal; null has none."""
    found = promoted(kind, decimal_of(1, 0))
    assert found is not None
    return found.args


_WIDE = decimal.Context(prec=100)  # the default rounds to 28 digits


def _stored(given: Lowered, scale: int) -> pl.Expr:
    """A decimal as the integer it is stored as, at this scale or a smaller one; an integer counts as a decimal of scale 0."""
    if given.constant is not None:
        return pl.lit(int(given.constant.scaleb(scale, _WIDE)), dtype=pl.Int128)
    own = given.type.args[1] if given.type.name == "decimal" else 0
    stored = given.stored
    if stored is None:
        stored = given.expr.to_physical() if given.type.name == "decimal" else given.expr.cast(pl.Int128)
    return stored if own == scale else stored * pl.lit(10 ** (scale - own), dtype=pl.Int128)


def _decimal(given: Lowered, scale: int | None) -> pl.Expr:
    """A number as a decimal of 38 digits, at a scale (its own if None)."""
    own = given.type.args[1] if given.type.name == "decimal" else 0
    if given.type.name == "decimal" and (scale is None or scale == own):
        return given.expr
    return given.expr.cast(to_polars(decimal_of(38, own if scale is None else scale)))


def _divide(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = args
    if one.type.name == "duration":
        return (one.expr / two.expr).cast(to_polars(kind)) if kind.name == "duration" else one.expr.to_physical() / two.expr.to_physical()
    return _as(one, kind) / _as(two, kind)


def _floor_divide(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = args
    left, right = _as(one, kind), _as(two, kind)
    if kind.is_float:
        return (left / right).floor()
    return pl.when(right != 0).then(left // pl.when(right != 0).then(right)).otherwise(None).cast(to_polars(kind))


def _modulo(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = args
    left, right = _as(one, kind), _as(two, kind)
    return (left % pl.when(right != 0).then(right)).cast(to_polars(kind)) if not kind.is_float else left % right


def _round(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    if kind.is_integer:
        return one.expr
    rounded = one.expr.round(options["decimals"], mode="half_away_from_zero")
    return rounded.cast(to_polars(kind)) if kind.name == "decimal" else rounded


def _float(build: Callable[[list[pl.Expr], Mapping[str, Any]], pl.Expr]) -> Kernel:
    return lambda args, options, kind: build([_as(arg, kind) for arg in args], options)


def _own(method: str, *, to: bool = False) -> Kernel:
    """A method of the first argument with the others as they are; ``to``: its result must be cast to the plan's type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        target: Any = args[0].expr
        *spaces, name = method.split(".")
        for space in spaces:
            target = getattr(target, space)
        found = getattr(target, name)(*(arg.expr for arg in args[1:]), **options)
        return found.cast(to_polars(kind)) if to else found

    return kernel


def _is_in(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    value, *given = args
    if not given:
        return pl.when(value.expr.is_not_null()).then(False)
    meet = value.type
    for arg in given:
        meet = promoted(meet, arg.type) or meet
    present = [arg for arg in given if arg.type != NULL]
    one = _as(value, meet)
    if not present:
        found: pl.Expr = pl.lit(False)
    else:
        found = one.is_in(pl.concat_list([_as(arg, meet) for arg in present])) if len(present) > 64 else _any_equal(one, present, meet)
    if len(present) < len(given):  # SQL: in (1, null) is true or null, never false
        found = pl.when(found).then(True).otherwise(None)
    return found


def _any_equal(one: pl.Expr, given: list[Lowered], meet: DType) -> pl.Expr:
    found = one == _as(given[0], meet)
    for arg in given[1:]:
        found = found | (one == _as(arg, meet))
    return found


def _between(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, low, high = _met(args)
    return one.is_between(low, high, closed=options.get("closed", "both"))


def _coalesce(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return pl.coalesce([_as(arg, kind) for arg in args])


def _null_if(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    one, two = _met(args)
    return pl.when((one == two).fill_null(False)).then(None).otherwise(args[0].expr)


def _horizontal(fold: Callable[..., pl.Expr]) -> Kernel:
    return lambda args, options, kind: fold([_as(arg, kind) for arg in args])


def _like(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """LIKE by the cheapest search that is equal to it: most patterns are a prefix, a suffix, or one text between two %."""
    import re

    pattern, escape, text = options["pattern"], options.get("escape"), args[0].expr
    if not escape and "_" not in pattern:
        first, *middle, last = pattern.split("%") if "%" in pattern else (pattern, None)
        if last is None:
            return text == pattern
        if not middle:
            both = pl.lit(True) if not (first or last) else None
            if both is not None:
                return text.is_not_null() | None
            if not last:
                return text.str.starts_with(first)
            if not first:
                return text.str.ends_with(last)
        elif not first and not last and len(middle) == 1:
            return text.str.contains(middle[0], literal=True)
    out, at = ["(?s)^"], 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
        at += 1
    return text.str.contains("".join(out) + "$")


def _contains(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return args[0].expr.str.contains(options["pattern"], literal=options["literal"])


def _replace(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.str, method)(options["pattern"], options["value"], literal=options["literal"])


def _date_part(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.dt, method)().cast(to_polars(kind))


KERNELS: dict[str, Kernel] = {
    # arithmetic
    "add": _arithmetic("add"), "subtract": _arithmetic("sub"), "multiply": _arithmetic("mul"), "divide": _divide,
    "floor_divide": _floor_divide, "modulo": _modulo, "power": _float(lambda a, o: a[0].pow(a[1])),
    "negate": _own("__neg__"), "abs": _own("abs"), "round": _round,
    "floor": _own("floor", to=True), "ceil": _own("ceil", to=True), "sqrt": _float(lambda a, o: a[0].sqrt()), "exp": _float(lambda a, o: a[0].exp()),
    "log": _float(lambda a, o: a[0].log() if o["base"] is None else a[0].log(o["base"])), "sign": _own("sign", to=True),
    # comparison
    "equal": _compare("__eq__"), "not_equal": _compare("__ne__"), "less": _compare("__lt__"), "less_equal": _compare("__le__"),
    "greater": _compare("__gt__"), "greater_equal": _compare("__ge__"), "equal_missing": _compare("eq_missing"),
    "not_equal_missing": _compare("ne_missing"), "is_between": _between, "is_in": _is_in,
    # logic
    "and": _binary("__and__"), "or": _binary("__or__"), "xor": _binary("__xor__"), "not": _own("__invert__"),
    # null and NaN
    "is_null": _own("is_null"), "is_not_null": _own("is_not_null"),
    "is_nan": lambda a, o, k: a[0].expr.cast(pl.Float64).is_nan(), "is_finite": lambda a, o, k: a[0].expr.cast(pl.Float64).is_finite(),
    "coalesce": _coalesce, "null_if": _null_if, "fill_nan": lambda a, o, k: _as(a[0], k).fill_nan(_as(a[1], k)),
    # across columns
    "min_horizontal": _horizontal(pl.min_horizontal), "max_horizontal": _horizontal(pl.max_horizontal),
    # text
    "str.contains": _contains, "str.starts_with": _own("str.starts_with"), "str.ends_with": _own("str.ends_with"), "str.like": _like,
    "str.len_chars": _own("str.len_chars", to=True), "str.len_bytes": _own("str.len_bytes", to=True),
    "str.to_lowercase": _own("str.to_lowercase"), "str.to_uppercase": _own("str.to_uppercase"), "str.strip_chars": _own("str.strip_chars"),
    "str.strip_chars_start": _own("str.strip_chars_start"), "str.strip_chars_end": _own("str.strip_chars_end"), "str.slice": _own("str.slice"),
    "str.replace": _replace("replace"), "str.replace_all": _replace("replace_all"),
    "str.extract": lambda a, o, k: a[0].expr.str.extract(o["pattern"], o["group"]), "str.split": _own("str.split"),
    "str.concat": lambda a, o, k: pl.concat_str([x.expr for x in a]),
    # time
    "dt.year": _date_part("year"), "dt.month": _date_part("month"), "dt.day": _date_part("day"), "dt.date": _date_part("date"),
    "dt.offset_by": _own("dt.offset_by"),
    # lists and structs
    "list.len": _own("list.len", to=True), "list.get": lambda a, o, k: a[0].expr.list.get(o["index"], null_on_oob=True),
    "struct.field": lambda a, o, k: a[0].expr.struct.field(o["name"]),
}  # fmt: skip


# -- aggregates


def _sum(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    (one,) = args
    have = one.type
    if have.name == "decimal":
        return one.expr.sum()  # Polars sums decimals to 38 digits, and fails beyond
    if have.name in ("int64", "uint64"):
        return one.expr.cast(pl.Int128).sum().cast(pl.Int64)  # a sum that does not fit fails here
    if kind == INT64:
        return one.expr.cast(pl.Int64).sum()
    return _as(one, kind).sum()


def _listed(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return args[0].expr.implode()


AGGREGATE_KERNELS: dict[str, Kernel] = {
    "len": lambda a, o, k: pl.len().cast(pl.Int64), "count": lambda a, o, k: a[0].expr.count().cast(pl.Int64),
    "n_unique": lambda a, o, k: a[0].expr.drop_nulls().n_unique().cast(pl.Int64), "sum": _sum,
    "mean": lambda a, o, k: (a[0].expr if a[0].type.name == "decimal" else _as(a[0], k)).mean(), "min": _own("min"), "max": _own("max"),
    "first": _own("first"), "last": _own("last"), "any": lambda a, o, k: a[0].expr.any(ignore_nulls=True),
    "all": lambda a, o, k: a[0].expr.all(ignore_nulls=True), "std": lambda a, o, k: _as(a[0], FLOAT64).std(ddof=o["ddof"]),
    "var": lambda a, o, k: _as(a[0], FLOAT64).var(ddof=o["ddof"]), "median": lambda a, o, k: _as(a[0], FLOAT64).median(),
    "quantile": lambda a, o, k: _as(a[0], FLOAT64).quantile(o["q"], o["interpolation"]), "collect": _listed,
}  # fmt: skip


def _aggregate(node: Aggregate, schema: Schema) -> Lowered:
    kind = type_of(node, schema)
    args = [_lower(arg, schema, None) for arg in node.args]
    if node.order:
        args = [Lowered(_sorted(arg.expr, node.order, schema), arg.type) for arg in args]
    if node.where is not None:
        keep = _lower(node.where, schema, None).expr
        if node.order:
            keep = _sorted(keep, node.order, schema)
        if node.function == "len":
            return Lowered(keep.fill_null(False).cast(pl.Int64).sum(), kind)
        args = [Lowered(arg.expr.filter(keep), arg.type) for arg in args]
    return Lowered(AGGREGATE_KERNELS[node.function](args, dict(node.options), kind), kind)


def _sorted(expr: pl.Expr, order: tuple[SortKey, ...], schema: Schema) -> pl.Expr:
    return expr.sort_by(
        [lower(key.expr, schema) for key in order],
        descending=[key.descending for key in order],
        nulls_last=[key.nulls_last for key in order],
        maintain_order=True,
    )


# -- windows


def _window(node: Window, schema: Schema) -> Lowered:
    kind = type_of(node, schema)
    partition = [lower(expr, schema) for expr in node.partition] or [pl.lit(1)]
    if isinstance(node.function, Ranking):
        return Lowered(RANKING_KERNELS[node.function.function](node, node.function, partition, schema, kind), kind)
    inner = _aggregate(node.function, schema)
    if not node.order and node.frame is None:
        return Lowered(inner.expr.over(partition), kind)
    return Lowered(_framed(node, node.function, partition, schema, kind), kind)


def _in_order(build: Callable[[Callable[[pl.Expr], pl.Expr]], pl.Expr], node: Window, partition: list[pl.Expr], schema: Schema) -> pl.Expr:
    """``build`` makes a value for every row of a partition whose columns it sorts with the function it is given."""
    order = _sorted(pl.int_range(pl.len()), node.order, schema)
    return build(lambda expr: expr.gather(order)).gather(order.arg_sort()).over(partition)


def _peers(sort: Callable[[pl.Expr], pl.Expr], node: Window, schema: Schema) -> pl.Expr:
    """For sorted rows, the number of the run of rows with equal order keys."""
    keys = pl.struct([lower(key.expr, schema).alias(f"k{i}") for i, key in enumerate(node.order)])
    return sort(keys).rle_id()


def _framed(node: Window, function: Aggregate, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    frame = node.frame
    arg = _lower(function.args[0], schema, None) if function.args else Lowered(pl.lit(1), INT64)
    value = arg.expr
    if function.where is not None:
        value = pl.when(lower(function.where, schema)).then(value)
        if function.function == "len":
            function = Aggregate("count", (Literal(1),), None)
    if frame is None or (frame.unit == "range" and frame.start is None and frame.end == 0):
        if not node.order:
            return _aggregate(Aggregate(function.function, function.args, function.where, function.order, function.options), schema).expr.over(partition)

        def peers(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
            running = _running(function.function, sort(value), arg.type, kind)
            return _last_of_run(running, _peers(sort, node, schema))

        return _in_order(peers, node, partition, schema)
    if frame.unit == "rows" and frame.start is None and frame.end == 0:
        return _in_order(lambda sort: _running(function.function, sort(value), arg.type, kind), node, partition, schema)
    if frame.unit == "rows":
        return _in_order(lambda sort: _rows_frame(function.function, sort(value), arg.type, kind, frame.start, frame.end), node, partition, schema)
    raise NotImplementedError("range frames with values")


def _last_of_run(running: pl.Expr, run: pl.Expr) -> pl.Expr:
    """Each row's value taken from the last row of its run."""
    ends = run.rle().struct.field("len").cum_sum() - 1
    return running.gather(ends.gather(run))


def _running(function: str, value: pl.Expr, have: DType, kind: DType) -> pl.Expr:
    target = to_polars(kind)
    match function:
        case "sum":
            return value.cast(target).fill_null(0).cum_sum()
        case "count":
            return value.is_not_null().cast(pl.Int64).cum_sum()
        case "len":
            return pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        case "mean":
            known = value.is_not_null().cast(pl.Int64).cum_sum()
            return pl.when(known > 0).then(value.cast(pl.Float64).fill_null(0).cum_sum() / known)
        case "min":
            return value.cum_min().forward_fill()
        case "max":
            return value.cum_max().forward_fill()
        case "first":
            return value.first()
        case "last":
            return value
        case _:
            raise NotImplementedError(f"{function} over an order")


def _rows_frame(function: str, value: pl.Expr, have: DType, kind: DType, start: int | None, end: int | None) -> pl.Expr:
    """Sliding rows, by differences of running sums for sums and counts; else by slices."""
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    low = pl.lit(0, dtype=pl.Int64) if start is None else (place + start).clip(lower_bound=0)
    high = pl.len().cast(pl.Int64) - 1 if end is None else pl.min_horizontal(place + end, pl.len().cast(pl.Int64) - 1)
    length = pl.max_horizontal(high - low + 1, pl.lit(0, dtype=pl.Int64))

    def between(running: pl.Expr) -> pl.Expr:
        """The running total at the frame's end less that before its start."""
        size = pl.len().cast(pl.Int64)
        upto = running.gather(pl.max_horizontal(pl.min_horizontal(high, size - 1), pl.lit(0, dtype=pl.Int64)))
        before = pl.when(low > 0).then(running.gather(pl.min_horizontal(pl.max_horizontal(low - 1, pl.lit(0, dtype=pl.Int64)), size - 1))).otherwise(0)
        return pl.when((length > 0) & (high >= 0) & (low < size)).then(upto - before).otherwise(0)

    count = between(value.is_not_null().cast(pl.Int64).cum_sum())
    match function:
        case "count":
            return count
        case "len":
            return between(pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        case "sum" if not kind.is_float:
            return between(value.cast(to_polars(kind)).fill_null(0).cum_sum())
        case "mean" if have.is_integer:
            return pl.when(count > 0).then(between(value.cast(pl.Int64).fill_null(0).cum_sum()).cast(pl.Float64) / count)
    if start is None or end is None:
        raise NotImplementedError(f"{function} over rows ({start}, {end})")
    width = end - start + 1
    moved = value.shift(-end) if end else value
    rolling = {"sum": "rolling_sum", "mean": "rolling_mean", "min": "rolling_min", "max": "rolling_max"}[function]
    found = getattr(moved.cast(to_polars(kind)), rolling)(window_size=width, min_samples=1)
    return found.fill_null(0) if function == "sum" else found


def _row_number(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: pl.int_range(1, pl.len() + 1, dtype=pl.Int64), node, partition, schema)


def _rank(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _rank_of(_peers(sort, node, schema)), node, partition, schema)


def _rank_of(run: pl.Expr) -> pl.Expr:
    lengths = run.rle().struct.field("len").cast(pl.Int64)
    return (lengths.cum_sum() - lengths + 1).gather(run)


def _dense_rank(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    return _in_order(lambda sort: _peers(sort, node, schema).cast(pl.Int64) + 1, node, partition, schema)


def _percent_rank(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        rank = _rank_of(_peers(sort, node, schema))
        return pl.when(pl.len() > 1).then((rank - 1) / (pl.len() - 1)).otherwise(0.0).cast(pl.Float64)

    return _in_order(build, node, partition, schema)


def _cume_dist(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        run = _peers(sort, node, schema)
        return run.rle().struct.field("len").cast(pl.Int64).cum_sum().gather(run) / pl.len()

    return _in_order(build, node, partition, schema)


def _ntile(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
    n = dict(function.options)["n"]

    def build(sort: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        place, size = pl.int_range(pl.len(), dtype=pl.Int64), pl.len().cast(pl.Int64)
        small, longer = size // n, size % n  # the first `longer` parts have one row more
        head = longer * (small + 1)
        return pl.when(place < head).then(place // (small + 1)).otherwise(longer + (place - head) // pl.max_horizontal(small, pl.lit(1))) + 1

    return _in_order(build, node, partition, schema)


def _shift(direction: int) -> Callable[..., pl.Expr]:
    def kernel(node: Window, function: Ranking, partition: list[pl.Expr], schema: Schema, kind: DType) -> pl.Expr:
        n = direction * dict(function.options).get("n", 1)
        value = _as(_typed(function.args[0], kind, schema), kind)
        fill = _as(_typed(function.args[1], kind, schema), kind) if len(function.args) > 1 else None
        if fill is None:
            return _in_order(lambda sort: sort(value).shift(n), node, partition, schema)
        there = pl.int_range(pl.len(), dtype=pl.Int64) - n
        inside = (there >= 0) & (there < pl.len())
        return _in_order(lambda sort: pl.when(inside).then(sort(value).shift(n)).otherwise(fill), node, partition, schema)

    return kernel


RANKING_KERNELS: dict[str, Callable[..., pl.Expr]] = {
    "row_number": _row_number, "rank": _rank, "dense_rank": _dense_rank, "percent_rank": _percent_rank, "cume_dist": _cume_dist,
    "ntile": _ntile, "lag": _shift(1), "lead": _shift(-1),
}  # fmt: skip


# -- Python functions


def _apply(node: Apply, schema: Schema) -> Lowered:
    args = [_lower(arg, schema, None).expr.alias(f"a{i}") for i, arg in enumerate(node.args)]
    fn, target = node.fn, to_polars(node.returns)

    def run(series: pl.Series) -> pl.Series:
        columns = [series.struct.field(f"a{i}") for i in range(len(args))]
        if node.batches:
            return pl.Series(fn(*[column.to_arrow() for column in columns])).cast(target)
        values = list(map(fn, *[column.to_list() for column in columns]))
        return pl.Series(values, dtype=target, strict=True)

    return Lowered(pl.struct(args).map_batches(run, return_dtype=target), node.returns)


