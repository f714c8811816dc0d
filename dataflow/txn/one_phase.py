"""Step *one phase*: a transaction on a store that this process owns commits in one mutation, without locks.

    mark the cells in memory ─> commit time = oracle ─> write records, if nothing was written since our start ─> unmark

Why the mark: a snapshot that is taken after our commit time must see the commit, and looks for it perhaps before it is there. It meets
the mark, and waits. A snapshot taken before our commit time does not see the commit, because its time is earlier. With locks in the
store the same is true of every process; the mark is a lock that only this process can see (TiKV's one-phase commit; its ``max_ts`` is
our oracle).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dataflow.errors import ConflictError, Report, TransactionError
from dataflow.kv import Absent, Condition, Edit, Equals, Mutation, row_of, single
from dataflow.txn.collect import check_age
from dataflow.txn.ground import Ground, cell_name
from dataflow.txn.prewrite import Intent, since_then
from dataflow.txn.records import DELETE, HOLD, PUT, Write, lock_of, notification_key, since, version_key
from dataflow.txn.resolve import resolve

__all__ = ["OnePhase"]


class OnePhase:
    """Commits at once, and keeps snapshots from looking at cells meanwhile."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._marked: set[bytes] = set()
        self._changed = threading.Condition()

    def wait_for(self, keys: Sequence[bytes] | None) -> None:
        """Wait while cells (none: any) are being committed."""
        if self._marked:
            with self._changed:
                while self._marked and (keys is None or not self._marked.isdisjoint(keys)):
                    self._changed.wait()

    def commit(self, intent: Intent) -> int | TransactionError:
        """Make all changes visible at one time, and give it, or what is in the way."""
        keys = {*intent.writes, *intent.holds}
        marked: set[bytes] = set()
        try:  # what comes behind `with` is Ctrl-C's, too
            with self._changed:
                while not self._marked.isdisjoint(keys):
                    self._changed.wait()
                marked = keys
                self._marked |= keys
            check_age(self._ground.store, intent.start)
            attempt = 0
            while True:
                committed = self._ground.oracle.next()
                if self._ground.store.mutate(_mutation(intent, keys, committed), sync=self._ground.sync):
                    return committed
                if not self._unlocked(keys):
                    return self._in_the_way(intent, keys)
                attempt += 1
                if attempt > 1:
                    self._ground.wait(attempt)
        except TransactionError as too_old:
            return too_old
        finally:
            with self._changed:
                self._marked -= marked
                self._changed.notify_all()

    def _unlocked(self, keys: set[bytes]) -> bool:
        """Whether locks stood there, of who committed in two phases, and are gone now."""
        found = [entry for entry in self._ground.store.firsts([single("lock", key) for key in sorted(keys)]) if entry is not None]
        return bool(found) and all(resolve(self._ground, key, lock_of(packed), packed) for key, packed in found)

    def _in_the_way(self, intent: Intent, keys: set[bytes]) -> ConflictError:
        why, where = "another transaction is committing it", min(keys)
        for key in sorted(keys):
            (entry,) = self._ground.store.firsts([since(key, intent.start)])
            if entry is not None:
                where, why = key, since_then(entry)
        return ConflictError(
            Report(f"{cell_name(where)} cannot be committed: {why}", attempt=f"the transaction that began at {intent.start}")
        )


def _mutation(intent: Intent, keys: set[bytes], committed: int) -> Mutation:
    require: list[Condition] = []
    edits = []
    for key in sorted(keys):
        require += (Equals("lock", key, None), Absent(*since(key, intent.start)))
        value = intent.writes.get(key)
        kind = HOLD if key not in intent.writes else PUT if value is not None else DELETE
        edits.append(Edit("write", version_key(key, committed), Write(kind, intent.start, value).packed()))
        if key in intent.notify:
            edits.append(Edit("notify", notification_key(key, committed), intent.notify[key]))
    return Mutation(row_of(min(keys)), tuple(require), tuple(edits))
