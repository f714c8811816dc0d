"""Step *resolve*: what to do with a lock that somebody else left.

    the primary     has our start's write record      ──> committed: roll this cell forward, or back if it is older than `marks.CLEARED`
                    has our start's tombstone         ──> rolled back: roll this cell back
                    has a later record and no lock    ──> rolled back, too: nobody can lock the primary for our start any more
                    has nothing of the kind           ──> put a tombstone there, and then roll this cell back
                    has the lock, its owner is alive  ──> wait
                    has the lock, abandoned           ──> put a tombstone in the lock's place, and then roll this cell back

Everybody decides at the primary, in one conditional mutation of its row, so the owner and all who doubt him agree: whoever changes the
lock first has decided. That is why it is safe to suspect a living owner; his commit then finds no lock.

A tombstone is left with every rollback, also where no lock was found: the request that writes the lock may still be on its way, and
without the tombstone it would lock the cell for a transaction that is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataflow.errors import OutcomeUnknownError, Report, StoreError
from dataflow.kv import Absent, Condition, Equals, Mutation, Store, row_of, single
from dataflow.txn.ground import PATIENCE, Ground
from dataflow.txn.marks import CLEARED, mark
from dataflow.txn.outcomes import back, forward
from dataflow.txn.records import ROLLBACK, Lock, lock_of, since, timestamp_in, write_of

if TYPE_CHECKING:
    from dataflow.txn.prewrite import Placed

__all__ = ["Fate", "fate", "resolve", "roll_back"]


class Fate(NamedTuple):
    """What became of a transaction, as its primary tells.

    ``over``: it is decided. ``commit``: when it committed, if it did. ``lock``: the lock that stands on the primary, of whomever.
    """

    over: bool
    commit: int | None
    lock: bytes | None
    standing: bool = False  # that lock is the transaction's


def fate(store: Store, primary: bytes, start: int) -> Fate:
    """What the primary says of the transaction that began at ``start``. The lock is looked at first, as for a read."""
    (entry,) = store.firsts([single("lock", primary)])
    lock = entry[1] if entry else None
    if lock is not None and lock_of(lock).start == start:
        return Fate(False, None, lock, standing=True)
    looked, later = since(primary, start), False
    for key, packed in store.scan("write", looked.start, looked.stop):
        write, later = write_of(packed), True
        if write.start == start:
            return Fate(True, None if write.kind == ROLLBACK else timestamp_in(key), lock)
    return Fate(later, None, lock)


def resolve(ground: Ground, key: bytes, lock: Lock, packed: bytes) -> bool:
    """Remove another's lock from a cell if its transaction is over or abandoned, and say whether it is gone."""
    found = _decided(ground, lock, ground.abandoned(lock))
    if not found.over:
        return False
    again = found.commit is not None and lock.start < mark(ground.store, CLEARED)  # a lock that came twice, and that nobody may revive
    edits = back(key, lock.start) if found.commit is None or again else forward(key, lock, found.commit)
    try:
        ground.store.mutate(Mutation(row_of(key), (Equals("lock", key, packed),), tuple(edits)), sync=False)
    except OutcomeUnknownError:
        return False  # the next look tells
    return True


def _decided(ground: Ground, lock: Lock, abandoned: bool) -> Fate:
    """What became of a lock's transaction; if it is abandoned, or was never there, it is rolled back now."""
    attempt = 0
    while True:
        found = fate(ground.store, lock.primary, lock.start)
        if found.over or (found.standing and not abandoned):
            return found
        require: list[Condition] = [Equals("lock", lock.primary, found.lock)]
        if not found.standing:
            require.append(Absent(*since(lock.primary, lock.start)))
        tombstone = Mutation(row_of(lock.primary), tuple(require), tuple(back(lock.primary, lock.start, found.standing)))
        try:
            if ground.store.mutate(tombstone, sync=ground.sync):
                return Fate(True, None, None)
        except OutcomeUnknownError:
            if attempt > PATIENCE:
                raise
        attempt += 1
        ground.wait(attempt)


def roll_back(ground: Ground, rows: Sequence[Placed]) -> None:
    """Undo what our own prewrite did, the primary first: whatever part of it was made, or is still to be made.

    Raises `StoreError` if the store does not let it; the locks are then left to whoever meets them.
    """
    primary = rows[0].locks[0][1]
    try:
        found = _decided(ground, primary, abandoned=True)
    except OutcomeUnknownError as reason:
        not_made = f"the transaction that began at {primary.start}; it was not committed"
        raise StoreError(Report(reason.report.sentence, attempt=not_made, hint=reason.report.hint)) from reason
    if found.commit is not None:
        raise AssertionError("a transaction that did not ask for a commit time is committed")
    for row in rows:
        for key, lock, packed in row.locks:
            if key != lock.primary:
                _undo(ground, key, lock, packed)


def _undo(ground: Ground, key: bytes, lock: Lock, packed: bytes) -> None:
    attempts: tuple[tuple[Condition, bool], ...] = ((Equals("lock", key, packed), True), (Absent(*since(key, lock.start)), False))
    try:
        for condition, standing in attempts:
            if ground.store.mutate(Mutation(row_of(key), (condition,), tuple(back(key, lock.start, standing))), sync=False):
                return
    except OutcomeUnknownError:
        return  # whoever meets the lock looks at the primary
