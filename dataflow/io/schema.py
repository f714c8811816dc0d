"""One schema for an output: columns from records, values or pairs; types that promote where nothing is lost.

    element            columns
    dict               its keys (a dataclass or NamedTuple: its fields)
    (key, value)       key, value   — a record as the value stays one struct column
    anything else      value

Promotions: null to anything, int to float where every int is exact in it. Everything else that disagrees is an
error that names the column and both types.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.errors import Report, SchemaError, shorten
from dataflow.shard.arrow import from_numpy, strings
from dataflow.shard.batch import Batch, Lines, Pairs, Records, Values

__all__ = ["as_declared", "conform", "plain", "table_of", "unify", "widen"]

_EXACT = 2**53
_NUMBERS = {int: np.int64, float: np.float64, bool: np.bool_}
_WHOLE = {int, str, bytes, bool, type(None)}  # of which Arrow cuts none to fit a type
_KNOWN = {str, int, float, bool, bytes, type(None), dt.datetime, dt.date, dt.timedelta}


def table_of(batch: Batch, declared: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """A batch as the columns of an output."""
    match batch:
        case Records(table=table):
            return _declared(table, declared or {})
        case Lines():
            return _declared(pa.table({"value": batch.arrow()}), declared or {})
        case Values(array=array):
            return _declared(pa.table({"value": array}), declared or {})
        case Pairs(keys=keys, values=values):
            return _table({"key": keys, "value": values}, declared or {})
        case _:
            return _from_rows(batch.rows(), declared or {})


def _declared(table: pa.Table, declared: Mapping[str, pa.DataType]) -> pa.Table:
    """A table with the types that were declared for its columns."""
    for at, name in enumerate(table.column_names):
        kind = declared.get(name)
        if kind is not None and table.column(at).type != kind:
            try:
                table = table.set_column(at, name, table.column(at).cast(kind))
            except pa.ArrowException as error:
                raise SchemaError(Report(f"column {name!r} is not {kind}, as schema= says: {error}")) from error
    return table


def _from_rows(rows: list[Any], declared: Mapping[str, pa.DataType]) -> pa.Table:
    kinds = set(map(type, rows))
    if all(issubclass(kind, dict) for kind in kinds):
        names: dict[str, None] = {}
        for shape in dict.fromkeys(map(tuple, rows)):
            names.update(dict.fromkeys(shape))
        for name in names:
            if not isinstance(name, str):
                raise SchemaError(Report(f"a record's column names must be strings, not {shorten(name)}"))
        return _table({name: [row.get(name) for row in rows] for name in names}, declared, len(rows))
    if kinds == {tuple} and set(map(len, rows)) == {2}:
        return _table({"key": [row[0] for row in rows], "value": [row[1] for row in rows]}, declared)
    if len(kinds) == 1:
        (kind,) = kinds
        if dataclasses.is_dataclass(kind):
            fields = [f.name for f in dataclasses.fields(kind)]
            return _table({name: [getattr(row, name) for row in rows] for name in fields}, declared)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return _table({name: [getattr(row, name) for row in rows] for name in kind._fields}, declared)
    return _table({"value": rows}, declared)


def _table(columns: dict[str, Sequence[Any]], declared: Mapping[str, pa.DataType], rows: int = 0) -> pa.Table:
    arrays = {name: _column(name, values, declared.get(name)) for name, values in columns.items()}
    if not arrays and rows:
        raise SchemaError(Report(f"{rows} records have no columns, and files of columns cannot hold them", hint="filter empty records out"))
    return pa.table(arrays)


def _column(name: str, values: Sequence[Any], declared: pa.DataType | None) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    kinds = set(map(type, values))
    # the look at each value is for kinds Arrow does not know: half a second a million values
    items = values if kinds <= _KNOWN else list(map(plain, values))
    try:
        kinds = set(map(type, items))
        _refuse_mixes(name, items, kinds)
        _refuse_mixes_within(name, items, kinds)
        if declared is None and str in kinds and kinds <= {str, type(None)}:
            found = strings(items) if None not in items else pa.array(items, pa.large_string())
            return found.cast(pa.string()) if found.nbytes < 2**31 else found
        if declared is None and len(kinds) == 1 and (dtype := _NUMBERS.get(next(iter(kinds)))):
            return from_numpy(np.array(items, dtype))  # `pa.array` imports pandas
        return pa.array(items) if declared is None else as_declared(items, declared)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        pa.ArrowCapacityError,
        OverflowError,
        UnicodeEncodeError,
        TypeError,
    ) as error:
        row, value = _culprit(items, declared)
        names = sorted({type(v).__name__ for v in items if v is not None})
        text = f"column {name!r} has no one type: it holds {', '.join(names[:4])}"
        text += f", and Arrow says: {error}" if len(names) < 2 else ""
        if declared is not None and len(names) < 2:
            text = f"column {name!r} is not {declared}, as schema= says: {error}"
        if isinstance(error, OverflowError):
            text = f"column {name!r} holds an integer beyond 64 bits"
        raise SchemaError(
            Report(text, record=shorten(value), location=f"row {row + 1} of its batch", hint="map the values to one type first")
        ) from error


def as_declared(items: Sequence[Any], declared: pa.DataType) -> pa.Array:
    """Values in a declared type. What Arrow would cut to fit, such as 1.5 to an integer or a time to its day, is an error of Arrow's."""
    if set(map(type, items)) <= _WHOLE:
        return pa.array(items, declared)
    try:
        found = pa.array(items)
        if found.type == declared:
            return found
        cast = found.cast(declared)
    except pa.ArrowNotImplementedError:  # what only the declared type can hold, such as a map
        return pa.array(items, declared)
    if _has_days(declared) and not cast.cast(found.type).equals(found):
        raise pa.ArrowInvalid("a time of day would be lost")
    return cast


