"""Joins: a grouping of several tables at once, and a function of each key's values.

    left  (k, v) ─> (k, (0, v)) ─┐
                                 ├─ flatten ─ group_by_key ─> (k, ([v…], [w…])) ─> pairs
    right (k, w) ─> (k, (1, w)) ─┘

Written with the public API alone. A key with more values than memory holds is read from disk, once per value of the
other side, so a join of two such keys is slow but never too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dataflow.api.table import PTable

__all__ = ["JoinKind", "cogroup", "join"]

JoinKind = Literal["inner", "left", "right", "full", "semi", "anti"]


class OfTable:
    """Those values of a large group that came from one table; iterate as often as you like."""

    def __init__(self, values: Iterable[tuple[int, Any]], number: int) -> None:
        self.values, self.number = values, number

    def __iter__(self) -> Iterator[Any]:
        return (value for number, value in self.values if number == self.number)

    def __bool__(self) -> bool:
        return any(True for _ in self)


class Mark:
    """Pairs a value with its table's number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, value: Any) -> tuple[int, Any]:
        return (self.number, value)


class Separate:
    """A group's marked values, apart again: one re-iterable a table."""

    def __init__(self, tables: int) -> None:
        self.tables = tables

    def __call__(self, values: Iterable[tuple[int, Any]]) -> tuple[Iterable[Any], ...]:
        if not isinstance(values, list):
            return tuple(OfTable(values, number) for number in range(self.tables))
        parts: list[list[Any]] = [[] for _ in range(self.tables)]
        for number, value in values:
            parts[number].append(value)
        return tuple(parts)


def cogroup(tables: Sequence[PTable[Any, Any]], label: str | None = None) -> PTable[Any, tuple[Iterable[Any], ...]]:
    """For every key of any table, its values in each."""
    first, *others = [table.map_values(Mark(number)) for number, table in enumerate(tables)]
    return first.flatten(*others).as_table().group_by_key(label=label).as_table().map_values(Separate(len(tables)))


def _inner(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return ((key, (v, w)) for v in left for w in right)


def _left(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return ((key, (v, w)) for v in left for w in (right or (None,)))


def _right(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return ((key, (v, w)) for w in right for v in (left or (None,)))


def _full(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return ((key, (v, w)) for v in (left or (None,)) for w in (right or (None,)))


def _semi(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return ((key, v) for v in left) if right else iter(())


def _anti(pair: Any) -> Iterator[Any]:
    key, (left, right) = pair
    return iter(()) if right else ((key, v) for v in left)


_KINDS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "inner": _inner, "left": _left, "right": _right, "full": _full, "semi": _semi, "anti": _anti,
}  # fmt: skip


def join(left: PTable[Any, Any], right: PTable[Any, Any], how: JoinKind, label: str | None) -> PTable[Any, Any]:
    """The join of two tables by key."""
    if how not in _KINDS:
        raise ValueError(f"there is no {how!r} join; there are {', '.join(_KINDS)}")
    return cogroup([left, right], label=label or "join").flat_map(_KINDS[how], label=f"{label or 'join'} {how}").as_table()
