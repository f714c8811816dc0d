"""What every aggregate means: many values, null ones among them, to one; and every ranking: a row's place in its window to a value."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dataflow.expr.types import DType
from dataflow.record import record
from runners.reference.values import EXACT, extreme, identity, order

__all__ = ["AGGREGATE_MEANINGS", "RANKING_MEANINGS", "Place", "different"]

AggregateMeaning = Callable[[list[Any], DType, Mapping[str, Any]], Any]  # (values, their type, options)


def different(values: list[Any]) -> list[Any]:
    """Each different value once, where it stands first."""
    found: dict[Any, Any] = {}
    for value in values:
        found.setdefault(identity(value), value)
    return list(found.values())


def _known(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _sum(values: list[Any], kind: DType, options: Mapping[str, Any]) -> Any:
    """Exact for integers, which must fit 64 bits, and for decimals; 0 of nothing."""
    known = _known(values)
    if kind.name == "duration":
        return sum(known, dt.timedelta())
    if kind.is_float:
        return _float_sum(known)
    if kind.name == "decimal":
        total = Decimal(0)
        for value in known:
            total = EXACT.add(total, value)
        return total
    whole = sum(known)
    if not -(2**63) <= whole < 2**63:
        raise OverflowError(f"a sum of {whole} does not fit int64")
    return whole


def _float_sum(values: list[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _exact(values: list[Any]) -> list[Fraction]:
    """Durations in microseconds, all others as numbers; only of finite ones."""
    return [Fraction(value // dt.timedelta(microseconds=1)) if isinstance(value, dt.timedelta) else Fraction(value) for value in values]


def _finite(values: list[Any]) -> bool:
    return all(not isinstance(value, float) or math.isfinite(value) for value in values)


def _result(value: Fraction, kind: DType) -> Any:
    return dt.timedelta(microseconds=math.trunc(value)) if kind.name == "duration" else _as_float(value)


def _as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _mean(values: list[Any], kind: DType, options: Mapping[str, Any]) -> Any:
    known = _known(values)
    if not known:
        return None
    return _result(sum(_exact(known), Fraction()) / len(known), kind) if _finite(known) else sum(known) / len(known)


def _var(values: list[Any], kind: DType, options: Mapping[str, Any]) -> float | None:
    known, ddof = _known(values), options.get("ddof", 1)
    if len(known) <= ddof:
        return None
    if not _finite(known):
        return math.nan
    exact = _exact(known)
    mean = sum(exact, Fraction()) / len(exact)
    return _as_float(sum(((value - mean) ** 2 for value in exact), Fraction()) / (len(exact) - ddof))


def _std(values: list[Any], kind: DType, options: Mapping[str, Any]) -> float | None:
    found = _var(values, kind, options)
    return None if found is None else math.sqrt(found)


def _quantile(values: list[Any], kind: DType, options: Mapping[str, Any]) -> Any:
    """The value at the place q * (n - 1) of the ordered values, NaN the largest; between two places as ``interpolation`` says."""
    known = sorted(_known(values), key=order)
    if not known:
        return None
    q, way = options["q"], options.get("interpolation", "linear")
    place = q * (len(known) - 1)
    low, high = math.floor(place), math.ceil(place)
    if way == "equiprobable":
        low = high = max(0, math.ceil(q * len(known)) - 1)
    elif way == "nearest":
        low = high = math.floor(place + 0.5)
    elif way in ("lower", "higher"):
        low = high = low if way == "lower" else high
    elif way not in ("linear", "midpoint"):
        raise ValueError(f"there is no interpolation {way!r}")
    one, two = known[low], known[high]
    part = Fraction(1, 2) if way == "midpoint" else Fraction(place) - math.floor(place)
    if _finite([one, two]):
        return _result(_between(one, two, part), kind)
    return one if identity(one) == identity(two) else one + (two - one) * float(part)


def _between(one: Any, two: Any, part: Fraction) -> Fraction:
    low, high = _exact([one, two])
    return low + (high - low) * part


def _at_rank(values: list[Any], kind: DType, options: Mapping[str, Any]) -> Any:
    """The least value up to which a share q of the values lies."""
    known = sorted(_known(values), key=order)
    return known[max(0, math.ceil(options["q"] * len(known)) - 1)] if known else None


def _n_unique(values: list[Any], kind: DType, options: Mapping[str, Any]) -> int:
    return len({identity(value) for value in _known(values)})


def _nth(values: list[Any], kind: DType, options: Mapping[str, Any]) -> Any:
    n = options["n"]
    return values[n] if -len(values) <= n < len(values) else None


def _product(values: list[Any], kind: DType, options: Mapping[str, Any]) -> float:
    return math.prod((float(value) for value in _known(values)), start=1.0)


AGGREGATE_MEANINGS: dict[str, AggregateMeaning] = {
    "len": lambda values, kind, options: len(values), "count": lambda values, kind, options: len(_known(values)), "n_unique": _n_unique,
    "sum": _sum, "mean": _mean, "min": lambda values, kind, options: extreme(_known(values), largest=False),
    "max": lambda values, kind, options: extreme(_known(values), largest=True),
    "first": lambda values, kind, options: values[0] if values else None,
    "last": lambda values, kind, options: values[-1] if values else None,
    "any": lambda values, kind, options: True in _known(values), "all": lambda values, kind, options: False not in _known(values),
    "std": _std, "var": _var, "median": lambda values, kind, options: _quantile(values, kind, {"q": 0.5}), "quantile": _quantile,
    "collect": lambda values, kind, options: list(values), "nth": _nth, "product": _product, "approx_n_unique": _n_unique,
    "approx_quantile": _at_rank,
    "join": lambda values, kind, options: options["separator"].join(_known(values)),
}  # fmt: skip


# -- rankings


@record(eq=True)
class Place:
    """Where a row stands among ``size`` ordered rows. Its peers, the rows with equal keys, are ``first`` to ``last``;
    ``groups`` is how many groups of peers are before."""

    index: int
    size: int
    first: int
    last: int
    groups: int


RankingMeaning = Callable[[Place, Sequence[Sequence[Any]], Mapping[str, Any]], Any]  # (place, arguments of all rows in order, options)


def _ntile(place: Place, args: Sequence[Sequence[Any]], options: Mapping[str, Any]) -> int:
    """Parts differ by one row at most; the larger ones come first."""
    small, larger = divmod(place.size, options["n"])
    sizes = [small + 1] * larger + [small] * (options["n"] - larger)
    part, end = 0, 0
    while place.index >= end:
        end += sizes[part]
        part += 1
    return part


def _shifted(direction: int) -> RankingMeaning:
    """``n`` rows away; outside of the window the second argument of the current row, else null."""

    def meaning(place: Place, args: Sequence[Sequence[Any]], options: Mapping[str, Any]) -> Any:
        there = place.index + direction * options.get("n", 1)
        if 0 <= there < place.size:
            return args[there][0]
        return args[place.index][1] if len(args[place.index]) > 1 else None

    return meaning


RANKING_MEANINGS: dict[str, RankingMeaning] = {
    "row_number": lambda place, args, options: place.index + 1, "rank": lambda place, args, options: place.first + 1,
    "dense_rank": lambda place, args, options: place.groups + 1,
    "percent_rank": lambda place, args, options: place.first / (place.size - 1) if place.size > 1 else 0.0,
    "cume_dist": lambda place, args, options: (place.last + 1) / place.size, "ntile": _ntile, "lag": _shifted(-1), "lead": _shifted(1),
}  # fmt: skip
