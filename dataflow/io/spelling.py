"""Columns as a format can hold them: views of text and bytes, and dictionaries, where it knows none.

              text as a view    dictionary of views    dictionary    run-end encoded
    parquet   as it is          of text                as it is      values
    csv       text              of text                as it is      values
    avro      text              text                   text          values

Polars gives its text as views, and its categories as dictionaries of views.
"""

from __future__ import annotations

import pyarrow as pa

from dataflow.kernels.carrying import full_type, spelled_in_full
from dataflow.shard.arrow import call

__all__ = ["spelled"]


def spelled(table: pa.Table, form: str) -> pa.Table:
    """A table of the same values in types that a format can hold; the same table where all are."""
    if form == "ipc":
        return table
    for at, field in enumerate(table.schema):
        column = table.column(at)
        if pa.types.is_run_end_encoded(field.type):
            column = call("run_end_decode", column)
        if pa.types.is_dictionary(field.type):
            if full_type(field.type.value_type) is not None:
                column = pa.chunked_array([spelled_in_full(chunk) for chunk in column.chunks])
            if form == "avro":
                column = column.cast(column.type.value_type)
        elif form != "parquet" and (full := full_type(field.type)) is not None:
            column = column.cast(full)
        if column.type != field.type:
            table = table.set_column(at, field.name, column)
    return table
