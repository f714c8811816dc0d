"""A lowered expression: Polars' expression with the plan's type beside it, and the parts that all kernels share."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataflow.expr.types import NULL, DType, promoted
from dataflow.kernels.types import to_polars

__all__ = ["Kernel", "Lowered", "as_type", "literal", "met", "own"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A Polars expression and the plan's type of its value. Of a decimal also, where known: ``stored``, the integer it is stored
    as (seven digits at scale 2 for 12345.67), so that arithmetic can go on with that; ``constant``, a literal's value."""

    expr: pl.Expr
    type: DType
    stored: pl.Expr | None = None
    constant: decimal.Decimal | None = None


Kernel = Callable[[list[Lowered], Mapping[str, Any], DType], pl.Expr]  # (arguments, options, type of the result)


def literal(value: Any, kind: DType) -> Lowered:
    if value is None:
        return Lowered(pl.lit(None, dtype=to_polars(kind)) if kind != NULL else pl.lit(None), kind)
    if kind.name == "decimal":
        exact = decimal.Decimal(repr(value)) if isinstance(value, float) else decimal.Decimal(value)
        return Lowered(pl.lit(exact, dtype=pl.Decimal(max(kind.args[0], kind.args[1]), kind.args[1])), kind, constant=exact)
    return Lowered(pl.lit(value, dtype=to_polars(kind)), kind)


def as_type(given: Lowered, kind: DType) -> pl.Expr:
    """The value as a wider type; nothing where it has that type."""
    return given.expr if given.type == kind else given.expr.cast(to_polars(kind))


def met(args: list[Lowered]) -> list[pl.Expr]:
    meet = args[0].type
    for arg in args[1:]:
        meet = promoted(meet, arg.type) or meet
    if meet.name in ("decimal", "string", "date") and all(arg.type.name == meet.name for arg in args):
        return [arg.expr for arg in args]  # decimals of different scales compare as they are
    return [as_type(arg, meet) for arg in args]


def own(method: str, *, to: bool = False) -> Kernel:
    """A method of the first argument with the others as they are; ``to``: its result must be cast to the plan's type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        target: Any = args[0].expr
        *spaces, name = method.split(".")
        for space in spaces:
            target = getattr(target, space)
        found = getattr(target, name)(*(arg.expr for arg in args[1:]), **options)
        return found.cast(to_polars(kind)) if to else found

    return kernel
