"""What every operation on one row means, under the names of `dataflow.expr.operations`: numbers, comparison, logic, null, nested."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dataflow.expr.types import DType
from runners.reference import texts, times
from runners.reference.values import EXACT, fit, identity, is_nan, meeting, order

__all__ = ["MEANINGS", "SEES_NULL", "Site", "extreme"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an operation stands: the types of its arguments, of its result, and its options."""

    types: tuple[DType, ...]
    result: DType
    options: Mapping[str, Any]

    def met(self, *values: Any) -> list[Any]:
        """The arguments in the type in which they meet."""
        kind = meeting(self.types)
        return [fit(value, kind) for value in values]


Meaning = Callable[..., Any]  # (site, *arguments) -> value; the caller makes it a value of site.result


# -- arithmetic


def _numbers(ints: Callable[[Any, Any], Any], exact: Callable[[Any, Any], Any]) -> Meaning:
    """Integers and floats as Python has them, decimals with all their digits."""

    def meaning(site: Site, one: Any, two: Any) -> Any:
        one, two = site.met(one, two)
        return exact(one, two) if isinstance(one, Decimal) else ints(one, two)

    return meaning


def _add(site: Site, one: Any, two: Any) -> Any:
    if isinstance(one, str):
        return one + two
    if isinstance(one, dt.timedelta) and isinstance(two, (dt.date, dt.time)):
        one, two = two, one
    return times.moved(one, two) if isinstance(two, dt.timedelta) else _sum(site, one, two)


def _subtract(site: Site, one: Any, two: Any) -> Any:
    if isinstance(two, dt.timedelta):
        return times.moved(one, -two)
    return times.between(*site.met(one, two)) if isinstance(one, dt.date) else _difference(site, one, two)


def _multiply(site: Site, one: Any, two: Any) -> Any:
    return one * two if isinstance(one, dt.timedelta) or isinstance(two, dt.timedelta) else _product(site, one, two)


def _divide(site: Site, one: Any, two: Any) -> Any:
    """Numbers as floats: x / 0 is infinite, 0 / 0 is NaN. A duration by an integer goes down to whole microseconds; by 0 it is null."""
    if isinstance(one, dt.timedelta) and not isinstance(two, dt.timedelta):
        return one // two if two else None
    if isinstance(one, dt.timedelta):
        one, two = one // dt.timedelta(microseconds=1), two // dt.timedelta(microseconds=1)
    return _ratio(float(one), float(two))


def _ratio(one: float, two: float) -> float:
    if two != 0:
        return one / two
    return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, two)


def _floor_divide(site: Site, one: Any, two: Any) -> Any:
    """Down to the whole number below. By zero: null for integers and decimals, as `_divide` for floats."""
    one, two = site.met(one, two)
    if isinstance(one, float):
        return _down(_ratio(one, two))
    return None if two == 0 else math.floor(Fraction(one) / Fraction(two))


def _modulo(site: Site, one: Any, two: Any) -> Any:
    """What `_floor_divide` leaves, so it has the sign of the divisor. By zero: null for integers and decimals, NaN for floats."""
    one, two = site.met(one, two)
    if isinstance(one, float):
        return one - two * _down(_ratio(one, two))
    if two == 0:
        return None
    whole = math.floor(Fraction(one) / Fraction(two))
    return EXACT.subtract(one, EXACT.multiply(two, Decimal(whole))) if isinstance(one, Decimal) else one - two * whole


def _power(site: Site, one: Any, two: Any) -> float:
    return _float_function(lambda: math.pow(float(one), float(two)), _power_beyond, float(one), float(two))


def _power_beyond(one: float, two: float) -> float:
    """C's pow where Python raises: 0 to a negative power, a negative number to a broken one, too large results."""
    odd = two.is_integer() and two % 2 == 1
    if one < 0 and math.isfinite(two) and not two.is_integer():
        return math.nan
    return -math.inf if odd and math.copysign(1, one) < 0 else math.inf


def _float_function(call: Callable[[], float], beyond: Callable[..., float], *args: float) -> float:
    try:
        return call()
    except (ValueError, OverflowError, ZeroDivisionError):
        return beyond(*args)


def _log(site: Site, one: Any) -> float:
    base = site.options.get("base")
    return _natural(float(one)) if base is None else _ratio(_natural(float(one)), _natural(float(base)))


def _natural(value: float) -> float:
    return -math.inf if value == 0 else math.nan if value < 0 else math.log(value)


def _whole(function: Callable[[Any], Any]) -> Meaning:
    def meaning(site: Site, value: Any) -> Any:
        return _kept(function, value)

    return meaning


def _kept(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` of a number; infinite ones and NaN stay as they are, and so does the sign of a zero."""
    if not isinstance(value, float):
        return function(value)
    if not math.isfinite(value):
        return value
    found = float(function(value))
    return math.copysign(found, value) if found == 0 else found


def _down(value: float) -> float:
    return _kept(math.floor, value)  # type: ignore[no-any-return]


def _round(site: Site, value: Any) -> Any:
    """To ``decimals`` places (tens, hundreds, … if negative); halves go away from zero. Floats are scaled as floats, so 1.005 is
    1.00 as its binary value is less."""
    places = site.options.get("decimals", 0)
    if isinstance(value, float):
        scale = 10.0 ** abs(places)
        scaled = value * scale if places >= 0 else value / scale
        if not math.isfinite(scaled) or abs(scaled) >= 2**52:  # no digits behind the point are left
            return value if places >= 0 or not math.isfinite(value) else 0.0
        found = math.copysign(math.floor(abs(scaled) + 0.5) if abs(scaled) % 1 >= 0.5 else math.floor(abs(scaled)), value)
        return found / scale if places >= 0 else found * scale
    scaled_exactly = abs(Fraction(value)) * Fraction(10) ** places
    whole = math.floor(scaled_exactly + Fraction(1, 2)) * (-1 if value < 0 else 1)
    return EXACT.scaleb(Decimal(whole), -places) if isinstance(value, Decimal) else int(Fraction(whole) / Fraction(10) ** places)


def _sign(site: Site, value: Any) -> Any:
    return value if value == 0 or is_nan(value) else type(value)(1 if value > 0 else -1)


_sum = _numbers(lambda a, b: a + b, EXACT.add)
_difference = _numbers(lambda a, b: a - b, EXACT.subtract)
_product = _numbers(lambda a, b: a * b, EXACT.multiply)


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
    # arithmetic
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "floor_divide": _floor_divide, "modulo": _modulo,
    "power": _power, "negate": lambda site, a: -a, "abs": lambda site, a: abs(a), "round": _round, "floor": _whole(math.floor), "ceil": _whole(math.ceil),
    "sqrt": lambda site, a: math.nan if float(a) < 0 else math.sqrt(float(a)), "log": _log, "sign": _sign,
    "exp": lambda site, a: _float_function(lambda: math.exp(float(a)), lambda: math.inf),
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
