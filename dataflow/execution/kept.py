"""Keeping elements: what later phases of a run, or its user, read as they are, in files of the run."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from dataflow.errors import SchemaError
from dataflow.execution.context import TaskContext
from dataflow.io.schema import table_of
from dataflow.physical.program import KeepLeaf
from dataflow.shard import batch as batches
from dataflow.shard.batch import Batch, Records
from dataflow.shard.codec import encode_batch
from dataflow.shard.runfile import BLOCK_BYTES, RunFile, RunWriter

__all__ = ["KeepWriter"]


class KeepWriter:
    """A leaf that keeps elements in files of the run."""

    def __init__(self, leaf: KeepLeaf, context: TaskContext) -> None:
        self.leaf, self.context = leaf, context
        self.writer: RunWriter | None = None
        self.rows = 0
        self.gathered: list[pa.Table] = []
        self.bytes = 0

    def push(self, batch: Batch) -> None:
        """Take a batch."""
        for part in batches.in_parts(batch):
            self._push(part)

    def _push(self, batch: Batch) -> None:
        if self.leaf.limit is not None:
            batch = batch.slice(0, self.leaf.limit - self.rows) if self.rows + len(batch) > self.leaf.limit else batch
        if not len(batch):
            return
        self.rows += len(batch)
        if self.leaf.records:
            try:
                self._gather(table_of(batch, None))
            except SchemaError as error:
                place = error.report.location
                whole = self.context.whereabouts()
                raise SchemaError(replace(error.report, location=f"{place}, {whole}" if place and whole else place or whole)) from error
            return
        if self.writer is None:
            self.writer = RunWriter(self.context.output_path("kept"), self.context.task)
        self.writer.write(encode_batch(batch))

    def _gather(self, table: pa.Table) -> None:
        """Records are put together to blocks worth reading: a source of small files gives batches of one row."""
        if self.gathered and not table.schema.equals(self.gathered[0].schema):
            self._write_gathered()
        self.gathered.append(table)
        self.bytes += table.nbytes
        if self.bytes >= BLOCK_BYTES:
            self._write_gathered()

    def _write_gathered(self) -> None:
        if self.gathered:
            if self.writer is None:
                self.writer = RunWriter(self.context.output_path("kept"), self.context.task)
            self.writer.write(encode_batch(Records(pa.concat_tables(self.gathered))))
            self.gathered, self.bytes = [], 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.leaf.limit is not None and self.rows >= self.leaf.limit

    def close(self) -> RunFile | None:
        """The file, None if there was nothing to keep."""
        self._write_gathered()
        return self.writer.close() if self.writer is not None else None

    def abort(self) -> None:
        """Remove what was written."""
        if self.writer is not None:
            self.writer.abort()
