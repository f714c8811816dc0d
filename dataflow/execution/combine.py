"""Combining before the shuffle: values of equal keys become one accumulator while they are still in this task.

Two ways, side by side in one task: kernels over Arrow columns for batches they take (`NativeCombiner`), a Python
dict for all others (`DictCombiner`). Both give (key, accumulator) pairs; a key may come from both, or again after
a drain, because the reduce task merges accumulators anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dataflow.algebra.aggregator import Aggregator, Native
from dataflow.algebra.order import canonical
from dataflow.kernels.combining import ACC_CODINGS, accumulate, is_native_key, merge_accumulators
from dataflow.shard.batch import Batch, Pairs, raw_pairs
from dataflow.shard.codec import Coding, encode
from dataflow.shard.size import estimated_bytes

__all__ = ["DictCombiner", "MapCombiner", "coded_pairs"]

COMPACT_ROWS = 1 << 18
# Counted in one go: of a million words of Zipf text one in eleven is distinct, of a quarter million one in five, and each
# distinct one has to be merged again. More than this and the hash table leaves the cache.
COUNTED_AT_ONCE = 1 << 21
COUNTED_BYTES = 16 << 20
SAME_AS_CANONICAL = frozenset({str, int, bytes, bool})


def coded_pairs(keys: pa.Array, key_coding: Coding, accs: pa.Array, acc_coding: Coding) -> pa.RecordBatch:
    """Columns of keys and values that are encoded already, as `encode_batch` would have."""
    import json

    meta = {b"df": json.dumps(["pairs", key_coding, acc_coding]).encode()}
    schema = pa.schema([pa.field("k", keys.type), pa.field("v", accs.type)], meta)
    return pa.RecordBatch.from_arrays([keys, accs], schema=schema)


class DictCombiner:
    """One accumulator a key in a dict. Values of a key are added a batch at a time, so `add_all` pays."""

    def __init__(self, aggregator: Aggregator[Any, Any, Any]) -> None:
        self.aggregator = aggregator
        self.accs: dict[Any, Any] = {}
        self.keys: dict[Any, Any] = {}
        self.at: Any = None  # the key (its stand-in) at which the user's aggregator failed, and the values it was given
        self.given: Any = None
        self.batched = type(aggregator).add_all is not Aggregator.add_all

    def add(self, keys: Sequence[Any], values: Sequence[Any]) -> None:
        """Add the values of a batch."""
        plain = set(map(type, keys)) <= SAME_AS_CANONICAL
        stand_ins = keys if plain else list(map(canonical, keys))
        aggregator, accs = self.aggregator, self.accs
        if not plain:
            for stand_in, key in zip(stand_ins, keys, strict=True):
                self.keys.setdefault(stand_in, key)
        if self.batched:
            groups: dict[Any, list[Any]] = {}
            for key, value in zip(stand_ins, values, strict=True):
                if key in groups:
                    groups[key].append(value)
                else:
                    groups[key] = [value]
            for self.at, self.given in groups.items():
                acc = accs[self.at] if self.at in accs else aggregator.create()
                accs[self.at] = aggregator.add_all(acc, self.given)
            self.given = None
            return
        add, create = aggregator.add, aggregator.create
        key = value = None
        try:
            for key, value in zip(stand_ins, values, strict=True):
                accs[key] = add(accs[key] if key in accs else create(), value)
        except BaseException:
            self.at, self.given = key, value
            raise

    def failed_on(self) -> tuple[Any, Any]:
        """The key at which the user's aggregator failed, and what it was to add."""
        return self.keys.get(self.at, self.at), self.given

    def bytes(self) -> int:
        """About how much the dict holds."""
        if not self.accs:
            return 0
        import itertools

        sample = list(itertools.islice(self.accs.items(), 64))
        return int(estimated_bytes(sample) / len(sample) * len(self.accs)) + 100 * len(self.accs)

    def drain(self) -> tuple[list[Any], list[Any]]:
        """All keys and accumulators; empties the combiner."""
        keys = [self.keys.get(key, key) for key in self.accs] if self.keys else list(self.accs)
        accs = list(self.accs.values())
        self.accs, self.keys = {}, {}
        return keys, accs


