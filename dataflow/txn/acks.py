"""Acks of rows that are gone: garbage, which nobody asks for any more.

An ack says which change of a cell an observer has seen last. It outlives the cell, because of a delete nothing else may be kept that says
that it was seen. When the cell is gone, nothing is noted of it, and the ack is older than the safe point, the next change of the cell is
newer than any snapshot in use, and its observer runs without an ack as well. Who runs it just now writes the ack, too: one conflicts.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dataflow.errors import ConflictError, SnapshotTooOldError
from dataflow.txn.transaction import Transaction, cell_key, cell_of
from dataflow.txn.values import decode

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["collect_acks"]

_PIECE = 1_000  # acks that are removed in one transaction


def collect_acks(database: Database, safe: int) -> int:
    """Remove the acks of cells that are gone, and say how many; of changes that were set aside they stay, for `renotify`."""
    removed, start = 0, b"\x01"
    while start:
        t = Transaction(database, database.engine.begin())
        try:
            found, start = _old_acks(t, start, safe)
            cells = [_observed(ack) for ack in found]
            for ack, cell, version in zip(found, cells, t.versions(cells), strict=True):
                gone = version is None or version.value is None
                if gone and next(database.engine.dirty(cell, cell + b"\xff"), None) is None:
                    t.put_quietly(ack, None)
            count = t.changes
            with suppress(ConflictError, SnapshotTooOldError):  # an observer runs; what is left is for the next time
                t.commit()
                removed += count
        finally:
            t.rollback()
    return removed


def _old_acks(t: Transaction, start: bytes, safe: int) -> tuple[list[bytes], bytes]:
    """Some acks from a key on, and where those behind them begin; nowhere if they are the last."""
    found: list[bytes] = []
    for key, value in t.stored(start, b"\xff"):
        if len(found) == _PIECE:
            return found, key
        if key.endswith(b"\x00\x00\x00") and cell_of(key)[1][0] == "ack" and 0 <= decode(value) < safe:
            found.append(key)
    return found, b""


def _observed(ack: bytes) -> bytes:
    row, kept = cell_of(ack)
    return cell_key(row, kept[2])
