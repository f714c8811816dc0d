"""A time in the past, read from the versions that a database opened with ``history=True`` keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from dataflow.errors import Report, SnapshotTooOldError
from dataflow.kv import Store
from dataflow.txn.collect import check_age
from dataflow.txn.snapshot_read import Version, committed, scan_committed

__all__ = ["Past"]

_PAGE = 256  # cells of a scan that are read before it is looked whether some were collected


class Past:
    """The store as it was at a time; nothing that was committed by then changes any more, so no lock need be looked at."""

    def __init__(self, store: Store, timestamp: int) -> None:
        self._store, self.timestamp, self.start = store, timestamp, timestamp

    @classmethod
    def of(cls, store: Store, timestamp: int, now: int, *, kept: bool) -> Past:
        """The store at a time. Raises `SnapshotTooOldError` if versions are not kept, or were collected."""
        if timestamp > now:
            raise SnapshotTooOldError(f"time {timestamp} is in the future; it is {now} now")
        if not kept:
            raise SnapshotTooOldError(
                Report("versions are kept no longer than snapshots use them", hint="open the database with history=True to read the past")
            )
        check_age(store, timestamp)
        return cls(store, timestamp)

    def get(self, key: bytes) -> bytes | None:
        """A cell's value."""
        (version,) = self.versions((key,))
        return version.value if version else None

    def versions(self, keys: Sequence[bytes]) -> list[Version | None]:
        """What cells were last changed to, and when."""
        found = [committed(self._store, key, self.timestamp) for key in keys]
        check_age(self._store, self.timestamp)  # what was collected before this was read is not what was there then
        return found

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that had a value."""
        entries = scan_committed(self._store, start, stop, self.timestamp, reverse=reverse)
        while some := [*islice(entries, _PAGE)]:
            check_age(self._store, self.timestamp)
            yield from ((key, version.value) for key, version in some if version.value is not None)
        check_age(self._store, self.timestamp)

    def close(self) -> None:
        """Let go of it. Raises `SnapshotTooOldError` if versions were collected meanwhile."""
        check_age(self._store, self.timestamp)
