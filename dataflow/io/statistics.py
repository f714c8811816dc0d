"""Statistics of sources: of Parquet files from their footers alone, of values at hand from a sample.

A footer holds the rows, and of each column chunk its bytes, nulls, least and greatest value; how many different values there
are it does not say. It can be guessed, though: a chunk in a dictionary takes ``distinct x width`` bytes for the dictionary and
``rows x log2(distinct) / 8`` for the places in it, so its size tells ``distinct`` (TPC-H: 145 of 150 types of parts, 23,775 of
about 25,000 orders). A chunk without a dictionary had too many values for one. Chunks become a file by `_together`.

From a sample the number is guessed by the estimator of Charikar, Chaudhuri, Motwani & Narasayya, "Towards estimation error
guarantees for distinct values" (PODS 2000): values seen once stand for as many more as the sample is a part of the whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dataflow.expr.types import DType
from dataflow.plan.statistics import ColumnStatistics, Statistics, as_number, width_of
from dataflow.record import record

__all__ = ["of_footers", "of_sample", "scattered", "spread"]

GROUPS = 64  # row groups that are looked at in a source
DECODED = 2  # texts take about twice their bytes in a file when they are decoded, on TPC-H
HEADERS = (30, 130)  # bytes of a chunk that are neither dictionary nor places in it, at least and at most
RUN = 8  # equal values that a writer puts down as a run, and not one by one
_PHYSICAL = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "INT96": 12}
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@record
class _Chunk:
    """A column in one row group. ``in_runs``: its different values if equal ones stand together."""

    rows: int
    values: int
    bytes: int
    distinct: float
    low: float | None = None
    high: float | None = None
    in_runs: float | None = None


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of the items, the first and the last among them, evenly apart.

    >>> spread(range(100), 4)
    [0, 33, 66, 99]
    """
    if len(items) <= most:
        return list(items)
    return [items[(len(items) - 1) * at // (most - 1)] for at in range(most)]


def scattered(rows: int, most: int) -> list[int]:
    """At most ``most`` different places among so many rows, in order; the same each time.

    >>> scattered(3, 5), len(set(scattered(1000, 5)))
    ([0, 1, 2], 5)
    """
    import random  # 5 ms, and only a sample needs it

    return sorted(random.Random(rows).sample(range(rows), most)) if rows > most else list(range(rows))


def of_footers(metas: Sequence[Any], share: float, schema: Mapping[str, DType]) -> Statistics:
    """Statistics of files with these footers, which are ``share`` of all the files."""
    rows = sum(meta.num_rows for meta in metas) / share
    groups = [(meta, at) for meta in metas for at in range(meta.num_row_groups)]
    looked = [(meta, meta.row_group(at)) for meta, at in spread(groups, GROUPS)]
    places: dict[int, dict[str, list[int]]] = {}
    for meta in metas:
        found = places.setdefault(id(meta), {})
        for at in range(meta.num_columns):
            found.setdefault(meta.schema.column(at).path.split(".")[0], []).append(at)
    columns = {}
    for name, kind in schema.items():
        chunks = [_chunk(group, places[id(meta)].get(name, []), kind, meta.schema) for meta, group in looked]
        columns[name] = _together(chunks, rows, kind)
    return Statistics(rows, columns)


def _chunk(group: Any, places: list[int], kind: DType, layout: Any) -> _Chunk:
    rows = group.num_rows
    if len(places) != 1 or kind.is_nested:  # of lists and structs only the size is of use
        size = sum(group.column(at).total_uncompressed_size for at in places)
        return _Chunk(rows, rows if places else 0, size, rows if places else 0)
    column = group.column(places[0])
    stats = column.statistics
    size = column.total_uncompressed_size
    if stats is None:
        return _Chunk(rows, rows, size, rows)
    values = rows - (stats.null_count if stats.has_null_count else 0)
    low, high = _bounds(stats, kind)
    if stats.has_distinct_count:
        return _Chunk(rows, values, size, stats.distinct_count, low, high)
    if stats.has_min_max and stats.min_raw == stats.max_raw:
        return _Chunk(rows, values, size, min(1, values), low, high)
    if not column.has_dictionary_page:
        return _Chunk(rows, values, size, values, low, high)
    if column.physical_type == "BYTE_ARRAY":  # of texts the least and the greatest are all that is known
        width = 4 + ((len(stats.min_raw) + len(stats.max_raw)) / 2 if stats.has_min_max else 12)
    else:
        width = _PHYSICAL.get(column.physical_type) or layout.column(places[0]).length
    distinct = _in_dictionary(size - HEADERS[0], values, width)
    in_runs = (size - HEADERS[0]) / (width + 1 + math.log2(distinct + 1) / 8)
    return _Chunk(rows, values, size, distinct, low, high, in_runs if RUN * in_runs <= values else None)


def _bounds(stats: Any, kind: DType) -> tuple[float | None, float | None]:
    if not stats.has_min_max:
        return None, None
    if kind.name in ("datetime", "time", "duration"):  # as values, those in nanoseconds would need pandas
        unit = kind.args[0] if kind.args else None
        low, high = stats.min_raw, stats.max_raw
        if unit not in _PER_SECOND or not isinstance(low, int):
            return None, None
        scale = _PER_SECOND[unit] * (86_400 if kind.name == "datetime" else 1)
        return low / scale, high / scale
    if kind.is_numeric or kind.name in ("bool", "date"):
        return as_number(stats.min), as_number(stats.max)
    return None, None


def _in_dictionary(size: float, values: int, width: float) -> float:
    """How many values of ``width`` a dictionary holds that takes ``size`` bytes with ``values`` places in it.

    Runs of equal places take less; then the fewest bits for which it could be are taken.
    """
    for bits in range(1, 33):
        most = 1 << bits
        room = (size - values * bits / 8) / max(1.0, width)
        slack = (HEADERS[1] - HEADERS[0]) / width if RUN * RUN * most <= values else 0  # they count where the dictionary is small
        if room <= most + slack:
            return min(float(values), float(most), max(room, most / 2 + 1))
    return float(values)


def _together(chunks: list[_Chunk], rows: float, kind: DType) -> ColumnStatistics:
    """A column of ``rows`` rows from some of its chunks.

    Where the ranges of the chunks lie side by side, as of a column in order, their different values add up, and equal ones stand
    together. Where they lie over one another, each chunk is a sample: n draws of D values give D(1 - (1 - 1/D)^n) different ones
    (Cardenas, CACM 1975).
    """
    looked = sum(chunk.rows for chunk in chunks) or 1
    values = sum(chunk.values for chunk in chunks)
    nulls = 1 - values / looked
    width = width_of(kind) if not kind.is_nested and kind.name not in ("string", "binary", "other") else 0.0
    width = width or max(16.0, DECODED * sum(chunk.bytes for chunk in chunks) / looked)
    known = [(chunk.low, chunk.high) for chunk in chunks if chunk.low is not None and chunk.high is not None]
    low, high = (min(one for one, _ in known), max(one for _, one in known)) if known else (None, None)
    filled = rows * values / looked
    if low is not None and high is not None and sum(b - a for a, b in known) <= 1.5 * (high - low):
        distinct = sum(chunk.in_runs or chunk.distinct for chunk in chunks) * rows / looked
    else:
        total = sum(chunk.distinct for chunk in chunks)
        distinct = _different(_drawn_from(total / max(1, len(chunks)), values / max(1, len(chunks))), filled)
    if low is not None and high is not None and (kind.is_integer or kind.name in ("date", "bool")):
        span = high - low + 1  # as many numbers as rows look like a key
        distinct = span if span == filled else min(distinct, span)
    distinct = max(1.0, min(distinct, filled))
    return ColumnStatistics(distinct, distinct, rows, 1.0, low, high, nulls, width)


def _different(domain: float, draws: float) -> float:
    """How many different values come in some draws from a domain."""
    return domain * -math.expm1(-draws / domain) if domain < float("inf") else draws


def _drawn_from(distinct: float, draws: float) -> float:
    """The size of the domain from which some draws gave so many different values; infinite where nearly all were different."""
    if distinct >= 0.98 * draws:
        return float("inf")
    low, high = max(1.0, distinct), 100 * max(1.0, draws)
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _different(middle, draws) < distinct else (low, middle)
    return high


def of_sample(sample: Mapping[str, Sequence[Any]], rows: int, schema: Mapping[str, DType], widths: Mapping[str, float]) -> Statistics:
    """Statistics of ``rows`` rows of which some are at hand."""
    columns = {}
    for name, kind in schema.items():
        values = sample.get(name, ())
        there = [value for value in values if value is not None]
        nulls = 1 - len(there) / len(values) if values else 0.0
        filled = rows * (1 - nulls)
        try:
            counts = Counter(there)
        except TypeError:  # lists and records have no hash
            counts = Counter()
        once = sum(1 for count in counts.values() if count == 1)
        grown = math.sqrt(filled / max(1, len(there)))
        distinct = float(rows) if once == len(there) else grown * once + (len(counts) - once)
        distinct = max(1.0, min(distinct, filled))
        numbers = [number for number in map(as_number, there) if number is not None]
        low, high = (min(numbers), max(numbers)) if numbers else (None, None)
        columns[name] = ColumnStatistics(distinct, distinct, rows, 1.0, low, high, nulls, widths.get(name, width_of(kind)))
    return Statistics(float(rows), columns)
