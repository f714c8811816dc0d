"""Arrow IPC files (Feather v2): columns in, every batch validated whole before use: they have no checksums, and a flipped byte can crash
the process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataflow.errors import InputError
from dataflow.io.columnar import ColumnarSource, skipped_file
from dataflow.io.files import FileInfo, file_system
from dataflow.io.source import Piece, Place, Split
from dataflow.record import record

__all__ = ["IpcSource"]


@record(eq=True, slots=False)
class IpcSource(ColumnarSource):
    """The rows of Arrow IPC (Feather v2) files as records."""

    format = "ipc"

    def _schema_of(self, info: FileInfo) -> pa.Schema:
        def read() -> Any:
            fs, inner = file_system(info.path, self.options)
            with fs.open(inner) as raw, pa.ipc.open_file(raw) as file:
                return file.schema

        return self._guarded(info.path, read)

    def _parts(self, info: FileInfo, target: int, layout: pa.Schema | None) -> list[Split]:
        def read() -> int:
            fs, inner = file_system(info.path, self.options)
            with fs.open(inner) as raw, pa.ipc.open_file(raw) as file:
                return int(file.num_record_batches)

        try:
            count = self._guarded(info.path, read)
        except InputError as error:
            if self.skip_bad:
                return [Split(info.path, 0, 0, 0, info.version, (layout, error.report.sentence))]
            raise
        pieces = max(1, min(count, round(info.size / target)))
        edges = [count * i // pieces for i in range(pieces + 1)]
        size = info.size // pieces
        return [Split(info.path, a, b, size, info.version, (layout, "")) for a, b in itertools.pairwise(edges)]

    def read(self, split: Split) -> Iterator[Piece]:
        layout, reason = split.extra
        if reason:
            yield skipped_file(split, reason)
            return
        row = 1
        with self.open(split) as raw, self._guarded(split.name, lambda: pa.ipc.open_file(raw)) as file:
            for index in range(split.start, split.stop):

                def read(index: int = index) -> pa.RecordBatch:
                    batch = file.get_batch(index)
                    batch.validate(full=True)
                    return batch

                batch = self._guarded(split.name, read)
                table = pa.table(batch)
                wanted = layout if self.only is None else pa.schema([layout.field(n) for n in self.only])
                yield Piece(self._aligned(table, wanted, split.name), Place(f"{split.name}, batch {index}", row), bytes=batch.nbytes)
