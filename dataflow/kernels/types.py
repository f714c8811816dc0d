"""Column types between the three who spell them: the plan's `DType`, Arrow, and Polars."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dataflow.expr import types as t
from dataflow.expr.types import DType

__all__ = ["from_arrow", "schema_from_arrow", "to_arrow", "to_polars"]

_FROM: dict[str, DType] = {
    "null": t.NULL, "bool": t.BOOL, "string": t.STRING, "large_string": t.STRING, "string_view": t.STRING,
    "binary": t.BINARY,
    "large_binary": t.BINARY, "binary_view": t.BINARY, "date32[day]": t.DATE, "date64[ms]": t.datetime_of("ms"),
    "halffloat": DType("float16"),
    "float": t.FLOAT32, "double": t.FLOAT64, **{f"{u}int{b}": DType(f"{u}int{b}") for u in ("", "u") for b in (8, 16, 32, 64)},
}  # fmt: skip


def from_arrow(kind: pa.DataType) -> DType:
    """An Arrow type as a plan's.

    >>> from_arrow(pa.list_(pa.decimal128(15, 2)))
    DType('list[decimal(15, 2)]')
    """
    text = str(kind)
    if text in _FROM:
        return _FROM[text]
    is_ = pa.types
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return from_arrow(kind.value_type)
    if is_.is_fixed_size_binary(kind):
        return t.BINARY
    if is_.is_decimal(kind) and kind.precision <= t.MOST_DIGITS and kind.scale >= 0:
        return t.decimal_of(kind.precision, kind.scale)
    if is_.is_timestamp(kind):
        return t.datetime_of(kind.unit, kind.tz)
    if is_.is_duration(kind):
        return t.duration_of(kind.unit)
    if is_.is_time(kind):
        return t.TIME
    if is_.is_map(kind):
        return t.map_of(from_arrow(kind.key_type), from_arrow(kind.item_type))
    if is_.is_fixed_size_list(kind):
        return t.array_of(from_arrow(kind.value_type), kind.list_size)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_list_view(kind) or is_.is_large_list_view(kind):
        return t.list_of(from_arrow(kind.value_type))
    if is_.is_struct(kind):
        return t.struct_of({field.name: from_arrow(field.type) for field in kind})
    # with Arrow's own description, from which any process makes the type again
    return DType("other", (text, pa.schema([("", kind)]).serialize().to_pybytes()))


def schema_from_arrow(schema: pa.Schema) -> dict[str, DType]:
    """The columns of an Arrow schema."""
    return {field.name: from_arrow(field.type) for field in schema}


def to_arrow(kind: DType) -> pa.DataType:
    """A plan's type as Arrow's."""
    match kind.name:
        case "bool":
            return pa.bool_()
        case "string":
            return pa.large_string()
        case "binary":
            return pa.large_binary()
        case "date":
            return pa.date32()
        case "time":
            return pa.time64("ns")
        case "decimal":
            return pa.decimal128(*kind.args)
        case "datetime":
            return pa.timestamp(kind.args[0], kind.args[1])
        case "duration":
            return pa.duration(kind.args[0])
        case "list":
            return pa.large_list(to_arrow(kind.args[0]))
        case "array":
            return pa.list_(to_arrow(kind.args[0]), kind.args[1])
        case "struct":
            return pa.struct([(name, to_arrow(inner)) for name, inner in kind.args])
        case "map":
            return pa.map_(to_arrow(kind.args[0]), to_arrow(kind.args[1]))
        case "other":
            return pa.ipc.read_schema(pa.py_buffer(kind.args[1])).field(0).type
        case "float16":
            return pa.float16()
        case _:
            return getattr(pa, kind.name)()


def to_polars(kind: DType) -> Any:
    """A plan's type as Polars'."""
    import polars as pl

    match kind.name:
        case "null":
            return pl.Null()
        case "bool":
            return pl.Boolean()
        case "string":
            return pl.String()
        case "binary":
            return pl.Binary()
        case "date":
            return pl.Date()
        case "time":
            return pl.Time()
        case "decimal":
            return pl.Decimal(*kind.args)
        case "datetime":
            unit, zone = kind.args
            zone = "UTC" if t.is_fixed_offset(zone) else zone  # the same moments
            return pl.Datetime("ms" if unit == "s" else unit, zone)
        case "duration":
            return pl.Duration("ms" if kind.args[0] == "s" else kind.args[0])
        case "list":
            return pl.List(to_polars(kind.args[0]))
        case "array":
            return pl.Array(to_polars(kind.args[0]), kind.args[1])
        case "struct":
            return pl.Struct({name: to_polars(inner) for name, inner in kind.args})
        case "map":
            return pl.Map(to_polars(kind.args[0]), to_polars(kind.args[1]))
        case "other":
            from dataflow.kernels.carrying import storage_table

            kept = storage_table(pa.schema([("x", to_arrow(kind))]).empty_table(), ())
            return pl.from_arrow(kept).schema["x"]  # type: ignore[union-attr]
        case name:
            return getattr(pl, name.title().replace("Uint", "UInt"))()
