"""Some fields of structs alone: their paths in a Parquet file, and the types that are left.

s: struct{a, b{c, d}}  with only  struct{a, b{d}}   ──>   leaves s.a, s.b.d
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from dataflow.expr.types import DType

__all__ = ["chosen_leaves", "has_dots", "leaf_bytes", "narrowed_schema"]


def chosen_leaves(name: str, kind: DType) -> list[str]:
    """The paths of what is kept of a column. Names of columns and fields are joined by dots, as Parquet's tools do."""
    if kind.name != "struct":
        return [name]
    return [path for field, inner in kind.args for path in chosen_leaves(f"{name}.{field}", inner)]


def has_dots(fields: Iterable[pa.Field]) -> bool:
    """Whether a column or a field has a dot in its name."""
    return any("." in one.name or (pa.types.is_struct(one.type) and has_dots(one.type.fields)) for one in fields)


def narrowed_schema(layout: pa.Schema, fields: Mapping[str, DType]) -> pa.Schema:
    """A layout with only these fields of some of its columns."""
    kept = [one.with_type(_narrowed(one.type, fields[one.name])) if one.name in fields else one for one in layout]
    return pa.schema(kept, layout.metadata)


def _narrowed(whole: pa.DataType, kind: DType) -> pa.DataType:
    if kind.name != "struct" or not pa.types.is_struct(whole):
        return whole
    kept = dict(kind.args)
    return pa.struct([one.with_type(_narrowed(one.type, kept[one.name])) for one in whole.fields if one.name in kept])


def leaf_bytes(meta: Any, names: tuple[str, ...] | None, fields: Mapping[str, DType]) -> int:
    """What a file's pages of some columns take uncompressed, of structs those of some fields; ``names`` None: of all columns."""
    prefixes = {name: chosen_leaves(name, kind) for name, kind in fields.items()}
    wanted = []
    for at in range(meta.num_columns):
        path = meta.schema.column(at).path
        top = path.split(".")[0]
        if (names is None or top in names) and any(path == one or path.startswith(f"{one}.") for one in prefixes.get(top, [path])):
            wanted.append(at)
    groups = [meta.row_group(at) for at in range(meta.num_row_groups)]
    return sum(group.column(at).total_uncompressed_size for group in groups for at in wanted)
