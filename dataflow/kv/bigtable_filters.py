"""What a key, a range and a condition are in Bigtable's words.

    key   =  row key  +  qualifier          pack(("doc", "title"))  =  60 'doc' 00  +  60 'title' 00 00
    range =  the end of one row  +  whole rows  +  the beginning of another
    conditions  ──►  a filter that lets a cell through if the conditions hold, or one that does if they do not

Bigtable makes a change on whether a filter finds any cell. `Absent` and "no value" are *violated* when a cell is found, so the change is
made when the filter of all violations finds none. "This value" *holds* when a cell is found. A single one of these is enough for
a filter; where both kinds, or several values, meet, a conditional filter joins them. Google warns that such a filter does not look at
the row at one moment; here the row is held while it is checked, so that there is no other moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dataflow.kv.rows import in_row, row_if_seen, row_or_key
from dataflow.kv.store import Absent, Condition, Edit

__all__ = ["Check", "Segment", "cells", "changes", "check", "exactly", "interleaved", "segments", "within"]

Filter = dict[str, Any]

_NOTHING: Filter = {"block_all_filter": True}
_ALL: Filter = {"pass_all_filter": True}


class Segment(NamedTuple):
    """Rows from ``start`` (closed or not) to ``stop`` (open), and of each the qualifiers from ``low`` up to ``high``; None: no bound."""

    start: bytes
    closed: bool
    stop: bytes | None
    low: bytes = b""
    high: bytes | None = None

    @property
    def row(self) -> bytes | None:
        """The row, if it is one."""
        return self.start if self.stop == self.start + b"\x00" and self.closed else None


class Check(NamedTuple):
    """A filter, and whether finding a cell means that the conditions hold; no filter: they do (or never do)."""

    filter: Filter | None
    found: bool


def segments(start: bytes, stop: bytes) -> list[Segment]:
    """The parts of a range of keys, in order.

    >>> segments(b"`a\\x00`b", b"`a\\x00`c")
    [Segment(start=b'`a\\x00', closed=True, stop=b'`a\\x00\\x00', low=b'`b', high=b'`c')]
    >>> segments(b"", b"a")
    [Segment(start=b'', closed=True, stop=b'a', low=b'', high=None)]
    """
    if start >= stop:
        return []
    first, last = row_if_seen(start), row_if_seen(stop)
    if first is not None and first == last:
        return [Segment(first, True, first + b"\x00", start[len(first) :], stop[len(first) :])]
    parts: list[Segment] = []
    begin, closed = start, True
    if first is not None and len(first) < len(start):
        parts.append(Segment(first, True, first + b"\x00", start[len(first) :]))
        begin, closed = first, False
    end = stop if last is None else last
    if begin < end:
        parts.append(Segment(begin, closed, end))
    if last is not None and len(last) < len(stop):
        parts.append(Segment(last, True, last + b"\x00", b"", stop[len(last) :]))
    return parts


def within(row: bytes, start: bytes, stop: bytes) -> tuple[bytes, bytes | None] | None:
    """The qualifiers of a row in a range of keys; None if there can be none."""
    low = start[len(row) :] if start.startswith(row) else b"" if start < row else None
    high = stop[len(row) :] if stop.startswith(row) else None if stop > row else b""
    return None if low is None or (high is not None and low >= high) else (low, high)


def cells(family: str, low: bytes = b"", high: bytes | None = None) -> Filter:
    """The cells of a family with qualifiers in a range."""
    found: Filter = {"family_name": family}
    if low:
        found["start_qualifier_closed"] = low
    if high is not None:
        found["end_qualifier_open"] = high
    return {"column_range_filter": found}


def exactly(family: str, qualifier: bytes) -> Filter:
    """One cell."""
    return cells(family, qualifier, qualifier + b"\x00")


def interleaved(filters: Sequence[Filter]) -> Filter:
    """What any of them lets through."""
    return filters[0] if len(filters) == 1 else {"interleave": {"filters": list(filters)}}


def _chained(*filters: Filter) -> Filter:
    return {"chain": {"filters": list(filters)}}


def _valued(family: str, qualifier: bytes, value: bytes) -> Filter:
    bounds: Filter = {"end_value_open": value + b"\x00"}
    if value:
        bounds["start_value_closed"] = value
    return _chained(exactly(family, qualifier), {"value_range_filter": bounds})


def check(row: bytes, require: Sequence[Condition]) -> Check:
    """The filter of a row's conditions."""
    violated: list[Filter] = []
    held: list[Filter] = []
    for condition in require:
        if isinstance(condition, Absent):
            found = within(row, condition.start, condition.stop)
            if found is not None:
                violated.append(cells(condition.family, *found))
            continue
        if not in_row(condition.key, row):
            raise ValueError(f"the conditions of a mutation are of its row: {condition!r} is not of row {row!r}")
        qualifier = condition.key[len(row) :]
        if condition.value is None:
            violated.append(exactly(condition.family, qualifier))
        else:
            held.append(_valued(condition.family, qualifier, condition.value))
    if not held:
        return Check(interleaved(violated) if violated else None, False)
    joined = held[-1]
    for each in held[-2::-1]:
        joined = {"condition": {"predicate_filter": each, "true_filter": joined, "false_filter": _NOTHING}}
    if violated:
        joined = {"condition": {"predicate_filter": interleaved(violated), "true_filter": _NOTHING, "false_filter": joined}}
    return Check(joined, True)


def changes(row: bytes, edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """Edits of a row as Bigtable's mutations: every cell has time 0, so a put replaces what was there and asks no clock."""
    return list(_changes(row, edits))


def _changes(row: bytes, edits: Sequence[Edit]) -> Iterator[dict[str, Any]]:
    for family, key, value in edits:
        if not in_row(key, row):
            raise ValueError(f"Bigtable changes one row at once: {key!r} is not of row {row!r} but of {row_or_key(key)!r}")
        cell: dict[str, Any] = {"family_name": family, "column_qualifier": key[len(row) :]}
        if value is None:
            yield {"delete_from_column": cell}
        else:
            yield {"set_cell": cell | {"value": value, "timestamp_micros": 0}}
