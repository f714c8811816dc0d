"""A run of a hash shuffle: the order of its rows, and where it is cut so that the index shows which buckets and keys are heavy.

    rows by bucket       [3 3][7 7 7 7 7 7 7 7 7 7][8][9 9]         (the top 16 bits of the hash)
    a heavy bucket             ↓ by the whole hash
                              [a a|h h h h h h h|x]
    segments             [3 3][a a|h h h h h h h|x][8 9 9]          no block reaches over the edge of one

A reader is planned from the index alone. Where the rows of a heavy bucket shared their blocks with others, nobody could see that most
of them are of one bucket, or of one key; so such a bucket, and within it such a hash, has blocks of its own. Only its rows are put into
the order of the whole hash, which takes nine times longer than that of 16 bits.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

__all__ = ["Segment", "bucket_of", "laid_out"]

HEAVY_BYTES = 1 << 14  # a block costs about 1 KiB of schema in the file, and a read of 0.1 ms
HEAVY_SHARE = 1 / 1024  # of a run: a bucket below it in every run is at most a few tasks' worth


class Segment(NamedTuple):
    """A part of a run, in rows. ``heavy``: it is of one bucket, and in the order of the whole hash."""

    start: int
    stop: int
    heavy: bool


def bucket_of(hashes: np.ndarray) -> np.ndarray:
    """The bucket of each hash: its top 16 bits."""
    return (hashes >> np.uint64(48)).astype(np.uint16)


def laid_out(hashes: np.ndarray, size: int) -> tuple[np.ndarray, list[Segment]]:
    """The places of rows in the order of their buckets, and the segments of that order. ``size``: bytes of the rows.

    >>> order, segments = laid_out(np.array([7 << 48, 3 << 48, *[7 << 48 | 1] * 6], np.uint64), 1 << 20)
    >>> order.tolist()
    [1, 0, 2, 3, 4, 5, 6, 7]
    >>> [tuple(segment) for segment in segments]
    [(0, 1, True), (1, 2, True), (2, 8, True)]
    """
    buckets = bucket_of(hashes)
    order = np.argsort(buckets, kind="stable")
    ordered = buckets[order]
    count = len(order)
    least = max(HEAVY_BYTES, size * HEAVY_SHARE) / max(size / max(count, 1), 1e-9)  # in rows
    segments: list[Segment] = []
    done = 0
    for start, stop in _long(ordered, least):
        if start > done:
            segments.append(Segment(done, start, False))
        rows = order[start:stop]
        own = hashes[rows]
        if own.min() != own.max():
            within = np.argsort(own, kind="stable")
            order[start:stop], own = rows[within], own[within]
        edges = sorted({0, stop - start, *(edge for pair in _long(own, least) for edge in pair)})
        segments += [Segment(start + a, start + b, True) for a, b in itertools.pairwise(edges)]
        done = stop
    if done < count:
        segments.append(Segment(done, count, False))
    return order, segments


def _long(ordered: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Where equal values stand together at least so many times."""
    if len(ordered) < least or not len(ordered):
        return []
    edges = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [len(ordered)]])
    found = np.flatnonzero(np.diff(edges) >= least)
    return [(int(edges[at]), int(edges[at + 1])) for at in found]
