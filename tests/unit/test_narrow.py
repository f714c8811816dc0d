"""Decimals that travel as 64-bit numbers come back as they were, wherever they lie in their array."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pyarrow as pa
import pytest

from dataflow.shard.batch import Records
from dataflow.shard.codec import decode_batch, encode_batch
from dataflow.shard.narrow import narrowed

SMALL = [Decimal("1.25"), None, Decimal("-0.01"), Decimal("9999999999999999.99"), Decimal("-9999999999999999.99"), Decimal(0)]
LARGE = [Decimal("12345678901234567890.12"), None, Decimal("-1.00")]


def back(column: pa.Array, by_value: bool) -> tuple[pa.DataType, pa.Array]:
    batch = narrowed(encode_batch(Records(pa.table({"x": column}))), by_value)
    found = decode_batch(batch)
    assert isinstance(found, Records)
    return batch.schema.field("x").type, found.table.column("x").combine_chunks()


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("values", [SMALL, [value for value in SMALL if value is not None], []])
def test_decimals_of_few_digits_take_half(values, start):
    column = pa.array(values, pa.decimal128(18, 2))[start:]
    kind, found = back(column, by_value=False)
    assert kind == pa.int64()
    assert found.type == column.type
    assert found.to_pylist() == column.to_pylist()


@pytest.mark.parametrize(("values", "kind"), [(SMALL, pa.int64()), (LARGE, pa.decimal128(38, 2)), ([None, None], pa.int64())])
def test_decimals_of_many_digits_go_by_their_values(values, kind):
    column = pa.array(values, pa.decimal128(38, 2))
    travelled, found = back(column, by_value=True)
    assert travelled == kind
    assert (found.type, found.to_pylist()) == (column.type, column.to_pylist())
    assert back(column, by_value=False)[0] == column.type


def test_a_fields_own_metadata_stays():
    field = pa.field("x", pa.decimal128(9, 3), nullable=False, metadata={"unit": "EUR"})
    table = pa.Table.from_arrays([pa.array([Decimal("1.500")], field.type)], schema=pa.schema([field]))
    found = decode_batch(narrowed(encode_batch(Records(table)), by_value=False))
    assert isinstance(found, Records)
    assert found.table.schema.field("x").equals(field, check_metadata=True)


def test_notes_of_a_users_table_that_look_like_ours_are_not_believed():
    """Bytes of a table whose metadata says that they are pickles are never unpickled, and numbers do not become decimals."""

    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("a pickle from data was opened",))

    fields = [pa.field("x", pa.binary()), pa.field("n", pa.int64(), metadata={"decimal": "[9, 2]", "unit": "EUR"})]
    schema = pa.schema(fields, metadata={"df": '["rows", "x"]'})
    table = pa.Table.from_arrays([pa.array([pickle.dumps(Harm())]), pa.array([125])], schema=schema)
    found = decode_batch(narrowed(encode_batch(Records(table)), by_value=True))
    assert isinstance(found, Records)
    assert found.table.column("n").to_pylist() == [125] and found.table.schema.field("n").metadata == {b"unit": b"EUR"}
    assert found.table.column("x").to_pylist() == table.column("x").to_pylist()
