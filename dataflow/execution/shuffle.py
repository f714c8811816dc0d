"""Writing a shuffle: elements gather in memory, and leave as sorted runs in one file.

    push ─> (combine) ─> held batches ──(budget reached)──> one run per schema: sorted, cut into blocks ─> RunFile

    kind     sorted by                                   columns besides the element's
    group    the top 16 bits of the key's hash           hash    the hash (a partitioner's number, if the user has one)
    sort     the sort key                                order   the key, unless the element is its own key
    deal     nothing: shares in turn                     hash    the share's number

A hash run is ordered only by 16 bits, because NumPy sorts 16-bit integers by radix (10 ns a row here against 90 for
64-bit ones) and the reader orders each small range by the whole hash anyway. What is heavy has blocks of its own (`hashed_run`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.algebra.order import canonical, order_key
from dataflow.errors import DataflowError, KeyTypeError, Report, StepError, shorten
from dataflow.execution.combine import MapCombiner
from dataflow.execution.context import TaskContext, text_of
from dataflow.execution.failures import trace_of, user_frames
from dataflow.execution.hashed_run import Segment, bucket_of, laid_out
from dataflow.execution.runner import exited
from dataflow.io.schema import table_of
from dataflow.kernels.sorting import key_at, sort_order
from dataflow.physical.program import ShuffleLeaf
from dataflow.shard import batch as batches
from dataflow.shard.arrow import from_numpy, taken, to_numpy
from dataflow.shard.batch import Batch, NotPairs, Pairs, Records, raw_pairs
from dataflow.shard.codec import HASH, ORDER, coding_of, decode, decode_batch, encode, encode_batch
from dataflow.shard.keys import hash_keys
from dataflow.shard.narrow import Narrowing, plain_where_large, together, wide_bytes
from dataflow.shard.repeats import plain_bytes
from dataflow.shard.runfile import BLOCK_BYTES, RunFile, RunWriter

__all__ = ["ShuffleWriter", "Shuffled", "sort_column", "with_column"]

CHECK_ROWS = 1 << 16


class Shuffled(Batch):
    """Elements that are encoded already, with the column that their shuffle orders by."""

    __slots__ = ("coded",)

    def __init__(self, coded: pa.RecordBatch) -> None:
        self.coded = coded

    def __len__(self) -> int:
        return int(self.coded.num_rows)

    def rows(self) -> list[Any]:
        return decode_batch(self.coded).rows()

    def slice(self, start: int, stop: int) -> Batch:
        return Shuffled(self.coded.slice(start, stop - start))


class ShuffleWriter:
    """A leaf that writes into a shuffle."""

    def __init__(self, leaf: ShuffleLeaf, context: TaskContext, share: int) -> None:
        self.leaf, self.context = leaf, context
        self.budget = min(max(share // 3, 1 << 16), batches.MOST_BYTES)
        self.combiner = MapCombiner(leaf.combiner) if leaf.combiner is not None else None
        self.held: dict[str, list[pa.RecordBatch]] = {}
        self.bytes = 0
        self.writer: RunWriter | None = None
        self.runs = 0
        self.dealt = context.seed
        self.unchecked = 0
        self.narrowing = Narrowing(by_value=leaf.hash_on is not None)

    def push(self, batch: Batch) -> None:
        """Take a batch."""
        for part in batches.in_parts(batch):
            self._push(part)

    def _push(self, batch: Batch) -> None:
        if not len(batch):
            return
        try:
            if self.combiner is not None:
                self.combiner.add(batch)
                self.unchecked += len(batch)
                if self.unchecked >= CHECK_ROWS:
                    self.unchecked = 0
                    if self.combiner.bytes() > self.budget:
                        self._drain()
                        self._flush()
                return
            self._hold(self._keyed(batch), isinstance(batch, Shuffled))
        except NotPairs as error:
            raise self._failed(TypeError(str(error)), error.element) from error
        except KeyTypeError as error:
            raise self._failed(error, self._culprit(batch)) from error
        except (DataflowError, OSError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            if self.combiner is not None:
                raise self._broken(exited(error), self.combiner.python.failed_on(), repr(self.leaf.combiner)) from error
            raise self._broken(exited(error), self._culprit(batch)) from error
        if self.bytes > self.budget:
            self._flush()

    def _failed(self, error: Exception, record: Any) -> DataflowError:
        kind = KeyTypeError if isinstance(error, KeyTypeError) else StepError
        base = error.report if isinstance(error, DataflowError) else Report(f"pairs are needed: {error}")
        return kind(
            Report(
                f"{self.leaf.label}: {base.sentence}",
                steps=(self.leaf.label,),
                declared=self.leaf.declared,
                declared_text=self.leaf.declared_text,
                record=shorten(record) if record is not None else "",
                location=self.context.whereabouts(),
                hint=base.hint or "make pairs with key_by, or map to tuples of two",
            )
        )

    def _culprit(self, batch: Batch) -> Any:
        """The first element whose key fails, for the report."""
        for element in batch.rows():
            try:
                if self.leaf.sort_key is not None:
                    order_key(self.leaf.sort_key(element))
                elif self.leaf.kind == "group":
                    canonical(element[0])
                else:
                    order_key(element)
            except (Exception, SystemExit):
                return element
        return None

    def _broken(self, error: Exception, record: Any, what: str = "") -> StepError:
        """The report of a user's sort key, partitioner or aggregator that failed."""
        leaf = self.leaf
        return StepError(
            Report(
                f"{what or leaf.label} failed{' before the shuffle' if what else ''}: {type(error).__name__}: {text_of(error)[:300]}",
                steps=(leaf.label, leaf.combined_by) if what else (leaf.label,),
                declared=leaf.declared,
                declared_text=leaf.declared_text,
                failed=user_frames(error),
                record=shorten(record) if record is not None else "",
                location=self.context.whereabouts(),
                trace=trace_of(error),
            )
        )

    def _hold(self, batch: pa.RecordBatch, in_turn: bool = False) -> None:
        """Keep a batch until there is enough; ``in_turn``: no rows of it go before those that came before, whatever their shape."""
        shape = _shape(batch)
        if in_turn and self.held and shape not in self.held:
            self._flush()
        self.held.setdefault(shape, []).append(batch)
        self.bytes += plain_bytes(batch)

    def _keyed(self, batch: Batch) -> pa.RecordBatch:
        """The batch encoded, with the column the shuffle orders by."""
        leaf = self.leaf
        if isinstance(batch, Shuffled):
            return batch.coded
        if leaf.kind == "deal":
            coded = encode_batch(batch)
            assert leaf.partitions
            shares = (np.arange(len(batch), dtype=np.uint64) + np.uint64(self.dealt)) % np.uint64(leaf.partitions)
            self.dealt += len(batch)
            return with_column(coded, HASH, from_numpy(shares << np.uint64(48)))
        if leaf.hash_on is not None or leaf.order is not None:
            return self._by_columns(batch)
        if leaf.kind == "sort":
            coded = encode_batch(batch)
            if leaf.sort_key is None:
                return coded
            keys, coding = encode(list(map(leaf.sort_key, batch.rows())))
            return with_column(coded, ORDER, keys, coding)
        keys_, values = raw_pairs(batch)
        return self._hashed(encode_batch(Pairs(keys_, values)), keys_)

    def _by_columns(self, batch: Batch) -> pa.RecordBatch:
        """Records with the hash or the order of their columns."""
        from dataflow.kernels.carrying import shuffled
        from dataflow.kernels.shuffling import key_hashes, order_bytes

        table = shuffled(batch.table if isinstance(batch, Records) else table_of(batch, None))
        coded = self.narrowing.narrowed(encode_batch(Records(table)))
        if self.leaf.hash_on is not None:
            return with_column(coded, HASH, from_numpy(key_hashes(table, self.leaf.hash_on, self.leaf.types)))
        assert self.leaf.order is not None
        return with_column(coded, ORDER, order_bytes(table, self.leaf.order))

    def _hashed(self, coded: pa.RecordBatch, keys: Any) -> pa.RecordBatch:
        if self.leaf.partitioner is not None:
            assert self.leaf.partitions
            n = self.leaf.partitions
            numbers = np.array(
                [_number(self.leaf.partitioner, key, n) for key in (keys.to_pylist() if isinstance(keys, pa.Array) else keys)], np.uint64
            )
            hashes = (numbers << np.uint64(48)) | (hash_keys(keys) >> np.uint64(16))
        else:
            # the encoded column is numbers already, where the keys would have to become them again
            hashes = hash_keys(coded.column(0) if coding_of(coded)[1] == "p" else keys)
        return with_column(coded, HASH, from_numpy(hashes))

    def _drain(self) -> None:
        assert self.combiner is not None
        for coded in self.combiner.drain():
            keys: Any = coded.column(0)
            coding = coding_of(coded)[1]
            if coding != "p":
                keys = decode(keys, coding)
            try:
                self._hold(self._hashed(coded, keys))
            except KeyTypeError as error:
                raise self._failed(error, None) from error

    def _flush(self) -> None:
        """Write what is held as sorted runs."""
        while self.held:
            _, held = self.held.popitem()
            while held:
                self._run(_together(held))
        self.bytes = 0

    def _run(self, whole: pa.RecordBatch) -> None:
        """Write rows as a sorted run."""
        whole = plain_where_large(whole)
        if self.leaf.kind == "sort":
            order = sort_order(*sort_column(whole))
            segments = [Segment(0, len(order), False)]
        else:
            order, segments = laid_out(to_numpy(whole.column(HASH)), wide_bytes(whole))
        # all at once, column by column: block by block takes twice as long, as every block asks the caches for every column
        whole = taken(whole, order)
        self._write(whole, segments)

    def _write(self, whole: pa.RecordBatch, segments: list[Segment]) -> None:
        """Write an ordered run."""
        if self.writer is None:
            wide = self.leaf.hash_on is not None or self.leaf.order is not None
            self.writer = RunWriter(self.context.output_path("shuffle"), self.context.task, self.leaf.side, compressed=wide)
        sorts = self.leaf.kind == "sort"  # its readers keep numbers narrow until they are in order, others make them wide at once
        size = plain_bytes if sorts else wide_bytes
        per_block = max(1, int(whole.num_rows * BLOCK_BYTES / max(size(whole), 1)))
        for segment in segments:
            for start in range(segment.start, segment.stop, per_block):
                block = whole.slice(start, min(per_block, segment.stop - start))
                if sorts:
                    column, coding = sort_column(block)
                    self.writer.write(
                        block, self.runs, key_at(column, coding, 0), key_at(column, coding, block.num_rows - 1), size=plain_bytes(block)
                    )
                    continue
                ends = to_numpy(block.column(HASH))[[0, -1]]
                first, last = bucket_of(ends).tolist()
                low, high = ends.tolist()
                self.writer.write(block, self.runs, first, last, (low, high) if segment.heavy else None)
        self.runs += 1

    def close(self) -> RunFile | None:
        """The file, None if there was nothing to write."""
        if self.combiner is not None:
            self._drain()
        self._flush()
        if self.writer is None:
            return None
        file = self.writer.close()
        self.context.bytes_spilled += file.stored
        return file

    def abort(self) -> None:
        """Remove what was written."""
        if self.writer is not None:
            self.writer.abort()


