"""What operations on lists, structs and maps mean. A map is a list of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runners.reference.aggregates import AGGREGATE_MEANINGS, different
from runners.reference.values import fit, identity, meeting, order

__all__ = ["MEANINGS"]


def _get(items: list[Any], index: int) -> Any:
    return items[index] if -len(items) <= index < len(items) else None


def _slice(site: Any, items: list[Any]) -> list[Any]:
    """Items ``offset`` up to ``offset + length``; places before the list are there and empty."""
    offset, length = site.options["offset"], site.options["length"]
    start = offset if offset >= 0 else len(items) + offset
    stop = len(items) if length is None else start + length
    return items[max(start, 0) : max(stop, 0)]


def _sort(site: Any, items: list[Any]) -> list[Any]:
    nulls = [item for item in items if item is None]
    others = sorted((item for item in items if item is not None), key=order, reverse=site.options["descending"])
    return others + nulls if site.options["nulls_last"] else nulls + others


def _contains(site: Any, items: list[Any] | None, wanted: Any) -> bool | None:
    """Null is looked for like any value."""
    if items is None:
        return None
    kind = meeting((site.types[0].args[0], site.types[1]))
    return identity(fit(wanted, kind)) in [identity(fit(item, kind)) for item in items]


def _listed(site: Any, *values: Any) -> list[Any] | None:
    """One value is one item, a null too; lists are joined, and null if one is."""
    parts = [value if kind.name in ("list", "array") else [value] for kind, value in zip(site.types, values, strict=True)]
    return None if None in parts else [item for part in parts for item in part]


def _aggregate(name: str) -> Callable[..., Any]:
    return lambda site, items: AGGREGATE_MEANINGS[name](items, site.types[0].args[0], {})


def _at_key(site: Any, pairs: list[tuple[Any, Any]], key: Any) -> Any:
    return next((value for one, value in pairs if identity(one) == identity(key)), None)


MEANINGS: dict[str, Callable[..., Any]] = {
    "list.len": lambda site, a: len(a), "list.get": lambda site, a: _get(a, site.options["index"]),
    "list.first": lambda site, a: _get(a, 0), "list.last": lambda site, a: _get(a, -1), "list.slice": _slice,
    "list.reverse": lambda site, a: a[::-1], "list.drop_nulls": lambda site, a: [item for item in a if item is not None],
    "list.sort": _sort,
    "list.unique": lambda site, a: different(a), "list.n_unique": _aggregate("n_unique"), "list.contains": _contains,
    "list.concat": lambda site, *lists: [item for one in lists for item in one],
    "concat_list": _listed,
    "list.join": lambda site, a: site.options["separator"].join(item for item in a if item is not None),
    "list.any": _aggregate("any"), "list.all": _aggregate("all"), "list.sum": _aggregate("sum"), "list.mean": _aggregate("mean"),
    "list.min": _aggregate("min"), "list.max": _aggregate("max"),
    "struct.field": lambda site, a: a[site.options["name"]],
    "struct.rename_fields": lambda site, a: dict(zip(site.options["names"], a.values(), strict=True)),
    "struct": lambda site, *values: dict(zip(site.options["names"], values, strict=True)),
    "map.len": lambda site, a: len(a), "map.keys": lambda site, a: [key for key, _ in a], "map.values": lambda site,
    a: [value for _, value in a],
    "map.get": _at_key, "map.contains_key": lambda site, a, key: identity(key) in [identity(one) for one, _ in a],
}  # fmt: skip
