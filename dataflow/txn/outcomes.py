"""What a cell's row is changed to when the transaction that locked it ends: one way or the other, whoever does it.

    forward   lock away, write record at the commit time, notification at the commit time
    back      lock away, data away, tombstone at the start time

>>> from dataflow.txn.records import PUT
>>> lock = Lock(PUT, 5, 3000, b"w" * 16, b"k", b"", b"new")
>>> [edit.family for edit in forward(b"k", lock, 7)], [edit.family for edit in back(b"k", 5)]
(['write', 'lock', 'notify'], ['lock', 'write', 'data'])
"""

from __future__ import annotations

from dataflow.kv import Edit
from dataflow.txn.records import ROLLBACK, Lock, notification_key, packed_write, version_key

__all__ = ["back", "forward"]


def forward(key: bytes, lock: Lock, commit: int) -> list[Edit]:
    """The edits that commit a locked cell."""
    edits = [
        Edit("write", version_key(key, commit), packed_write(lock.kind, lock.start, lock.value)),
        Edit("lock", key, None),
    ]
    if lock.notify is not None:
        edits.append(Edit("notify", notification_key(key, commit), lock.notify))
    return edits


def back(key: bytes, start: int, standing: bool = True) -> list[Edit]:
    """The edits that roll a cell back; if the lock is not ``standing``, those that keep it from ever standing."""
    edits = [
        Edit("write", version_key(key, start), packed_write(ROLLBACK, start, None)),
        Edit("data", version_key(key, start), None),
    ]
    return [Edit("lock", key, None), *edits] if standing else edits
