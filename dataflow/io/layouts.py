"""The one layout of several files: columns that all have, of types that spell the same values.

a.parquet  k int64, s string              ┐
b.parquet  k int64, s large_string        ├──> k int64, s large_string
c.parquet  k int64, s null                ┘
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from dataflow.errors import Report, SchemaError

__all__ = ["one_layout", "same_columns", "untyped"]


def one_layout(schemas: Iterable[tuple[str, pa.Schema]], *, union: bool) -> pa.Schema | None:
    """The layout of files, each with its schema; None of none. ``union``: columns that some lack are no error.

    Raises `SchemaError`, which names two files that disagree.

    >>> numbers, nothing = pa.schema({"k": pa.int64()}), pa.schema({"k": pa.null()})
    >>> one_layout([("a", numbers), ("b", nothing)], union=False).field("k").type
    DataType(int64)
    """
    first: tuple[str, pa.Schema] | None = None
    come_from: dict[str, str] = {}
    merged: pa.Schema | None = None
    seen: pa.Schema | None = None
    for path, schema in schemas:
        if schema is seen:  # remembered schemas are one object for all files that have the same
            continue
        seen = schema
        schema = schema.remove_metadata()
        if len(set(schema.names)) < len(schema.names):
            twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
            raise SchemaError(Report(f"a file has several columns called {', '.join(map(repr, twice))}", location=path))
        for name in schema.names:
            come_from.setdefault(name, path)
        if first is None or merged is None:
            first, merged = (path, schema), schema
            continue
        if schema == first[1]:
            continue
        held = _with(merged, schema, path, come_from, union)
        if not union:
            same_columns(schema.names, held.names, f"{path}, against {first[0]}", fix='schema="union"')
        merged = held
    return merged


def same_columns(own: Iterable[str], others: Iterable[str], where: str, *, fix: str) -> None:
    """Raises `SchemaError` if a file has other columns than those before it. ``fix``: the option with which it may.

    >>> same_columns(["a", "b"], ["b", "a"], "b.csv, against a.csv", fix='columns="union"')
    """
    missing, new = set(others) - set(own), set(own) - set(others)
    if missing or new:
        text = "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in (("it lacks", missing), ("it adds", new)) if names)
        hint = f"{fix} fills what is missing with null"
        raise SchemaError(Report(f"the files have different columns: {text}", location=where, hint=hint))


def _with(merged: pa.Schema, schema: pa.Schema, path: str, come_from: dict[str, str], union: bool) -> pa.Schema:
    """A layout that holds the columns of one more file."""
    for field in schema:
        at = merged.get_field_index(field.name)
        if at < 0:
            merged = merged.append(field) if union else merged
            continue
        kind = merged.field(at).type
        if kind != field.type and pa.types.is_null(kind):
            merged = merged.set(at, field)
        elif (wide := _same_kind(kind, field.type)) is not None:
            merged = merged.set(at, pa.field(field.name, wide))
        elif not pa.types.is_null(field.type):
            text = f"column {field.name!r} is {kind} in one file and {field.type} in another"
            raise SchemaError(
                Report(text, location=f"{come_from[field.name]} and {path}", hint="read them apart and map one to the other's type")
            )
    return merged


def untyped(schema: pa.Schema, layout: pa.Schema) -> bool:
    """Whether a file has a column without a type that has one in other files.

    >>> untyped(pa.schema({"k": pa.null()}), pa.schema({"k": pa.int64()}))
    True
    """
    return any(
        pa.types.is_null(field.type) and (at := layout.get_field_index(field.name)) >= 0 and not pa.types.is_null(layout.field(at).type)
        for field in schema
    )


def _same_kind(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The wider of two Arrow types that spell the same values (string and large_string)."""
    if one == two:
        return one
    for small, large in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        views = (small, large, pa.string_view() if small == pa.string() else pa.binary_view())
        if one in views and two in views:
            return large
    return None
