"""Step *prewrite*: lock the cells, and put the new values where nobody sees them yet.

For every row, in one conditional mutation:

    require   no lock on the cell, of any time                         (another transaction is committing it)
              no write record at or after our start                    (another committed it since we looked, or we were rolled back)
    edit      lock = kind, start, where the primary is, the value

The primary's row goes first, and alone. Why: the others point to it, and whoever meets a lock without finding anything at its primary
rolls the transaction back. The others are then sent together. The records the second condition finds include tombstones: a request that
arrives after its transaction was rolled back (a duplicate, a late one, one of those sent together) cannot lock the cell any more.

If it is not known whether a mutation was made, nobody repeats it: the row is looked at (`_settle`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dataflow.errors import ConflictError, OutcomeUnknownError, Report
from dataflow.kv import Absent, Edit, Entry, Equals, Mutation, Outcome, Store, row_of, single
from dataflow.txn.ground import Ground, cell_name
from dataflow.txn.records import (
    DELETE,
    HOLD,
    PUT,
    ROLLBACK,
    SHORT,
    Lock,
    lock_of,
    none_since,
    since,
    timestamp_in,
    version_key,
    write_of,
)  # fmt: skip
from dataflow.txn.resolve import resolve

__all__ = ["Intent", "Placed", "Planned", "mutate_each", "plan_locks", "prewrite", "since_then"]


class Intent(NamedTuple):
    """What a transaction wants to commit.

    ``writes``: cells with their new values, None to delete. ``holds``: cells that may not have changed. ``notify``: what the
    notification of a change says, for the cells whose column is observed. ``snapshot``: what it read from. ``seen``: the keys of
    notifications that are to go with the commit, if the engine says that it `takes_seen`.
    """

    start: int
    writes: Mapping[bytes, bytes | None]
    holds: frozenset[bytes] = frozenset()
    notify: Mapping[bytes, bytes] = {}
    snapshot: Any = None
    seen: Sequence[bytes] = ()


class Placed(NamedTuple):
    """The locks of one row: for each cell its lock, and its bytes."""

    row: bytes
    locks: tuple[tuple[bytes, Lock, bytes], ...]


class Planned(NamedTuple):
    """A transaction with the locks it needs; the primary is the first lock of the first row."""

    intent: Intent
    rows: list[Placed]


def plan_locks(ground: Ground, intent: Intent) -> Planned:
    """The locks of a transaction, row by row.

    The primary is a cell that is written: a transaction that only reads has nothing to commit.
    """
    writes = intent.writes
    if len(writes) == 1 and not intent.holds:  # half of the time, as most transactions are small
        (primary,) = writes
        return Planned(intent, [Placed(row_of(primary), (_planned_lock(ground, intent, primary, primary),))])
    primary = min(writes)
    rows: dict[bytes, list[tuple[bytes, Lock, bytes]]] = {}
    for key in sorted({*writes, *intent.holds}, key=lambda key: (key != primary, key)):
        rows.setdefault(row_of(key), []).append(_planned_lock(ground, intent, key, primary))
    return Planned(intent, [Placed(row, tuple(locks)) for row, locks in rows.items()])


def _planned_lock(ground: Ground, intent: Intent, key: bytes, primary: bytes) -> tuple[bytes, Lock, bytes]:
    value = intent.writes.get(key)
    kind = PUT if value is not None else DELETE if key in intent.writes else HOLD
    short = value if value is not None and len(value) <= SHORT else None
    lock = Lock(kind, intent.start, ground.life, ground.owner, primary, intent.notify.get(key), short)
    return key, lock, lock.packed()


def prewrite(ground: Ground, planned: Sequence[Planned]) -> list[ConflictError | None]:
    """Lock the rows of transactions, the primaries' first: for each what is in its way, None if it is locked.

    `resolve.roll_back` must undo what was done of those that are not.
    """
    refused: list[ConflictError | None] = [None] * len(planned)
    _lock(ground, planned, [(number, one.rows[0]) for number, one in enumerate(planned)], refused)
    others = [(number, row) for number, one in enumerate(planned) if refused[number] is None for row in one.rows[1:]]
    if others:
        _lock(ground, planned, others, refused)
    return refused


def _lock(ground: Ground, planned: Sequence[Planned], rows: Sequence[tuple[int, Placed]], refused: list[ConflictError | None]) -> None:
    mutations = [_mutation(planned[number].intent, row) for number, row in rows]
    outcomes = mutate_each(ground, mutations)
    for (number, row), mutation, outcome in zip(rows, mutations, outcomes, strict=True):
        if outcome is not True and refused[number] is None:
            try:
                _settle(ground, planned[number].intent, row, outcome, mutation)
            except ConflictError as conflict:
                refused[number] = conflict


def mutate_each(ground: Ground, mutations: Sequence[Mutation]) -> Sequence[Outcome]:
    """The outcome of each mutation."""
    if len(mutations) > 1:
        return ground.store.mutate_many(mutations, sync=ground.sync)
    try:
        return [ground.store.mutate(mutations[0], sync=ground.sync)]
    except OutcomeUnknownError as reason:
        return [reason]


def _mutation(intent: Intent, row: Placed) -> Mutation:
    require: list[Absent | Equals] = []
    edits = []
    for key, lock, packed in row.locks:
        require += (Equals("lock", key, None), none_since(key, intent.start))
        edits.append(Edit("lock", key, packed))
        if lock.kind == PUT and lock.value is None:
            edits.append(Edit("data", version_key(key, intent.start), intent.writes[key]))
    return Mutation(row.row, tuple(require), tuple(edits))


def _settle(ground: Ground, intent: Intent, row: Placed, outcome: Outcome, mutation: Mutation) -> None:
    """Go on if the row is ours. If it is known that the mutation was not made, and what stood in its way is gone, it is made again; if
    that is not known it may still arrive, and this transaction is given up: only a tombstone keeps it out then."""
    attempt = 0
    while outcome is not True:
        found = _look(intent, row, ground.store)
        if found is _OURS:
            return
        if isinstance(found, _Locked):
            if not resolve(ground, *found):
                raise _conflict(found.key, f"the transaction that began at {found.lock.start} is committing it", intent.start)
        if isinstance(outcome, OutcomeUnknownError):
            raise _conflict(row.locks[0][0], outcome.report.sentence, intent.start) from outcome
        attempt += 1
        if attempt > 1:
            ground.wait(attempt)
        try:
            outcome = ground.store.mutate(mutation, sync=ground.sync)
        except OutcomeUnknownError as reason:
            outcome = reason


class _Locked(NamedTuple):
    key: bytes
    lock: Lock
    packed: bytes


_OURS, _FREE = "ours", "free"


def _look(intent: Intent, row: Placed, store: Store) -> _Locked | str:
    """What stands where our locks should: they, nothing, or another's lock. Raises `ConflictError` for what was written since."""
    free = False
    for key, _, ours in row.locks:
        locked, written = store.firsts([single("lock", key), since(key, intent.start)])
        if locked is not None and locked[1] != ours:
            return _Locked(key, lock_of(locked[1]), locked[1])
        if written is not None:
            write = write_of(written[1])
            if write.kind == ROLLBACK and write.start == intent.start:
                raise _conflict(key, "another transaction took this one for dead and rolled it back", intent.start)
            raise _conflict(key, since_then(written), intent.start)
        free |= locked is None
    return _FREE if free else _OURS


def since_then(written: Entry) -> str:
    """What a write record says that is in the way."""
    write = write_of(written[1])
    if write.kind == ROLLBACK:
        return f"the transaction that began at {write.start}, after it, was rolled back there"
    did = "held" if write.kind == HOLD else "committed"
    return f"the transaction that began at {write.start} {did} it at {timestamp_in(written[0])}"


def _conflict(key: bytes, why: str, start: int) -> ConflictError:
    return ConflictError(
        Report(
            f"{cell_name(key)} cannot be committed: {why}",
            attempt=f"the transaction that began at {start}",
            hint="run the transaction again, from its reads; db.transactional does",
        )
    )
