"""Run files: what travels between the tasks of a run. One file per task and attempt, in blocks, each checksummed.

    file    block block block …                            written front to back, never changed
    block   one Arrow IPC stream of one record batch       read alone, by offset and length
    index   for each block: offset, length, crc32, rows, first and last key   kept in the task's manifest
            (of a heavy bucket of a hash shuffle also the least and the greatest hash)

A shuffle file holds sorted runs: within a run, blocks ascend by key (for a grouping the top 16 bits of the hash,
for a sort the sort key), so a reduce task reads the blocks that overlap its range and nothing else. There is never
a file per pair of mapper and reducer.

Life of a block: `RunWriter.write` encodes it and notes its checksum; the manifest carries the index to the driver
and on to the readers; `read_block` reads the bytes, checks them *before* Arrow looks (a flipped byte can crash the
process there), and gives the batch back. A checksum that fails, or a file that is gone, names the task that wrote it, which is run
again.
"""

from __future__ import annotations

import zlib
from typing import Any

import pyarrow as pa

from dataflow.errors import Report, ShardCorruptError, ShardLostError
from dataflow.record import record
from dataflow.shard.places import create_file, read_range, remove_file

__all__ = ["BLOCK_BYTES", "Block", "RunFile", "RunWriter", "read_block"]

BLOCK_BYTES = 1 << 20  # of a block, about: what a reader holds of each run it merges


@record(eq=True)
class Block:
    """Where one block of a file is, and which keys it holds.

    ``length`` is of the file, ``size`` what the block takes in memory. ``hashes``: the least and the greatest, of a block whose
    rows are of one bucket and in the order of the whole hash.
    """

    offset: int
    length: int
    crc: int
    rows: int
    run: int = 0
    first: Any = None
    last: Any = None
    hashes: tuple[int, int] | None = None
    size: int = 0

    def is_whole(self, data: Any) -> bool:
        """Whether bytes that were read are those that were written."""
        return len(data) == self.length and zlib.crc32(data) == self.crc


@record(eq=True)
class RunFile:
    """A file of blocks, the task that wrote it, which ``side`` of an exchange its records are, and where it is (`shard.places`)."""

    path: str
    producer: str
    blocks: tuple[Block, ...]
    side: int = 0
    place: str = ""

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)

    @property
    def bytes(self) -> int:
        """What its blocks take in memory."""
        return sum(block.size for block in self.blocks)

    @property
    def stored(self) -> int:
        """What they take on disk."""
        return sum(block.length for block in self.blocks)


class RunWriter:
    """Writes blocks to a file, which exists only once something was written.

    ``compressed``: by LZ4. For wide records that is less work than the writing, reading and checking of three times the bytes, and
    keeps a large shuffle in the page cache (sort of 12 GB of lineitem: 88 s became 75). Keys and small values gain nothing.
    """

    def __init__(self, path: str, producer: str, side: int = 0, compressed: bool = False) -> None:
        self.path, self.producer, self.side, self.compressed = path, producer, side, compressed
        self._file: Any = None
        self._blocks: list[Block] = []
        self._offset = 0

    def write(
        self,
        batch: pa.RecordBatch,
        run: int = 0,
        first: Any = None,
        last: Any = None,
        hashes: tuple[int, int] | None = None,
        size: int | None = None,
    ) -> None:
        """Append a block. ``size``: bytes it will take where it is read, by default those of its records when they are wide."""
        if self._file is None:
            self._file = create_file(self.path)
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4" if self.compressed else None, use_threads=False)
        with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
            stream.write_batch(batch)
        data = sink.getvalue()
        takes: int = data.size if not self.compressed else _wide_bytes(batch) if size is None else size
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            error.filename = error.filename or self.path  # the system's own error does not say where
            raise
        self._blocks.append(Block(self._offset, data.size, zlib.crc32(data), batch.num_rows, run, first, last, hashes, takes))
        self._offset += data.size

    def close(self) -> RunFile:
        """The finished file. Nothing is forced to disk: a run's inner files do not outlive the machine."""
        if self._file is not None:
            self._file.close()
            self._file = None
        return RunFile(self.path, self.producer, tuple(self._blocks), self.side)

    def abort(self) -> None:
        """Close and remove."""
        if self._file is not None:
            self._file.close()
            remove_file("", self.path)
            self._file = None


def _wide_bytes(batch: pa.RecordBatch) -> int:
    from dataflow.shard.narrow import wide_bytes  # a small run has nothing narrow

    return wide_bytes(batch)


def read_block(file: RunFile, block: Block) -> pa.RecordBatch:
    """The record batch of one block, after its checksum held."""
    try:
        data = read_range(file.place, file.path, block.offset, block.length)
    except FileNotFoundError:
        raise ShardLostError(
            Report(
                "a file of this run is gone",
                location=f"{file.place}{file.path}, written by task {file.producer}",
                hint="if no machine went with it: does something clean that folder?",
                cause_type=file.producer,
            )
        ) from None
    if not block.is_whole(data):
        raise ShardCorruptError(
            Report(
                f"a file of this run came back other than it was written ({len(data)} of {block.length} bytes read)",
                location=f"{file.place}{file.path} at byte {block.offset}, written by task {file.producer}",
                hint="if it happens again, test this machine's disk and memory",
                cause_type=file.producer,
            )
        )
    return pa.ipc.open_stream(pa.py_buffer(data), options=_ONE_THREAD).read_next_batch()


_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)  # the other cores have tasks of their own
