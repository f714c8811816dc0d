"""Batches in the formats that `map_batches` functions take and give: Arrow, pandas, NumPy, Polars.

elements     arrow     pandas       polars       numpy
records      Table     DataFrame    DataFrame    dict of arrays
values       Array     Series       Series       array
"""

from __future__ import annotations

from typing import Any

from dataflow.io.schema import table_of
from dataflow.shard.batch import Batch, Pairs, Records, Rows, Values

__all__ = ["FORMATS", "format_of", "from_format", "joined", "to_format"]

FORMATS = ("arrow", "pandas", "numpy", "polars")


def format_of(annotation: Any) -> str | None:
    """The format that a function's annotation asks for, by the module it comes from."""
    module = getattr(annotation, "__module__", "") or ""
    root = module.partition(".")[0]
    return {"pyarrow": "arrow", "pandas": "pandas", "numpy": "numpy", "polars": "polars"}.get(root)


def to_format(batch: Batch, how: str) -> Any:
    """A batch as the asked format."""
    table = table_of(batch)
    one = table.column(0) if table.column_names == ["value"] and not isinstance(batch, Records) else None
    match how:
        case "arrow":
            return table if one is None else one.combine_chunks()
        case "pandas":
            return table.to_pandas() if one is None else one.to_pandas()
        case "polars":
            import polars as pl

            return pl.from_arrow(table if one is None else one)
        case "numpy":
            if one is not None:
                return _numpy(one)
            return {name: _numpy(table.column(name)) for name in table.column_names}
        case _:
            raise ValueError(f"no batch format {how!r}; there are {', '.join(FORMATS)}")


def _numpy(column: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return np.array(column.to_pylist())
    return column.to_numpy()


def from_format(result: Any) -> Batch:
    """What a function gave, as a batch."""
    import pyarrow as pa

    if isinstance(result, list):
        return Rows(result)
    if isinstance(result, pa.RecordBatch):
        return Records(pa.table(result))
    if isinstance(result, pa.Table):
        return Records(result)
    if isinstance(result, pa.Array):
        return Values(result)
    if isinstance(result, pa.ChunkedArray):
        return Values(result.combine_chunks())
    root = type(result).__module__.partition(".")[0]
    if root == "pandas":
        if type(result).__name__ == "DataFrame":
            return Records(pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None))
        return Values(pa.Array.from_pandas(result))
    if root == "polars":
        found = result.to_arrow()
        return Records(found) if isinstance(found, pa.Table) else Values(found)
    if root == "numpy":
        return Values(pa.array(result)) if result.ndim == 1 and result.dtype != object else Rows(list(result))
    if isinstance(result, dict):
        columns = {name: value if getattr(value, "ndim", 1) == 1 else list(value) for name, value in result.items()}
        return Records(pa.table(columns))
    raise TypeError(f"map_batches needs a batch back (a table, frame, array, dict of columns or list), got {type(result).__name__}")


def joined(parts: list[Batch]) -> Batch:
    """Several batches as one."""
    import pyarrow as pa

    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, Records) for part in parts):
        return Records(pa.concat_tables([part.table for part in parts if isinstance(part, Records)], promote_options="default"))
    if all(isinstance(part, Pairs) for part in parts):
        columns = [part.pairs() for part in parts]
        return Pairs([k for keys, _ in columns for k in keys], [v for _, values in columns for v in values])
    return Rows([row for part in parts for row in part.rows()])
