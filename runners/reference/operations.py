"""What every operation on one row means, by its name; comparison, logic and null are here, the rest beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from dataflow.expr.types import STRING
from runners.reference import nested, numbers, texts, times
from runners.reference.casts import cast
from runners.reference.values import Site, extreme, fit, identity, is_nan, meeting, order

__all__ = ["MEANINGS"]


Meaning = Callable[..., Any]  # (site, *arguments) -> value; the caller makes it a value of site.result


# -- comparison


def _compared(test: Callable[[Any, Any], bool], of: Callable[[Any], Any]) -> Meaning:
    def meaning(site: Site, one: Any, two: Any) -> bool:
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


def _null_if(site: Site, one: Any, two: Any) -> Any:
    return None if one is None or (two is not None and _equal(site, one, two)) else one


def _fold(two_by_two: Meaning) -> Meaning:
    return lambda site, *values: reduce(lambda one, two: two_by_two(site, one, two), values)


def _replace(site: Site, value: Any, *rest: Any) -> Any:
    n = site.options["n"]
    old, new, default = rest[:n], rest[n : 2 * n], rest[2 * n :]
    kind = meeting(site.types[: n + 1])
    for one, other in zip(old, new, strict=True):
        if identity(fit(one, kind)) == identity(fit(value, kind)):
            return other
    if default or not site.options["strict"]:
        return default[0] if default else value
    if value is not None:
        raise ValueError(f"{value!r} is not among the values to replace")
    return None


def _clip(site: Site, value: Any, low: Any, high: Any) -> Any:
    value, low, high = (fit(one, site.result) for one in (value, low, high))
    if value is None or is_nan(value):
        return value
    if low is not None and order(value) < order(low):
        return low
    return high if high is not None and order(value) > order(high) else value


def _concat_str(site: Site, *parts: str | None) -> str | None:
    known = [part for part in parts if part is not None]
    return None if len(known) < len(parts) and not site.options["ignore_nulls"] else str(site.options["separator"].join(known))


def _hash(site: Site, value: Any) -> int:
    """64 bits of BLAKE2b of the bytes, or of the value's text."""
    data = value if isinstance(value, bytes) else cast(value, site.types[0], STRING).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


MEANINGS: dict[str, Meaning] = {
    **numbers.MEANINGS,
    # comparison
    "equal": _equal, "not_equal": lambda site, a, b: not _equal(site, a, b), "less": _less, "less_equal": _less_equal,
    "greater": lambda site, a, b: _less(site, b, a), "greater_equal": lambda site, a, b: _less_equal(site, b, a),
    "equal_missing": _equal, "not_equal_missing": lambda site, a, b: not _equal(site, a, b), "is_between": _between, "is_in": _is_in,
    # logic
    "and": _fold(_logic(_and, lambda a, b: a & b)), "or": _fold(_logic(_or, lambda a, b: a | b)),
    "xor": _logic(lambda a, b: a != b, lambda a, b: a ^ b), "not": lambda site, a: not a if isinstance(a, bool) else ~a,
    # null and NaN
    "is_null": lambda site, a: a is None, "is_not_null": lambda site, a: a is not None,
    "is_nan": lambda site, a: is_nan(a), "is_finite": lambda site, a: not isinstance(a, float) or math.isfinite(a),
    "coalesce": lambda site, *values: next((value for value in values if value is not None), None), "null_if": _null_if,
    "fill_nan": lambda site, a, b: b if is_nan(a) else a, "replace": _replace, "clip": _clip,
    # across columns
    "min_horizontal": _extreme(largest=False), "max_horizontal": _extreme(largest=True), "concat_str": _concat_str, "hash": _hash,
    # text, time, lists and structs
    **texts.MEANINGS, **times.MEANINGS, **nested.MEANINGS,
}  # fmt: skip
