"""Bundling: the pieces of many small files become a few large ones.

    10 rows of a, 10 of b, 10 of c, …   ──bundled──>   10 rows of a   20 of b and c   40 of d to g   …

A piece goes through a run as a batch, and a batch costs about a millisecond wherever it is handled, whatever it holds: 20,000 files of ten
rows took a map three minutes. Bundles grow, so that whoever wants the first few rows does not wait for thousands of files. An error still
names file and row: a bundle knows the places of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataflow.io.source import Piece, Place
from dataflow.shard.batch import Batch, Lines, Records, Rows

__all__ = ["bundled"]

SMALL_ROWS = 2048  # a piece of so many is passed on as it is
SMALL_BYTES = 1 << 18
MOST_ROWS = 16_384


def bundled(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same elements in fewer pieces: small ones of one kind after one another are put together."""
    held: list[Piece] = []
    rows = size = 0
    most = 1
    for piece in pieces:
        count = len(piece.batch)
        large = count >= SMALL_ROWS or piece.bytes >= SMALL_BYTES
        if held and (large or rows + count > MOST_ROWS or not _alike(held[0].batch, piece.batch)):
            yield _together(held)
            held, rows, size = [], 0, 0
        held.append(piece)
        rows += count
        size += piece.bytes
        if large or rows >= most or size >= SMALL_BYTES:
            yield _together(held)
            held, rows, size, most = [], 0, 0, min(MOST_ROWS, 2 * most)
    if held:
        yield _together(held)


def _alike(one: Batch, two: Batch) -> bool:
    if isinstance(one, Records) and isinstance(two, Records):
        return bool(one.table.schema.equals(two.table.schema, check_metadata=True))
    return type(one) is type(two) and isinstance(one, (Rows, Lines))


def _together(held: list[Piece]) -> Piece:
    if len(held) == 1:
        return held[0]
    parts, rows = [], 0
    for piece in held:
        parts.append((rows, piece.place))
        rows += len(piece.batch)
    bad = [row for piece in held for row in piece.bad]
    return Piece(_batch([piece.batch for piece in held]), Place("", 1, parts=tuple(parts)), bad, sum(piece.bytes for piece in held))


def _batch(batches: list[Batch]) -> Batch:
    match batches[0]:
        case Records():
            import pyarrow as pa

            return Records(pa.concat_tables([one.table for one in batches if isinstance(one, Records)]).combine_chunks())
        case Lines():
            parts = [one.data for one in batches if isinstance(one, Lines) and one.data]
            return Lines(b"".join(data if data.endswith(b"\n") else data + b"\n" for data in parts))
        case _:
            return Rows([row for one in batches for row in one.rows()])
