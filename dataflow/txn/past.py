"""A time in the past, read from the versions that a database opened with ``history=True`` keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataflow.errors import Report, SnapshotTooOldError
from dataflow.kv import Store
from dataflow.txn.collect import check_age
from dataflow.txn.snapshot_read import Version, committed, scan_committed

__all__ = ["Past"]


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
        return [committed(self._store, key, self.timestamp) for key in keys]

    def scan(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The cells of a range that had a value."""
        for key, version in scan_committed(self._store, start, stop, self.timestamp, reverse=reverse):
            if version.value is not None:
                yield key, version.value

    def close(self) -> None:
        """Let go of it. Raises `SnapshotTooOldError` if versions were collected meanwhile."""
        check_age(self._store, self.timestamp)