def _number(partitioner: Callable[[Any, int], int], key: Any, n: int) -> int:
    found = partitioner(key, n)
    if not isinstance(found, int) or not 0 <= found < n:
        raise StepError(Report(f"the partitioner gave {found!r} for key {shorten(key)}; it must give an int from 0 to {n - 1}"))
    return found


def _together(held: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The batches as one, and no third copy of them while its rows are put in order; or the first, if Arrow cannot make one of them: the
    indices of their dictionaries may be too small for all that is in these together."""
    try:
        whole = together(held)
    except pa.ArrowInvalid:
        return held.pop(0)
    held.clear()
    return whole


def _shape(batch: pa.RecordBatch) -> str:
    return f"{[(f.name, str(f.type), f.metadata) for f in batch.schema]}{batch.schema.metadata}"


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array, coding: Any = "p") -> pa.RecordBatch:
    """The batch with one more column, its coding noted on the field."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    field = pa.field(name, column.type, metadata={b"c": json.dumps(coding).encode()})
    schema = batch.schema.append(field)
    return pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)


def sort_column(batch: pa.RecordBatch) -> tuple[pa.Array, Any]:
    """The column a sort run is ordered by, and its coding: ``ORDER``, or the element itself."""
    at = batch.schema.get_field_index(ORDER)
    if at >= 0:
        return batch.column(at), json.loads(batch.schema.field(at).metadata[b"c"])
    kind, *codings = coding_of(batch)
    if kind == "pairs":
        array = pa.StructArray.from_arrays(batch.columns, ["0", "1"])
        return array, ["t", *codings]
    if kind == "records":
        raise KeyTypeError(Report("records have no order of their own", hint="give sort a key: sort(key=lambda record: record[…])"))
    return batch.column(0), codings[0]
