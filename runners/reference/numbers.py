"""What arithmetic means: integers as they wrap, floats as IEEE 754 has them, decimals with all their digits."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from runners.reference import times
from runners.reference.values import EXACT, Site, fit, is_nan

__all__ = ["MEANINGS"]

Meaning = Callable[..., Any]


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
    if isinstance(one, dt.timedelta):
        return one * two
    return two * one if isinstance(two, dt.timedelta) else _product(site, one, two)


def _divide(site: Site, one: Any, two: Any) -> Any:
    """Numbers as floats: x / 0 is infinite, 0 / 0 is NaN. A duration by an integer goes down to whole microseconds; by 0 it is null."""
    if not isinstance(one, dt.timedelta):
        return _ratio(float(one), float(two))
    if not isinstance(two, dt.timedelta):
        return one // two if two else None
    micro = dt.timedelta(microseconds=1)
    return _ratio(float(one // micro), float(two // micro))


def _ratio(one: float, two: float) -> float:
    if two != 0:
        return one / two
    return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, two)


def _floor_divide(site: Site, one: Any, two: Any) -> Any:
    """Down to the whole number below. By zero: null for integers and decimals, as `_divide` for floats.

    With ``toward_zero``, as SQL has it, to the whole number nearer to zero; what is left then has the sign of the first.
    """
    one, two = site.met(one, two)
    cut = site.options.get("toward_zero")
    if isinstance(one, float):
        return _kept(math.trunc if cut else math.floor, _ratio(one, two))
    return None if two == 0 else _whole_part(cut)(Fraction(one) / Fraction(two))


def _whole_part(cut: bool | None) -> Callable[[Any], int]:
    return math.trunc if cut else math.floor


def _modulo(site: Site, one: Any, two: Any) -> Any:
    """What `_floor_divide` leaves, so it has the sign of the divisor. By zero: null for integers and decimals, NaN for floats."""
    one, two = site.met(one, two)
    cut = site.options.get("toward_zero")
    if isinstance(one, float):
        if cut:
            return math.nan if two == 0 or math.isinf(one) else math.fmod(one, two)
        return one - two * _down(_ratio(one, two))
    if two == 0:
        return None
    whole = _whole_part(cut)(Fraction(one) / Fraction(two))
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
    if base in (10, 2):
        return _domain(math.log10 if base == 10 else math.log2, float(one), 0.0)
    return _natural(float(one)) if base is None else _ratio(_natural(float(one)), _natural(float(base)))


def _natural(value: float) -> float:
    return -math.inf if value == 0 else math.nan if value < 0 else math.log(value)


def _domain(function: Callable[[float], float], value: float, least: float) -> float:
    """A logarithm: -inf at the least value of its domain, NaN below."""
    return -math.inf if value == least else math.nan if value < least else function(value)


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
        if not math.isfinite(value):
            return value
        if places < -308:
            return math.copysign(0.0, value)
        scale = 10.0 ** abs(places)
        scaled = value * scale if places >= 0 else value / scale
        if not math.isfinite(scaled) or abs(scaled) >= 2**52:  # no digits behind the point are left
            return value if places >= 0 else scaled * scale
        found = math.copysign(math.floor(abs(scaled) + 0.5) if abs(scaled) % 1 >= 0.5 else math.floor(abs(scaled)), value)
        return found / scale if places >= 0 else found * scale
    scaled_exactly = abs(Fraction(value)) * Fraction(10) ** places
    whole = math.floor(scaled_exactly + Fraction(1, 2)) * (-1 if value < 0 else 1)
    return EXACT.scaleb(Decimal(whole), -places) if isinstance(value, Decimal) else int(Fraction(whole) / Fraction(10) ** places)


def _sign(site: Site, value: Any) -> Any:
    return value if value == 0 or is_nan(value) else type(value)(1 if value > 0 else -1)


def _truncate(site: Site, value: Any) -> Any:
    places = site.options["decimals"]
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        return EXACT.scaleb(Decimal(math.trunc(EXACT.scaleb(value, places))), -places)
    scaled = value * 10.0**places
    return math.trunc(scaled) / 10.0**places if math.isfinite(scaled) else value


def _sum_horizontal(site: Site, *values: Any) -> Any:
    """0 of nothing. Integers do not wrap, as in every sum of many."""
    total = fit(0, site.result)
    if site.result.is_integer:
        whole = sum(value for value in values if value is not None)
        if fit(whole, site.result) != whole:
            raise OverflowError(f"a sum of {whole} does not fit {site.result}")
        return whole
    for value in values:
        if value is not None:
            total = fit(_sum(site, total, fit(value, site.result)), site.result)
    return total


_sum = _numbers(lambda a, b: a + b, EXACT.add)
_difference = _numbers(lambda a, b: a - b, EXACT.subtract)
_product = _numbers(lambda a, b: a * b, EXACT.multiply)

MEANINGS: dict[str, Meaning] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "floor_divide": _floor_divide, "modulo": _modulo,
    "power": _power, "negate": lambda site, a: -a, "abs": lambda site, a: abs(a), "round": _round, "floor": _whole(math.floor),
    "ceil": _whole(math.ceil), "sqrt": lambda site, a: math.nan if float(a) < 0 else math.sqrt(float(a)), "log": _log, "sign": _sign,
    "truncate": _truncate, "sum_horizontal": _sum_horizontal, "log10": lambda site, a: _domain(math.log10, float(a), 0.0),
    "log1p": lambda site, a: _domain(math.log1p, float(a), -1.0),
    "exp": lambda site, a: _float_function(lambda: math.exp(float(a)), lambda: math.inf),
}  # fmt: skip
