"""Columns that the kernel would change or refuse: the storage they travel in through a query, and their own type again behind it.

    Arrow type                                     in the kernel             back
    dictionary<…, T>                               T                         dictionary<int32, T>
    run_end_encoded<…, T>                          T                         encoded again
    list_view, large_list_view                     list                      its views
    decimal256 of up to 38 digits                  decimal128                cast
    other decimal256, negative scales,
    month_day_nano_interval, fixed_size_binary(n)  binary, the same bytes    the same bytes
    an extension type                              its storage               the extension type
    map that no expression reads                   list of key and value     map, with keys that come twice
    timestamp in a zone the kernel lacks           a clock; in UTC where     its zone
                                                   an offset is computed with
    date64, time32, seconds                        the kernel's own          cast, nothing is lost

Inside lists and structs the same. Unions and lists of no items have no storage: an error names the column.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.errors import Report, SchemaError
from dataflow.expr.types import is_fixed_offset
from dataflow.shard.arrow import from_numpy, to_numpy

__all__ = ["check_carried", "full_type", "is_plain", "out_of", "returned", "shuffled", "spelled_in_full", "storage_table", "without_views"]

_is = pa.types


def is_plain(kind: pa.DataType) -> bool:
    """Whether the kernel takes a type as it is, and what it gives back can be cast to it without loss."""
    if _is.is_struct(kind):
        return all(is_plain(field.type) for field in kind)
    if _is.is_list(kind) or _is.is_large_list(kind):
        return is_plain(kind.value_type)
    if _is.is_fixed_size_list(kind):
        return kind.list_size > 0 and is_plain(kind.value_type)
    if _is.is_decimal(kind):
        return kind.bit_width <= 128 and kind.scale >= 0
    if _is.is_timestamp(kind):
        return kind.tz is None or _known_zone(kind.tz)
    odd = (
        _is.is_dictionary, _is.is_run_end_encoded, _is.is_list_view, _is.is_large_list_view, _is.is_interval, _is.is_fixed_size_binary,
        _is.is_map, _is.is_union,
    )  # fmt: skip
    return not isinstance(kind, pa.BaseExtensionType) and not any(check(kind) for check in odd)


def _known_zone(zone: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # "+02:00", and what nobody knows
        return False
    return True


def returned(kind: pa.DataType) -> pa.DataType:
    """The type a column has when it comes back: its own, but views as what they view, as most of Arrow's kernels know no views,
    and dictionaries numbered by 32 bits in no order, as those of many batches may hold more than any of them did."""
    if _is.is_dictionary(kind):
        return pa.dictionary(pa.int32(), returned(kind.value_type))
    if kind == pa.string_view():
        return pa.large_string()
    if kind == pa.binary_view():
        return pa.large_binary()
    return kind


def check_carried(schema: pa.Schema) -> None:
    """Raises SchemaError for a column that no query can carry, and for two of one name."""
    names = schema.names
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SchemaError(Report(f"there are several columns called {', '.join(map(repr, twice))}", hint="rename them before the query"))
    for name in names:
        if name == "*" or (name.startswith("^") and name.endswith("$")):  # for the kernel these are patterns of names
            raise SchemaError(Report(f"a query cannot take a column called {name!r}", hint="rename it before the query"))
    for field in schema:
        if _is_foreign(field.type):
            text = f"column {field.name!r} is {field.type}, which no query can carry"
            raise SchemaError(Report(text, hint="leave it out of what is read, or turn it into another type before"))


def storage_table(table: pa.Table, touched: Collection[str] | None = None) -> pa.Table:
    """A table as the kernel takes it. ``touched``: the columns that expressions read (None: all), so what the kernel computes
    with stays that."""
    names = table.column_names
    if all(map(is_plain, table.schema.types)) and not any(map(_is_cut, table.columns)):
        return table
    columns = [_stored(name, column, touched is None or name in touched) for name, column in zip(names, table.columns, strict=True)]
    return pa.Table.from_arrays(columns, names)


def shuffled(table: pa.Table) -> pa.Table:
    """A table whose batches can be put end to end with others: dictionaries numbered by 32 bits, in no order."""
    for at, field in enumerate(table.schema):
        if _is.is_dictionary(field.type) and (kind := returned(field.type)) != field.type:
            table = table.set_column(at, field.with_type(kind), out_of(field.name, table.column(at), kind))
    return table


def _stored(name: str, column: pa.ChunkedArray, touched: bool) -> pa.ChunkedArray:
    """A column as the kernel takes it."""
    kind = column.type
    if _is_cut(column):
        return pa.chunked_array([_whole(chunk) for chunk in column.chunks], kind)
    if is_plain(kind):
        return column
    chunks = [_into(chunk, touched) for chunk in column.chunks] or [_into(pa.array([], kind), touched)]
    return pa.chunked_array(chunks)


def _is_cut(column: pa.ChunkedArray) -> bool:
    """Whether a column of lists of one length is a part of another, of which the kernel takes the wrong nulls, or refuses it."""
    kind = column.type
    return _is.is_fixed_size_list(kind) and is_plain(kind) and any(map(_is_part, column.chunks))


def _is_part(array: Any) -> bool:
    if not _is.is_fixed_size_list(array.type):
        return False
    part = array.offset or len(array.values) > len(array) * array.type.list_size
    return bool(array.null_count and part) or (_is.is_fixed_size_list(array.type.value_type) and (bool(part) or _is_part(array.values)))


def _whole(array: Any) -> Any:
    kind = array.type
    if not _is.is_fixed_size_list(kind):
        return array
    return pa.FixedSizeListArray.from_arrays(_whole(_items(array)), type=kind, mask=array.is_null())


def _items(array: Any) -> Any:
    """The items of lists of one length, those of null too: of a part of an array Arrow gives those of all of it."""
    size = array.type.list_size
    return array.values.slice(array.offset * size, len(array) * size)


def _is_short(kind: Any) -> bool:
    return bool(kind.precision <= 38 and kind.scale >= 0)


def _is_list(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (_is.is_list, _is.is_large_list, _is.is_list_view, _is.is_large_list_view))


def _is_foreign(kind: pa.DataType) -> bool:
    """Whether the kernel has no likeness of a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_foreign(kind.storage_type)
    if _is.is_struct(kind):
        return any(_is_foreign(field.type) for field in kind)
    if _is.is_map(kind):
        return _is_foreign(kind.key_type) or _is_foreign(kind.item_type)
    if _is.is_fixed_size_list(kind) and not kind.list_size:
        return True
    if _is.is_dictionary(kind) or _is.is_run_end_encoded(kind) or _is_list(kind) or _is.is_fixed_size_list(kind):
        return _is_foreign(kind.value_type)
    return bool(_is.is_union(kind))


