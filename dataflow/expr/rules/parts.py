"""What typing rules are made of: kinds of types, and rules for arguments of stated kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dataflow.expr.types import NULL, DType, promoted
from dataflow.record import record

__all__ = [
    "Kind", "Operation", "Refusal", "Rule", "always", "any_kind", "common", "first", "given", "is_", "is_bool", "is_bytes", "is_instant",
    "is_integer",
    "is_list", "is_number", "is_text", "meeting", "options_checked", "orderable", "shown",
]  # fmt: skip


class Refusal(Exception):
    """An operation does not take such types; the text says what it takes."""


Rule = Callable[[tuple[DType, ...], Mapping[str, Any]], DType]
Kind = Callable[[DType], bool]


@record(eq=True)
class Operation:
    """``own_nulls``: null arguments are given to the operation instead of making the result null."""

    rule: Rule
    own_nulls: bool = False


def shown(types: tuple[DType, ...]) -> str:
    return " and ".join(map(str, types))


def is_(*names: str) -> Kind:
    return lambda kind: kind.name in names


def is_number(kind: DType) -> bool:
    return kind.is_numeric


def is_integer(kind: DType) -> bool:
    return kind.is_integer


def any_kind(kind: DType) -> bool:
    return True


is_text, is_bool, is_bytes, is_instant, is_list = is_("string"), is_("bool"), is_("binary"), is_("date", "datetime"), is_("list", "array")


def always(result: DType) -> Rule:
    return lambda types, options: result


def first(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return types[0]


def given(*kinds: Kind, result: DType | None = None, what: str, rest: Kind | None = None) -> Rule:
    """A rule for arguments of stated kinds (``rest``: of those behind them); null is taken for any. The result is the first
    argument's type by default."""

    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        for at, kind in enumerate(types):
            check = kinds[at] if at < len(kinds) else rest
            if kind != NULL and check is not None and not check(kind):
                raise Refusal(f"it takes {what}, not {shown(types)}")
        return result if result is not None else types[0]

    return rule


def options_checked(rule: Rule, check: Callable[[Mapping[str, Any]], str | None]) -> Rule:
    """The rule, after its options were looked at; ``check`` gives what is wrong with them."""

    def checked(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        if wrong := check(options):
            raise Refusal(wrong)
        return rule(types, options)

    return checked


def meeting(types: tuple[DType, ...]) -> DType:
    """The type in which all meet."""
    found = types[0]
    for kind in types[1:]:
        both = promoted(found, kind)
        if both is None:
            raise Refusal(f"{found} and {kind} have no common type; cast one to the other")
        found = both
    return found


def common(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return meeting(types)


def orderable(kind: DType) -> DType:
    """The type itself, if its values have an order."""
    if kind.is_nested or kind.name == "other":
        raise Refusal(f"{kind} has no order")
    return kind
