"""What the transactions write into a store: locks, write records, versions, notifications.

    cell (row, column)          key = pack((row, column))
    lock    key              -> kind, start, time to live, owner, primary, notification, value      at most one a cell
    write   key + ~commit    -> kind, start, value                                                  newest first
    data    key + ~start     -> value, where it is too long to stand in the lock and the write record
    notify  key + commit     -> how it came to be                                                   one for every change not yet looked at
    meta    …                -> format, timestamps, workers, observed columns, hops

Times in keys of versions are complemented (``~``), so that a forward seek to ``key + ~t`` finds the newest version not younger than t.

A short value travels inside the lock, and then inside the write record: a read is a lock and a seek, without a third call. Where a value
stands says nothing of what it means, so both are the paper's protocol.

Kinds: a *put* and a *delete* change the cell; a *hold* changes nothing, but conflicts as they do (a read lock); a *rollback* is a
tombstone: the transaction that began at this time has no more right to lock this cell, however late its request arrives.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dataflow.errors import Report, StoreError, TransactionLimitError
from dataflow.kv import Absent, Range

__all__ = [
    "DELETE", "HOLD", "NEVER", "PUT", "ROLLBACK", "Lock", "Write", "committed_write", "lock_of", "newest", "none_since", "notification_key",
    "packed_write", "since", "timestamp_in", "version_key", "write_of",
]  # fmt: skip

NEVER = 2**64 - 1  # no timestamp is as large
PUT, DELETE, HOLD, ROLLBACK = b"P", b"D", b"H", b"R"
SHORT = 255  # bytes of a value that stands in the write record itself, as in TiKV

_YOUNGEST = bytes(8)  # behind a key, where a write record of no time yet would stand
_LOCK = struct.Struct(">cQI16sHHB")
_LONGEST = (1 << 16) - 1  # bytes of a primary's key
_WRITE = struct.Struct(">cQB")


class Lock(NamedTuple):
    """A transaction that began at ``start`` is writing this cell; whether it commits is decided at ``primary``.

    ``life``: milliseconds after which others may take its owner for dead, unless it says that it lives. ``notify``: what the
    notification of this change will say, None if nobody observes the column. ``value``: None if it stands in "data".
    """

    kind: bytes
    start: int
    life: int
    owner: bytes
    primary: bytes
    notify: bytes | None
    value: bytes | None

    def packed(self) -> bytes:
        """As bytes."""
        flags = (self.value is not None) | (self.notify is not None) << 1
        note = self.notify or b""
        try:
            head = _LOCK.pack(self.kind, self.start, self.life, self.owner, len(self.primary), len(note), flags)
        except struct.error as reason:
            if len(self.primary) <= _LONGEST:
                raise
            sentence = f"row and column of a cell take {len(self.primary):,} bytes, of the {_LONGEST:,} that a lock has room for"
            hint = "name the row by a hash, and keep the long name in a column; the embedded engine takes longer ones"
            raise TransactionLimitError(Report(sentence, hint=hint)) from reason
        return head + self.primary + note + (self.value or b"")


class Write(NamedTuple):
    """The transaction that began at ``start`` changed this cell. ``value``: None if it stands in "data", or there is none."""

    kind: bytes
    start: int
    value: bytes | None

    def packed(self) -> bytes:
        """As bytes."""
        return packed_write(self.kind, self.start, self.value)


def packed_write(kind: bytes, start: int, value: bytes | None) -> bytes:
    """A write record as bytes.

    >>> packed_write(PUT, 7, b"value") == Write(PUT, 7, b"value").packed()
    True
    """
    return _WRITE.pack(kind, start, True) + value if value is not None else _WRITE.pack(kind, start, False)


def committed_write(start: int, value: bytes | None) -> bytes:
    """The write record of a transaction that did without locks; ``start``: negative if it had no snapshot.

    >>> write_of(committed_write(-1, None)).kind
    b'D'
    """
    return packed_write(DELETE if value is None else PUT, max(start, 0), value)


def lock_of(packed: bytes) -> Lock:
    """A lock from its bytes.

    >>> lock = Lock(PUT, 7, 3000, b"worker".ljust(16), b"primary", None, b"value")
    >>> lock_of(lock.packed()) == lock
    True
    """
    try:
        kind, start, life, owner, long, noted, flags = _LOCK.unpack_from(packed)
    except struct.error as reason:
        raise StoreError(f"a lock cannot be read: {packed[:40]!r}") from reason
    at = _LOCK.size + long
    note = packed[at : at + noted] if flags & 2 else None
    return Lock(kind, start, life, owner, packed[_LOCK.size : at], note, packed[at + noted :] if flags & 1 else None)


def write_of(packed: bytes) -> Write:
    """A write record from its bytes.

    >>> write_of(Write(PUT, 7, b"value").packed())
    Write(kind=b'P', start=7, value=b'value')
    """
    try:
        kind, start, short = _WRITE.unpack_from(packed)
    except struct.error as reason:
        raise StoreError(f"a write record cannot be read: {packed[:40]!r}") from reason
    return Write(kind, start, packed[_WRITE.size :] if short else None)


def version_key(key: bytes, timestamp: int) -> bytes:
    """Where the version of a cell of one time stands.

    >>> version_key(b"k", 8) < version_key(b"k", 7)
    True
    """
    return key + (NEVER - timestamp).to_bytes(8, "big")


def notification_key(key: bytes, timestamp: int) -> bytes:
    """Where the notification of a change at a time stands; the oldest of a cell comes first."""
    return key + timestamp.to_bytes(8, "big")


def timestamp_in(key: bytes, *, newest_first: bool = True) -> int:
    """The time at the end of a key.

    >>> timestamp_in(version_key(b"k", 7)), timestamp_in(notification_key(b"k", 7), newest_first=False)
    (7, 7)
    """
    number = int.from_bytes(key[-8:], "big")
    return NEVER - number if newest_first else number


def newest(key: bytes, until: int, family: str = "write") -> Range:
    """The versions of a cell not younger than a time; the first is the newest of them."""
    return Range(family, key + (NEVER - until).to_bytes(8, "big"), key + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff")


def since(key: bytes, timestamp: int) -> Range:
    """The write records of a cell at a time or later.

    >>> found = since(b"k", 7)
    >>> [found.start <= version_key(b"k", time) < found.stop for time in (6, 7, 8)]
    [False, True, True]
    """
    return Range("write", key + _YOUNGEST, key + (NEVER - timestamp + 1).to_bytes(8, "big"))


def none_since(key: bytes, timestamp: int) -> Absent:
    """That the cell has no write records at a time or later.

    >>> none_since(b"k", 7) == Absent(*since(b"k", 7))
    True
    """
    return Absent("write", key + _YOUNGEST, key + (NEVER - timestamp + 1).to_bytes(8, "big"))
