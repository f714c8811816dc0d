"""Texts of few different values on their way through a shuffle: a dictionary of them, and each row's place in it.

    "NONE", "COLLECT COD", "NONE", "NONE" …   ──>   ["NONE", "COLLECT COD"]  0 1 0 0 …   ──>   the same texts behind it

Putting texts in another order takes Arrow 30 to 90 ns each, places in a dictionary 2 ns, and a shuffle does it twice, beside compressing,
summing and copying their bytes. To find the places takes 20 ns, to look the texts up again 10.

A writer decides by the first batch that is large enough, column by column, and takes it back where a later one holds too many values.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataflow.shard.arrow import call, cast, taken

__all__ = ["NOTE", "Repeats", "plain", "plain_bytes"]

NOTE = b"repeats"  # in the metadata of a field whose texts are encoded, for a dictionary of the user's own stays one
LEAST = 1024  # rows by which a column is judged
SAMPLE = 4096
SHARE = 16  # rows for each different value, at least
FEW = 32  # different values up to which their places take 8 bits, which 127 fit
LARGE = 1 << 16  # bytes of a dictionary: a sixteenth of a block


class Repeats:
    """What a writer knows of the columns it has seen: which hold few different texts, and how wide places in them are."""

    def __init__(self) -> None:
        self.places: dict[str, pa.DataType | None] = {}

    def encoded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the texts that repeat as dictionaries."""
        arrays, fields = batch.columns, list(batch.schema)
        for at, field in enumerate(fields):
            if field.type in (pa.large_string(), pa.string()) and (made := self._encoded(field.name, arrays[at])) is not None:
                arrays[at] = made
                fields[at] = field.with_type(made.type).with_metadata({**(field.metadata or {}), NOTE: b""})
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, batch.schema.metadata))

    def _encoded(self, name: str, texts: pa.Array) -> pa.Array | None:
        if name not in self.places and len(texts) >= LEAST:
            sample = taken(texts, np.arange(0, len(texts), -(-len(texts) // SAMPLE)))
            different = len(call("unique", sample))
            self.places[name] = None if SHARE * different > len(sample) else pa.int8() if different <= FEW else pa.int32()
        kind = self.places.get(name)
        if kind is None:
            return None
        made = call("dictionary_encode", texts)
        if SHARE * len(made.dictionary) > len(texts) >= LEAST or made.dictionary.nbytes > LARGE:
            self.places[name] = None
            return None
        if len(made.dictionary) > FEW:
            kind = self.places[name] = pa.int32()
        return pa.DictionaryArray.from_arrays(cast(made.indices, kind), made.dictionary)


def plain(array: pa.DictionaryArray) -> pa.Array:
    """The texts that `Repeats.encoded` was given."""
    return taken(array.dictionary, array.indices)


def plain_bytes(batch: pa.RecordBatch) -> int:
    """The bytes a batch takes with its texts plain: what memory is counted by, as a text may take a thousand times its place."""
    size = int(batch.nbytes)
    for array, field in zip(batch.columns, batch.schema, strict=True):
        if NOTE in (field.metadata or {}):
            lengths = call("binary_length", array.dictionary)
            offsets = 8 if pa.types.is_large_string(array.type.value_type) else 4
            nulls = -(-len(array) // 8) if array.null_count else 0
            size += int(call("sum", taken(lengths, array.indices)).as_py() or 0) + offsets * len(array) + nulls - array.nbytes
    return size