def spelled_in_full(array: Any) -> Any:
    """A dictionary whose values are no views, as Polars gives them: Arrow cannot look views up."""
    full = full_type(array.type.value_type)
    return array if full is None else pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(full))


def full_type(kind: pa.DataType) -> pa.DataType | None:
    """What a view of text or bytes is when it is none; None of other types."""
    return pa.large_string() if _is.is_string_view(kind) else pa.large_binary() if _is.is_binary_view(kind) else None


def without_views(kind: pa.DataType) -> pa.DataType:
    """A type without views of text or bytes anywhere in it: most of Arrow's kernels know none."""
    if _is.is_struct(kind):
        return pa.struct([field.with_type(without_views(field.type)) for field in kind])
    if _is.is_list(kind):
        return pa.list_(kind.value_field.with_type(without_views(kind.value_type)))
    if _is.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(without_views(kind.value_type)))
    if _is.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(without_views(kind.value_type)), kind.list_size)
    return full_type(kind) or kind


def _into(array: Any, touched: bool) -> Any:
    kind = array.type
    if is_plain(kind):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return _into(array.storage, touched)
    if _is.is_dictionary(kind):
        return _into(spelled_in_full(array).dictionary_decode(), touched)
    if _is.is_run_end_encoded(kind):
        import pyarrow.compute as pc  # 25 ms, and few columns need it

        return _into(pc.run_end_decode(array), touched)
    if _is.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    if _is.is_decimal(kind) and _is_short(kind):
        return array.cast(pa.decimal128(kind.precision, kind.scale))
    if _is.is_decimal(kind) or _is.is_interval(kind):
        return array.view(pa.binary(kind.bit_width // 8)).cast(pa.large_binary())
    if _is.is_timestamp(kind):
        if touched:
            return array.view(pa.timestamp(kind.unit, "UTC")) if is_fixed_offset(kind.tz) else array
        return array.view(pa.timestamp(kind.unit))
    if _is.is_map(kind):
        if touched:
            return array
        pairs = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
        return _into(array.cast(pa.list_(pairs)), touched)
    if _is.is_struct(kind):
        parts = [_into(array.field(at), touched) for at in range(kind.num_fields)]
        fields = [pa.field(field.name, part.type) for field, part in zip(kind, parts, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())
    if _is_list(kind):
        return _relisted(array, _into(array.flatten(), touched))
    if _is.is_fixed_size_list(kind) and kind.list_size:
        return pa.FixedSizeListArray.from_arrays(_into(_items(array), touched), kind.list_size, mask=array.is_null())
    raise AssertionError(kind)


def _relisted(array: Any, items: Any, field: pa.Field | None = None) -> Any:
    """The lists of an array over other items, which are those of its values that are in a list."""
    import pyarrow.compute as pc  # 25 ms, and few columns need it

    lengths = to_numpy(pc.fill_null(pc.list_value_length(array), 0)).astype(np.int64)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    kind = pa.large_list(field if field is not None else pa.field("item", items.type))
    return pa.LargeListArray.from_arrays(from_numpy(offsets), items, type=kind, mask=array.is_null())


def out_of(name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column that the kernel gave, in the type it is to have."""
    if column.type == kind:
        return column
    try:
        chunks = [part for chunk in column.chunks for part in _fitting(chunk, kind)]
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError(Report(f"column {name!r} is {column.type} and cannot become {kind} again: {error}")) from error
    return pa.chunked_array(chunks, kind)


def _fitting(chunk: Any, kind: pa.DataType) -> list[Any]:
    """A chunk in its type, in pieces if its text has more bytes than 32 bits count."""
    try:
        return [_back(chunk, kind)]
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        if len(chunk) < 2 or chunk.nbytes < 1 << 31:
            raise
        half = len(chunk) // 2
        return [*_fitting(chunk.slice(0, half), kind), *_fitting(chunk.slice(half), kind)]


def _back(array: Any, kind: pa.DataType) -> Any:
    if array.type == kind:
        return array
    if is_plain(kind):
        return array.cast(kind)
    if isinstance(kind, pa.BaseExtensionType):
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        return kind.wrap_array(_back(array, kind.storage_type))
    if _is.is_dictionary(kind):
        if _is.is_dictionary(array.type):
            array = spelled_in_full(array).dictionary_decode()
        values = _back(array, kind.value_type)
        import pyarrow.compute as pc  # 25 ms, and few columns need it

        coded = pc.dictionary_encode(values.cast(pa.string()) if kind.value_type == pa.string_view() else values)
        return coded.cast(kind)
    if _is.is_run_end_encoded(kind):
        import pyarrow.compute as pc  # 25 ms, and few columns need it

        return pc.run_end_encode(_back(array, kind.value_type), run_end_type=kind.run_end_type)
    if _is.is_fixed_size_binary(kind):
        return array.cast(kind)
    if _is.is_decimal(kind) and _is_short(kind):
        return array.cast(kind)
    if _is.is_decimal(kind) or _is.is_interval(kind):
        return array.cast(pa.binary(kind.bit_width // 8)).view(kind)
    if _is.is_timestamp(kind):
        return array.cast(pa.timestamp(kind.unit, array.type.tz)).view(kind)
    if _is.is_map(kind):
        if _is.is_map(array.type):
            return array.cast(kind)
        lists = pa.list_(pa.field("entries", pa.struct([kind.key_field, kind.item_field]), nullable=False))
        found = _back(array, lists)
        return pa.MapArray.from_arrays(found.offsets, found.values.field(0), found.values.field(1), type=kind, mask=found.is_null())
    if _is.is_struct(kind):
        parts = [_back(array.field(at), field.type) for at, field in enumerate(kind)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())
    if _is.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(_back(_items(array), kind.value_type), type=kind, mask=array.is_null())
    lists = _relisted(array, _back(array.flatten(), kind.value_type), kind.value_field)
    return lists if _is.is_large_list(kind) else _narrowed(lists, kind)


def _narrowed(lists: Any, kind: pa.DataType) -> Any:
    """Large lists as lists or views of the same items."""
    if not _is.is_large_list_view(kind) and len(lists.values) >= 1 << 31:
        raise pa.ArrowCapacityError("more than 2^31 items")
    offsets = to_numpy(lists.offsets)
    if _is.is_list(kind):
        return pa.ListArray.from_arrays(from_numpy(offsets.astype(np.int32)), lists.values, type=kind, mask=lists.is_null())
    views, width = (pa.LargeListViewArray, np.int64) if _is.is_large_list_view(kind) else (pa.ListViewArray, np.int32)
    starts, sizes = from_numpy(offsets[:-1].astype(width)), from_numpy(np.diff(offsets).astype(width))
    return views.from_arrays(starts, sizes, lists.values, type=kind, mask=lists.is_null())
