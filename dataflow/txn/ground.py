"""What the steps of the protocol stand on: a store, an oracle, who we are, and how long we wait for others.

The clock here decides only *whether to suspect*, never what is true: a lock whose owner is suspected is resolved by the protocol, which
is safe also if the owner lives (it then only loses that transaction). A wait is measured by our own monotonic clock, from when we first
saw the lock, so clocks of different machines are never compared, and a machine whose clock jumps does no harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dataflow.kv import Store
from dataflow.txn.oracle import Oracle
from dataflow.txn.records import Lock

__all__ = ["PATIENCE", "Ground", "cell_name"]

PATIENCE = 100  # looks at a store that does not answer before its error is passed on: five seconds
_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class Ground:
    """A store with an oracle, and the manners of one process on it.

    ``life``: milliseconds after which others may take our locks for abandoned. ``sync``: whether a commit survives a crash of the machine.
    """

    store: Store
    oracle: Oracle
    owner: bytes = b""
    life: int = 3_000
    sync: bool = True
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _seen: dict[tuple[bytes, int], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if not self.owner:
            self.owner = os.getpid().to_bytes(4, "big") + os.urandom(12)

    def abandoned(self, lock: Lock) -> bool:
        """Whether this transaction has had a lock for its whole life, since we first saw one.

        Of the transaction, not of the cell: one may have left more locks than can be remembered.
        """
        now = self.clock()
        with self._lock:
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()  # whoever still waits begins to wait anew
            first = self._seen.setdefault((lock.primary, lock.start), now)
        return now - first >= lock.life / 1000

    def wait(self, attempt: int) -> None:
        """Let others get on: a little longer each time, up to a twentieth of a second, and not all at once."""
        most = min(0.05, 0.0005 * 2 ** min(attempt, 8))
        self.pause(most * (0.5 + int.from_bytes(os.urandom(1), "big") / 512))


def cell_name(key: bytes) -> str:
    """A cell as its user wrote it: ``['row', 'column']``.

    >>> from dataflow.kv import pack
    >>> cell_name(pack(("doc", "title")))
    "['doc', 'title']"
    """
    from dataflow.errors import shorten
    from dataflow.kv import unpack

    try:
        parts = unpack(key)
    except ValueError:
        return shorten(key, 80)
    return "[" + ", ".join(shorten(part, 80) for part in parts) + "]"
