"""What the footers of Parquet files know of their rows: how many, and the bounds of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

__all__ = ["answered", "is_exact", "no_nulls", "places_of"]


def answered(metas: Iterator[Any], layout: pa.Schema, asked: Mapping[str, tuple[str, str | None]]) -> pa.Table | None:
    """One record of the answers, None unless every footer has what is needed for each.

    ``asked``: by name of the result, a function (len, count, min, max) and its column.
    """
    columns = {column for _, column in asked.values() if column is not None}
    bounded = {column for function, column in asked.values() if function in ("min", "max") and column is not None}
    if not all(is_exact(layout.field(column).type) for column in bounded):
        return None
    rows = 0
    nulls = dict.fromkeys(columns, 0)
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    for meta in metas:
        places = places_of(meta)
        rows += meta.num_rows
        for group in (meta.row_group(at) for at in range(meta.num_row_groups)):
            for name in columns:
                if name not in places:
                    return None
                stats = group.column(places[name]).statistics
                if stats is None or not stats.has_null_count:
                    return None
                nulls[name] += stats.null_count
                if name not in bounded or stats.null_count == group.num_rows:
                    continue
                if not stats.has_min_max:
                    return None
                least[name] = stats.min if name not in least else min(least[name], stats.min)
                most[name] = stats.max if name not in most else max(most[name], stats.max)
    found = {}
    for result, (function, column) in asked.items():
        if column is None:
            found[result] = pa.array([rows], pa.int64())
        elif function == "count":
            found[result] = pa.array([rows - nulls[column]], pa.int64())
        else:
            found[result] = pa.array([(least if function == "min" else most).get(column)], layout.field(column).type)
    return pa.table(found)


def no_nulls(meta: Any, names: Iterable[str]) -> frozenset[str]:
    """Those of some columns that hold no null in a file with this footer; of nested ones nothing is known.

    >>> import io, pyarrow.parquet as pq
    >>> pq.write_table(pa.table({"a": [1, 2], "b": [1, None]}), out := io.BytesIO())
    >>> sorted(no_nulls(pq.ParquetFile(out).metadata, ["a", "b", "c"]))
    ['a']
    """
    places = places_of(meta)
    asked = [name for name in names if name in places]
    found = {name for name in asked if meta.schema.column(places[name]).max_definition_level == 0}  # which has no way to say null
    maybe = [name for name in asked if name not in found]
    for group in (meta.row_group(at) for at in range(meta.num_row_groups)) if maybe else ():
        stats = {name: group.column(places[name]).statistics for name in maybe}
        maybe = [name for name, one in stats.items() if one is not None and one.has_null_count and not one.null_count]
    return frozenset(found).union(maybe)


def places_of(meta: Any) -> dict[str, int]:
    """Where the columns of a file are, by their paths. A name with a dot may be that of a field in a struct, so there is none."""
    paths = [meta.schema.column(at).path for at in range(meta.num_columns)]
    return {path: at for at, path in enumerate(paths) if "." not in path}


def is_exact(kind: pa.DataType) -> bool:
    """Whether bounds in a footer are values of the column: those of text may be cut, those of floats leave NaN out."""
    is_ = pa.types
    in_units = is_.is_timestamp(kind) and kind.unit != "ns"  # a footer's nanoseconds become Python's, which are too coarse, or pandas'
    return bool(is_.is_integer(kind) or is_.is_date32(kind) or in_units or is_.is_decimal128(kind))
