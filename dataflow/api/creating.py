"""Values at hand as records whose columns are said, not guessed: `Pipeline.create` with a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dataflow.api.building import plan_error
from dataflow.plan.origin import caller

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["records_of", "schema_said"]


def schema_said(given: Any) -> pa.Schema:
    """An Arrow schema from what users write: names to types (ours, Python's, Arrow's, or text), a schema, or a class with fields."""
    import pyarrow as pa

    from dataflow.api.schemas import columns_of_class
    from dataflow.expr.types import type_from
    from dataflow.kernels.types import to_arrow

    if isinstance(given, pa.Schema):
        return given
    found = given if isinstance(given, Mapping) else columns_of_class(given)
    if not found:
        raise plan_error("schema= says the names and types of columns, and these are none", hint='as schema={"name": str, "age": int}')
    try:
        kinds = {name: kind if isinstance(kind, pa.DataType) else to_arrow(type_from(kind)) for name, kind in found.items()}
    except ValueError as error:
        raise plan_error(str(error), hint="int, str, datetime.date, …; 'decimal(15, 2)', 'list[int64]', …; or a type of pyarrow") from None
    return pa.schema(list(kinds.items()))


def records_of(values: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Records as a table of exactly these columns; a column that a record lacks is null."""
    import pyarrow as pa

    from dataflow.io.schema import as_declared, plain

    origin = caller()
    if hasattr(values, "__arrow_c_stream__"):
        raise plan_error("schema= is for records of Python's, and a table has its columns", origin, "cast them by with_columns")
    rows = [plain(value) for value in values]
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise plan_error(f"create with a schema takes records, and value {place + 1} is {type(row).__name__}", origin)
        if strange := [name for name in row if name not in schema.names]:
            raise plan_error(f"record {place + 1} has a column {strange[0]!r}, which schema= does not name", origin)
    columns = []
    for field in schema:
        try:
            columns.append(as_declared([row.get(field.name) for row in rows], field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise plan_error(f"column {field.name!r} is not {field.type}, as schema= says: {error}", origin) from error
    return pa.Table.from_arrays(columns, schema=schema)