def _has_days(kind: pa.DataType) -> bool:
    """Whether there are dates in a type, to which Arrow cuts times."""
    return pa.types.is_date(kind) or any(_has_days(kind.field(at).type) for at in range(kind.num_fields))


def _refuse_mixes_within(name: str, items: Sequence[Any], kinds: set[type]) -> None:
    """The same, of what stands in lists and records."""
    inner: list[Sequence[Any]] = []
    if list in kinds:
        inner.append(list(itertools.chain.from_iterable(one for one in items if type(one) is list)))
    if dict in kinds:
        dicts = [one for one in items if type(one) is dict]
        inner += [[one.get(key) for one in dicts] for key in dict.fromkeys(key for one in dicts for key in one)]
    for some in inner:
        kinds = set(map(type, some))
        _refuse_mixes(name, some, kinds)
        _refuse_mixes_within(name, some, kinds)


def _refuse_mixes(name: str, items: Sequence[Any], kinds: set[type]) -> None:
    """Mixes that Arrow would take, and change: text becomes bytes, times lose their time of day, local times shift."""
    if dt.date in kinds and dt.datetime in kinds:
        raise SchemaError(Report(f"column {name!r} has no one type: it holds date, datetime", hint="map the values to one type first"))
    if str in kinds and bytes in kinds:
        raise SchemaError(Report(f"column {name!r} has no one type: it holds bytes, str", hint="map the values to one type first"))
    if dt.datetime in kinds and len({v.tzinfo is None for v in items if isinstance(v, dt.datetime)}) == 2:
        text = f"column {name!r} has no one type: it holds times with and without a time zone"
        raise SchemaError(Report(text, hint="give all of them a time zone, or none"))