class NativeCombiner:
    """Accumulators as columns, put end to end and merged whenever they have grown."""

    def __init__(self, kind: Native) -> None:
        self.kind: Native = kind
        self.parts: dict[str, list[tuple[pa.Array, pa.Array]]] = {}
        self.rows = 0
        self.limit = COMPACT_ROWS
        self.uncounted: list[pa.Array] = []  # keys of one type that wait to be counted together

    def add(self, keys: pa.Array, values: pa.Array | None) -> bool:
        """Take a batch; False where Python must."""
        if self.kind == "count":
            self._wait(keys)
            return True
        found = accumulate(self.kind, keys, values)
        if found is None:
            return False
        self._keep(found)
        return True

    def _wait(self, keys: pa.Array) -> None:
        if self.uncounted and self.uncounted[0].type != keys.type:
            self._count()
        self.uncounted.append(keys)
        if sum(map(len, self.uncounted)) >= COUNTED_AT_ONCE or sum(k.nbytes for k in self.uncounted) >= COUNTED_BYTES:
            self._count()

    def _count(self) -> None:
        if self.uncounted:
            keys: Any = self.uncounted[0] if len(self.uncounted) == 1 else pa.chunked_array(self.uncounted)
            self.uncounted = []
            found = accumulate(self.kind, keys, None)
            assert found is not None, "any key that is native can be counted"
            self._keep(found)

    def _keep(self, found: tuple[pa.Array, pa.Array]) -> None:
        shape = f"{found[0].type}/{found[1].type}"
        self.parts.setdefault(shape, []).append(found)
        self.rows += len(found[0])
        if self.rows > self.limit:
            self._compact()
            self.limit = max(COMPACT_ROWS, 2 * self.rows)

    def _compact(self) -> None:
        for shape, parts in self.parts.items():
            if len(parts) > 1:
                merged = merge_accumulators(self.kind, *_concat(parts))
                if merged is not None:
                    self.parts[shape] = [merged]
        self.rows = sum(len(keys) for parts in self.parts.values() for keys, _ in parts)

    def bytes(self) -> int:
        waiting = sum(k.nbytes for k in self.uncounted)
        return waiting + sum(k.nbytes + a.nbytes for parts in self.parts.values() for k, a in parts)

    def drain(self) -> Iterator[tuple[pa.Array, pa.Array]]:
        """All keys and accumulators; empties the combiner."""
        self._count()
        self._compact()
        for parts in self.parts.values():
            yield from parts
        self.parts, self.rows = {}, 0


def _concat(parts: list[tuple[pa.Array, pa.Array]]) -> tuple[pa.Array, pa.Array]:
    return pa.concat_arrays([k for k, _ in parts]), pa.concat_arrays([a for _, a in parts])


class MapCombiner:
    """The combiner of a map task: batches of pairs in, coded pairs of keys and accumulators out."""

    def __init__(self, aggregator: Aggregator[Any, Any, Any]) -> None:
        self.kind = aggregator.native
        self.native = NativeCombiner(self.kind) if self.kind else None
        self.python = DictCombiner(aggregator)

    def add(self, batch: Batch) -> None:
        """Add a batch of pairs."""
        if self.native is None or not self._natively(*raw_pairs(batch)):
            keys, values = batch.pairs()
            self.python.add(list(keys), list(values))

    def _natively(self, keys: Sequence[Any], values: Sequence[Any]) -> bool:
        assert self.native is not None
        column, coding = encode(keys)
        if coding != "p" or not is_native_key(column.type) or isinstance(column, pa.ChunkedArray):
            return False
        if self.kind == "count":
            return self.native.add(column, None)
        array, coding = encode(values)
        return coding == "p" and self.native.add(column, array)

    def bytes(self) -> int:
        """About how much it holds."""
        return self.python.bytes() + (self.native.bytes() if self.native else 0)

    def drain(self) -> Iterator[pa.RecordBatch]:
        """What it holds as coded pairs; empties it."""
        if self.native is not None and self.kind is not None:
            for keys, accs in self.native.drain():
                yield coded_pairs(keys, "p", accs, ACC_CODINGS[self.kind])
        keys_, accs_ = self.python.drain()
        if keys_:
            from dataflow.shard.codec import encode_batch

            yield encode_batch(Pairs(keys_, accs_))
