"""Columns that travel as fewer bytes come back as they were, wherever they lie in their array, and whatever other batches are like."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pyarrow as pa
import pytest

from dataflow.shard.batch import Records
from dataflow.shard.codec import decode_batch, encode_batch
from dataflow.shard.narrow import Narrowing, alike, plain_where_large, together, wide_batch, wide_bytes
from dataflow.shard.repeats import FEW

SMALL = [Decimal("1.25"), None, Decimal("-0.01"), Decimal("9999999999999999.99"), Decimal("-9999999999999999.99"), Decimal(0)]
LARGE = [Decimal("12345678901234567890.12"), None, Decimal("-1.00")]


def narrowed(batch: pa.RecordBatch, by_value: bool) -> pa.RecordBatch:
    return Narrowing(by_value).narrowed(batch)


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
    assert kind == (pa.int64() if values else pa.int8())
    assert found.type == column.type
    assert found.to_pylist() == column.to_pylist()


@pytest.mark.parametrize(("values", "kind"), [(SMALL, pa.int64()), (LARGE, pa.decimal128(38, 2)), ([None, None], pa.int8())])
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

    notes = {"decimal": "[9, 2]", "integer": "int32", "repeats": "", "unit": "EUR"}
    fields = [pa.field("x", pa.binary()), pa.field("n", pa.int64(), metadata=notes)]
    schema = pa.schema(fields, metadata={"df": '["rows", "x"]'})
    table = pa.Table.from_arrays([pa.array([pickle.dumps(Harm())]), pa.array([125])], schema=schema)
    found = decode_batch(narrowed(encode_batch(Records(table)), by_value=True))
    assert isinstance(found, Records)
    assert found.table.column("n").to_pylist() == [125] and found.table.schema.field("n").metadata == {b"unit": b"EUR"}
    assert found.table.column("x").to_pylist() == table.column("x").to_pylist()


def coded(table: pa.Table) -> pa.RecordBatch:
    return encode_batch(Records(table))


def same(found: pa.RecordBatch, expected: pa.RecordBatch) -> None:
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.decimal128(9, 2), pa.decimal128(30, 2)])
@pytest.mark.parametrize("largest", [0, 31, 32, 127, 128, 8191, 8192, 32768, 2**29 - 1])
def test_numbers_take_what_the_largest_needs(kind, largest):
    values = [largest, -largest - 1, None, 0]
    column = pa.array([None if v is None else Decimal(v).scaleb(-2) if pa.types.is_decimal(kind) else v for v in values], kind)
    batch = coded(pa.table({"x": column}))
    found = narrowed(batch, by_value=True)
    bits = found.schema.field("x").type.bit_width
    assert bits <= 32 and -(2 ** (bits - 1)) <= -largest - 1 and (bits == 8 or 4 * (largest + 1) > 2 ** (bits // 2 - 1))
    same(wide_batch(found), batch)
    assert abs(wide_bytes(found) - batch.nbytes) <= 1


def test_a_column_takes_more_when_it_needs_more_and_what_was_written_fits_what_comes():
    narrowing = Narrowing(by_value=False)
    batches = [coded(pa.table({"x": pa.array([at, -at], pa.int64())})) for at in (1, 100, 200, 3, 5000, 2**40, 7)]
    found = [narrowing.narrowed(batch) for batch in batches]
    assert [one.schema.field("x").type for one in found] == [*[pa.int8()] * 2, *[pa.int16()] * 3, pa.int64(), pa.int64()]
    one_shape = alike(found[:5])
    assert {str(one.schema.field("x").type) for one in one_shape} == {"int16"}
    same(wide_batch(together(one_shape)), pa.concat_batches(batches[:5]))
    same(together(alike(found)), pa.concat_batches(batches))


TEXT = pa.large_string()


def texts(values: list[str | None], rows: int, kind: pa.DataType = TEXT) -> pa.RecordBatch:
    return coded(pa.table({"t": pa.array([values[at % len(values)] for at in range(rows)], kind), "n": pa.array(range(rows))}))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_texts_that_repeat_travel_as_places(kind):
    batch = texts(["", "né", None, "a long one that repeats"], 3000, kind)
    found = narrowed(batch, by_value=False)
    assert found.schema.field("t").type.index_type == pa.int8()
    same(wide_batch(found.slice(7, 1000)), batch.slice(7, 1000))
    assert abs(wide_bytes(found) - batch.nbytes) <= 16
    assert found.nbytes < batch.nbytes / 4


def test_a_dictionary_of_the_users_stays_one():
    batch = coded(pa.table({"t": pa.array(["a", "b"] * 1000).dictionary_encode()}))
    same(narrowed(batch, by_value=True), batch)


def test_texts_that_turn_out_to_differ_travel_plain():
    narrowing = Narrowing(by_value=False)
    few, many = texts(["x", "y"], 2000), texts([f"text {at}" for at in range(2000)], 2000)
    found = [narrowing.narrowed(batch) for batch in (few, many, few)]
    assert [pa.types.is_dictionary(one.schema.field("t").type) for one in found] == [True, False, False]
    same(wide_batch(together(alike(found))), pa.concat_batches([few, many, few]))


def test_places_take_more_when_there_are_more_texts():
    narrowing = Narrowing(by_value=False)
    few, more = texts(["x", "y"], 2000), texts([f"text {at}" for at in range(200)], 5000)
    found = [narrowing.narrowed(batch) for batch in (few, more, few)]
    assert [one.schema.field("t").type.index_type for one in found] == [pa.int8(), pa.int32(), pa.int32()]
    same(wide_batch(together(alike(found))), pa.concat_batches([few, more, few]))


def test_places_of_8_bits_do_not_run_over():
    batches = [texts([f"{start + at}" for at in range(FEW)], 2000) for start in range(0, 8 * FEW, FEW)]
    found = [Narrowing(by_value=False).narrowed(batch) for batch in batches]
    assert {one.schema.field("t").type.index_type for one in found} == {pa.int8()}
    same(wide_batch(together(alike(found))), pa.concat_batches(batches))


def test_a_large_dictionary_is_not_written_with_every_block():
    batches = [texts(["x" * 5000 + str(start + at) for at in range(10)], 2000) for start in (0, 10)]
    narrowing = Narrowing(by_value=False)
    found = together([narrowing.narrowed(batch) for batch in batches])
    assert pa.types.is_dictionary(found.schema.field("t").type)
    assert plain_where_large(found).schema.field("t").type == pa.large_string()
    same(wide_batch(plain_where_large(found)), pa.concat_batches(batches))
    larger = texts(["x" * 5000 + str(at) for at in range(20)], 2000)
    assert narrowing.narrowed(larger).schema.field("t").type == pa.large_string()


def test_numbers_of_the_users_that_differ_stay_as_they_are():
    batches = [coded(pa.table({"x": pa.array([1], kind)})) for kind in (pa.int8(), pa.int64())]
    assert [one.schema for one in alike(batches)] == [one.schema for one in batches]
