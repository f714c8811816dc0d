"""Step *commit*: replace the primary's lock by a write record, and with that all of the transaction is committed.

    commit time = oracle
    primary's row:   require  our locks, just as we wrote them
                     edit     lock away, write record at the commit time, notification at the commit time
    ─────────────────────────────────────────────────────────────── the commit point
    other rows:      the same, in any order, by anybody, also much later

Why the condition: somebody may have taken us for dead and rolled us back, while we slept. Then our lock is gone, and committing would
make half a transaction visible. Why the notification is in the same mutation: written before, it could be dropped before the change is
visible; written after, a crash between the two would lose it. It carries the commit time, so that dropping "all that is not newer
than the observer's snapshot" never drops one for a change the observer did not see.

If the outcome at the primary is unknown, the row tells: our lock still stands (the request may be repeated: it can succeed only once);
our write record is there (committed); neither (rolled back, or the record was collected as garbage, and nobody knows). If the store fails
while we look, it stays unknown: what is there may be either.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.errors import ConflictError, OutcomeUnknownError, Report, StoreError
from dataflow.kv import Equals, Mutation
from dataflow.txn.collect import safe_point
from dataflow.txn.ground import PATIENCE, Ground, cell_name
from dataflow.txn.outcomes import forward
from dataflow.txn.prewrite import Placed, mutate_each
from dataflow.txn.resolve import fate

__all__ = ["commit_primaries", "commit_secondaries"]


def _mutation(row: Placed, commit: int) -> Mutation:
    require = tuple(Equals("lock", key, packed) for key, _, packed in row.locks)
    edits = [edit for key, lock, _ in row.locks for edit in forward(key, lock, commit)]
    return Mutation(row.row, require, tuple(edits))


def commit_primaries(ground: Ground, rows: Sequence[tuple[Placed, int]]) -> list[int | ConflictError]:
    """Commit transactions by their primaries' rows, each with a commit time: when each is committed, or that it was rolled back."""
    mutations = [_mutation(row, commit) for row, commit in rows]
    outcomes = mutate_each(ground, mutations)
    return [
        commit if outcome is True else _found_out(ground, row, mutation, commit)
        for (row, commit), mutation, outcome in zip(rows, mutations, outcomes, strict=True)
    ]


def _found_out(ground: Ground, row: Placed, mutation: Mutation, commit: int) -> int | ConflictError:
    try:
        return _settle(ground, row, mutation, commit)
    except OutcomeUnknownError:
        raise
    except StoreError as error:
        key, lock, _ = row.locks[0]
        raise OutcomeUnknownError(
            Report(
                f"whether {cell_name(key)} was committed is not known: the store did not tell, and when it was asked again, "
                f"{error.report.sentence}",
                attempt=f"the transaction that began at {lock.start}",
                hint="look at what it was to write, when the store is there again",
            )
        ) from error


def _settle(ground: Ground, row: Placed, mutation: Mutation, commit: int) -> int | ConflictError:
    key, lock, _ = row.locks[0]
    attempt = 0
    while True:
        decided = fate(ground.store, key, lock.start)
        if decided.commit is not None:
            return decided.commit
        if not decided.standing:
            if safe_point(ground.store) > lock.start:
                raise OutcomeUnknownError(
                    Report(
                        f"whether {cell_name(key)} was committed cannot be told: the store gave no answer, and what it knew is collected",
                        attempt=f"the transaction that began at {lock.start}",
                        hint="look at what it was to write; let collections be further apart than transactions are long",
                    )
                )
            return ConflictError(
                Report(
                    f"{cell_name(key)} cannot be committed: another transaction took this one for dead and rolled it back",
                    attempt=f"the transaction that began at {lock.start}",
                    hint="a transaction must commit within the life of its locks; run it again, from its reads",
                )
            )
        attempt += 1
        ground.wait(attempt)
        try:
            if ground.store.mutate(mutation, sync=ground.sync):
                return commit
        except OutcomeUnknownError:
            if attempt > PATIENCE:
                raise


def commit_secondaries(ground: Ground, rows: Sequence[tuple[Placed, int]]) -> None:
    """Finish other rows of transactions that are committed. What fails here is finished by whoever meets the locks."""
    if rows:
        try:
            ground.store.mutate_many([_mutation(row, commit) for row, commit in rows], sync=False)
        except StoreError:
            pass  # the transaction is committed, and who asked for it is to be told so
