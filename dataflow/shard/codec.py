"""Python values as Arrow columns and back, exactly: what comes out is what went in, types included.

Between the steps of one run nothing may change: ``1`` must not become ``1.0`` nor a tuple a list. So a column is
typed only where Arrow's type says the same as Python's, decided batch by batch from the types present; what
Arrow cannot say travels as pickles, in files of this run that only this run reads, behind a checksum.

    values                          column                                  coding
    all str | int | float | …       large_string | int64 | double | …       "p"
    tuples of one length            struct of coded columns                 ["t", …]
    dicts with the same str keys    struct of coded columns                 ["d", …]
    lists                           large_list of a coded column            ["l", …]
    anything else                   large_binary, one pickle a value        "x"

Outputs are another matter: they have one schema for the whole run, see `dataflow.io.schema`.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import pickle
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.shard.arrow import blobs, from_numpy, strings, taken, to_numpy
from dataflow.shard.batch import Batch, Lines, Pairs, Records, Rows, Same, Values
from dataflow.shard.users_code import saw

__all__ = ["HASH", "ORDER", "Coding", "decode", "decode_batch", "encode", "encode_batch", "to_list"]

Coding = Any
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
HASH, ORDER = "\0hash", "\0order"  # columns that a shuffle adds; no user's column is called so

_PLAIN: dict[type, pa.DataType] = {
    str: pa.large_string(),
    bytes: pa.large_binary(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    dt.date: pa.date32(),
    dt.timedelta: pa.duration("us"),
}
_NONE = type(None)


def encode(values: Sequence[Any]) -> tuple[pa.Array, Coding]:
    """A column that holds the values exactly, and how to read it back.

    >>> array, coding = encode([("a", 1), ("b", 2)])
    >>> str(array.type), coding
    ('struct<0: large_string, 1: int64>', ['t', 'p', 'p'])
    >>> decode(array, coding)
    [('a', 1), ('b', 2)]
    """
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values, "p"
    if isinstance(values, Same) and len(values):
        array, coding = encode([values.value])
        return taken(array, np.zeros(len(values), np.int64)), coding
    kinds = set(map(type, values))
    nullable = _NONE in kinds
    kinds.discard(_NONE)
    if not kinds:
        return pa.nulls(len(values)), "p"
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in _PLAIN:
            try:
                return _plain(values, kind, nullable), "p"
            except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
                return _pickled(values), "x"  # an int beyond 64 bits, a lone surrogate
        if kind is dt.datetime and all(v is None or (v.tzinfo is None and not v.fold) for v in values):
            return pa.array(values, pa.timestamp("us")), "p"
        if not nullable and kind is tuple:
            return _tuples(values)
        if not nullable and kind is dict:
            return _dicts(values)
        if not nullable and kind is list:
            child, coding = encode(list(itertools.chain.from_iterable(values)))
            offsets = np.zeros(len(values) + 1, np.int64)
            np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
            return pa.LargeListArray.from_arrays(from_numpy(offsets), child), ["l", coding]
    return _pickled(values), "x"


def _plain(values: Sequence[Any], kind: type, nullable: bool) -> pa.Array:
    if not nullable:
        if kind is str:
            return strings(values)
        if kind is bytes:
            return blobs(values)
        if kind is int or kind is float or kind is bool:
            return from_numpy(np.array(values, {int: np.int64, float: np.float64, bool: np.bool_}[kind]))
    return pa.array(values, _PLAIN[kind])


def _tuples(values: Sequence[Any]) -> tuple[pa.Array, Coding]:
    widths = set(map(len, values))
    if len(widths) != 1 or not 1 <= (width := widths.pop()) <= 32:
        return _pickled(values), "x"
    parts = [encode(list(map(itemgetter(i), values))) for i in range(width)]
    array = pa.StructArray.from_arrays([part[0] for part in parts], [str(i) for i in range(width)])
    return array, ["t", *(part[1] for part in parts)]


def _dicts(values: Sequence[Any]) -> tuple[pa.Array, Coding]:
    shapes = set(map(tuple, values))
    names = shapes.pop() if len(shapes) == 1 else ()
    if not names or not all(type(name) is str for name in names):
        return _pickled(values), "x"
    parts = [encode(list(map(itemgetter(name), values))) for name in names]
    try:
        array = pa.StructArray.from_arrays([part[0] for part in parts], list(names))
    except UnicodeEncodeError:
        return _pickled(values), "x"
    return array, ["d", *(part[1] for part in parts)]


def _pickled(values: Sequence[Any]) -> pa.Array:
    return blobs([_dumps(value) for value in values])


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle  # a class defined in the user's script or notebook travels by value

        return bytes(cloudpickle.dumps(value, 5))


def decode(array: pa.Array, coding: Coding) -> list[Any]:
    """The values of a column made by `encode`."""
    if coding == "p":
        return to_list(array)
    if coding == "x":
        saw()
        return [pickle.loads(item) for item in array.to_pylist()]
    kind, *codings = coding
    if kind == "l":
        flat = decode(array.flatten(), codings[0])
        ends = np.cumsum(to_numpy(array.value_lengths())).tolist()
        return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    columns = [decode(part, how) for part, how in zip(array.flatten(), codings, strict=True)]
    if kind == "t":
        return list(zip(*columns, strict=True))
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def to_list(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """An Arrow array as Python values (through NumPy where that is the same: four times faster)."""
    kind = array.type
    if array.null_count == 0 and (kind == pa.int64() or kind == pa.float64()):
        return to_numpy(array).tolist()  # type: ignore[no-any-return]
    return array.to_pylist()  # type: ignore[no-any-return]


def encode_batch(batch: Batch) -> pa.RecordBatch:
    """A batch as one Arrow record batch that `decode_batch` reads back."""
    match batch:
        case Records():
            table = batch.table.combine_chunks()
            arrays = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
            fields = list(table.schema)
            for at, field in enumerate(fields):
                kind = _VIEWS.get(field.type) if not isinstance(field.type, pa.BaseExtensionType) else None  # some have no hash
                if kind is not None:  # most of Arrow's kernels, `take` among them, know no views
                    arrays[at] = arrays[at].cast(kind)
                    fields[at] = field.with_type(kind)
                if field.metadata:
                    from dataflow.shard.narrow import unnoted  # a small run has nothing narrow

                    fields[at] = unnoted(fields[at])
            meta = {**(table.schema.metadata or {}), b"df": json.dumps(["records"]).encode()}  # whatever the records' own says
            return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, meta))
        case Lines():
            return _named(["v"], [batch.arrow()], ["values", "p"])
        case Values(array=array):
            return _named(["v"], [array], ["values", "p"])
        case Pairs(keys=keys, values=values):
            (karray, kcoding), (varray, vcoding) = encode(keys), encode(values)
            return _named(["k", "v"], [karray, varray], ["pairs", kcoding, vcoding])
        case _:
            array, coding = encode(batch.rows())
            return _named(["v"], [array], ["rows", coding])


def _named(names: list[str], arrays: list[pa.Array], coding: Coding) -> pa.RecordBatch:
    schema = pa.schema([pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)], {b"df": json.dumps(coding).encode()})
    return pa.RecordBatch.from_arrays([_whole(a) for a in arrays], schema=schema)


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def coding_of(batch: pa.RecordBatch) -> Coding:
    """The coding that `encode_batch` noted in the schema."""
    return json.loads(batch.schema.metadata[b"df"])


def decode_batch(batch: pa.RecordBatch) -> Batch:
    """The batch that `encode_batch` wrote, without the columns of the shuffle's own."""
    kind, *codings = coding_of(batch)
    columns = [(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True) if name not in (HASH, ORDER)]
    if kind == "records":
        wide = [(column, batch.schema.field(name)) for name, column in columns]
        if any(field.metadata for _, field in wide):
            from dataflow.shard.narrow import widened

            wide = [widened(column, field) for column, field in wide]
        return Records(pa.Table.from_arrays([column for column, _ in wide], schema=pa.schema([field for _, field in wide])))
    if kind == "values":
        return Values(columns[0][1])
    if kind == "pairs":
        return Pairs(decode(columns[0][1], codings[0]), decode(columns[1][1], codings[1]))
    return Rows(decode(columns[0][1], codings[0]))
