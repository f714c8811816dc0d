"""What every operation on one row means, by its name; comparison, logic and null are here, the rest beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from runners.reference import numbers, texts, times
from runners.reference.values import Site, identity, is_nan, meeting, order

__all__ = ["MEANINGS", "SEES_NULL", "extreme"]


Meaning = Callable[..., Any]  # (site, *arguments) -> value; the caller makes it a value of site.result


# -- comparison


def _compared(test: Callable[[Any, Any], bool], of: Callable[[Any], Any]) -> Meaning:
    def meaning(site: Site, one: Any, two: Any) -> bool:
        if of is order and meeting(site.types).is_nested:
            raise TypeError(f"{meeting(site.types)} has no order")
        one, two = site.met(one, two)
        return test(of(one), of(two))

    return meaning


_equal = _compared(lambda a, b: a == b, identity)
_less, _less_equal = _compared(lambda a, b: a < b, order), _compared(lambda a, b: a <= b, order)


def _between(site: Site, value: Any, low: Any, high: Any) -> bool | None:
    """low <= value and value <= high, with the `and` of three values."""
    closed = site.options.get("closed", "both")
    if value is None:
        return None
    above = None if low is None else (_less_equal if closed in ("both", "left") else _less)(site, low, value)
    below = None if high is None else (_less_equal if closed in ("both", "right") else _less)(site, value, high)
    return _and(above, below)


def _is_in(site: Site, value: Any, *values: Any) -> bool | None:
    """SQL's IN: value == one or value == another or …, with the `or` of three values; null is in nothing but may be unknown."""
    found: bool | None = False
    for one in values:
        found = _or(found, None if value is None or one is None else _equal(site, value, one))
    return None if value is None else found


# -- logic, of true, false and null (Kleene)


def _and(one: bool | None, two: bool | None) -> bool | None:
    if one is False or two is False:
        return False
    return None if one is None or two is None else True


def _or(one: bool | None, two: bool | None) -> bool | None:
    if one is True or two is True:
        return True
    return None if one is None or two is None else False


def _logic(bools: Callable[[Any, Any], Any], bits: Callable[[Any, Any], Any]) -> Meaning:
    def meaning(site: Site, one: Any, two: Any) -> Any:
        if site.result.name == "bool":
            return bools(one, two)
        return None if one is None or two is None else bits(int(one), int(two))

    return meaning


# -- null, NaN, across columns


def _extreme(largest: bool) -> Meaning:
    def meaning(site: Site, *values: Any) -> Any:
        return extreme([value for value in site.met(*values) if value is not None], largest)

    return meaning


def extreme(values: list[Any], largest: bool) -> Any:
    """The least or the greatest; NaN only if there is nothing else, null if there is nothing."""
    numbers = [value for value in values if not is_nan(value)] or values
    return (max if largest else min)(numbers, key=order) if numbers else None


def _null_if(site: Site, one: Any, two: Any) -> Any:
    return None if one is None or (two is not None and _equal(site, one, two)) else one


MEANINGS: dict[str, Meaning] = {
    **numbers.MEANINGS,
    # comparison
    "equal": _equal, "not_equal": lambda site, a, b: not _equal(site, a, b), "less": _less, "less_equal": _less_equal,
    "greater": lambda site, a, b: _less(site, b, a), "greater_equal": lambda site, a, b: _less_equal(site, b, a),
    "equal_missing": _equal, "not_equal_missing": lambda site, a, b: not _equal(site, a, b), "is_between": _between, "is_in": _is_in,
    # logic
    "and": _logic(_and, lambda a, b: a & b), "or": _logic(_or, lambda a, b: a | b), "xor": _logic(lambda a, b: a != b, lambda a, b: a ^ b),
    "not": lambda site, a: not a if isinstance(a, bool) else ~a,
    # null and NaN
    "is_null": lambda site, a: a is None, "is_not_null": lambda site, a: a is not None,
    "is_nan": lambda site, a: is_nan(a), "is_finite": lambda site, a: not isinstance(a, float) or math.isfinite(a),
    "coalesce": lambda site, *values: next((value for value in values if value is not None), None), "null_if": _null_if,
    "fill_nan": lambda site, a, b: b if is_nan(a) else a,
    # across columns
    "min_horizontal": _extreme(largest=False), "max_horizontal": _extreme(largest=True),
    # text, time
    **texts.MEANINGS, **times.MEANINGS,
    # lists and structs
    "list.len": lambda site, a: len(a), "struct.field": lambda site, a: a[site.options["name"]],
    "list.get": lambda site, a: a[site.options["index"]] if -len(a) <= site.options["index"] < len(a) else None,
}  # fmt: skip

# `own_nulls` should say so of these too: a null among the values leaves the others to decide, as in SQL.
SEES_NULL = frozenset(("is_between", "is_in", "fill_nan"))