def plain(value: Any) -> Any:
    """Values Arrow does not know as values it does: dataclasses and named tuples become records, sets lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
        kinds = {type(item) for item in value if item is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:
            return {f"f{i}": plain(item) for i, item in enumerate(value)}
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, list) and value and isinstance(value[0], (tuple, dict)):
        return [plain(item) for item in value]
    return value


def _culprit(values: Sequence[Any], declared: pa.DataType | None) -> tuple[int, Any]:
    """The first value that does not fit with those before it (by halving, so a large batch is no matter)."""
    low, high = 0, len(values)
    while low < high - 1:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle], declared)
            low = middle
        except Exception:
            high = middle
    return high - 1, values[high - 1] if values else None


def widen(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The type that holds values of both exactly, None if there is none.

    >>> str(widen(pa.int64(), pa.float64()))
    'double'
    """
    t = pa.types
    if one == two or t.is_null(two):
        return one
    if t.is_null(one):
        return two
    if t.is_dictionary(one) or t.is_dictionary(two):
        return widen(*(kind.value_type if t.is_dictionary(kind) else kind for kind in (one, two)))
    if t.is_integer(one) and t.is_integer(two):
        wide = max(one.bit_width, two.bit_width)
        return (
            pa.int64()
            if t.is_signed_integer(one) != t.is_signed_integer(two)
            else {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[wide]
            if t.is_signed_integer(one)
            else (one if one.bit_width >= two.bit_width else two)
        )
    if (t.is_integer(one) or t.is_floating(one)) and (t.is_integer(two) or t.is_floating(two)):
        return pa.float64()
    strings = (pa.string(), pa.large_string(), pa.string_view())
    if one in strings and two in strings:
        return pa.large_string()
    blobs = (pa.binary(), pa.large_binary(), pa.binary_view())
    if all(kind in blobs or t.is_fixed_size_binary(kind) for kind in (one, two)):
        return pa.large_binary()
    if (t.is_list(one) or t.is_large_list(one)) and (t.is_list(two) or t.is_large_list(two)):
        inner = widen(one.value_type, two.value_type)
        if inner is None:
            return None
        return pa.large_list(inner) if t.is_large_list(one) or t.is_large_list(two) else pa.list_(inner)
    if t.is_struct(one) and t.is_struct(two):
        fields: dict[str, pa.DataType | None] = {f.name: f.type for f in one}
        for field in two:
            before = fields.get(field.name)
            fields[field.name] = field.type if before is None else widen(before, field.type)
        if any(found is None for found in fields.values()):
            return None
        return pa.struct([pa.field(name, found) for name, found in fields.items()])
    return None


def unify(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """The schema that holds all of them; each comes with a name for the error."""
    fields: dict[str, tuple[str, pa.DataType]] = {}
    for name, schema in schemas:
        for field in schema:
            if field.name not in fields:
                fields[field.name] = (name, field.type)
                continue
            before, kind = fields[field.name]
            wide = widen(kind, field.type)
            if wide is None:
                text = f"column {field.name!r} is {kind} in one part of the output and {field.type} in another"
                raise SchemaError(Report(text, location=f"{before} and {name}", hint="map the values to one type, or give schema="))
            fields[field.name] = (name if wide != kind else before, wide)
    return pa.schema([pa.field(name, kind) for name, (_, kind) in fields.items()])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table in a wider schema made by `unify`; an int that a float cannot hold is an error."""
    columns = []
    for field in schema:
        at = table.schema.get_field_index(field.name)
        if at < 0:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(at)
        if pa.types.is_integer(column.type) and pa.types.is_floating(field.type) and len(column):
            import pyarrow.compute as pc

            ends = pc.min_max(column)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            if low is not None and max(abs(low), abs(high)) > _EXACT:
                text = f"column {field.name!r} holds floats and integers that no float can hold"
                raise SchemaError(Report(text, record=str(max(abs(low), abs(high))), hint="map the values to one type"))
        try:
            columns.append(_cast(column, field.type))
        except pa.ArrowException as error:
            text = f"column {field.name!r} cannot become {field.type}: {error}"
            raise SchemaError(Report(text, hint="map the values to one type")) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pa.types.is_struct(kind) and pa.types.is_struct(column.type):
        chunks = [_cast_struct(chunk, kind) for chunk in column.chunks]
        return pa.chunked_array(chunks, kind)
    return column.cast(kind)


def _cast_struct(array: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    names = [f.name for f in array.type]
    parts = [
        _cast(pa.chunked_array([array.field(f.name)]), f.type).combine_chunks() if f.name in names else pa.nulls(len(array), f.type)
        for f in kind
    ]
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())
