"""Planted bugs: the protocol with one step done wrong, each as a paper, a system or a tired evening has had it.

    @planted("scenario", …)            the scenarios that must catch it
    def what_is_wrong(patch):          changes one function of dataflow.txn, by pytest's MonkeyPatch
        …                              may give a subclass of the engine, too, where the order of whole steps is what is wrong

A bug that no scenario catches says that the scenarios are too weak, not that the bug is harmless.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from dataflow.errors import TransactionError
from dataflow.kv import Mutation, Store, row_of, single, successor
from dataflow.txn import collect, commit, notify, one_phase, outcomes, percolator, prewrite, resolve, snapshot_read, transaction, worker
from dataflow.txn.ground import Ground
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.prewrite import Intent
from dataflow.txn.records import lock_of, newest

__all__ = ["PLANTED", "Planted"]


@dataclass
class Planted:
    """``plant``: changes a step, and may give the engine to use. ``scenarios``: at least one of them fails under it."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], Any]
    scenarios: tuple[str, ...]


PLANTED: dict[str, Planted] = {}


def planted(*scenarios: str) -> Callable[[Callable[[pytest.MonkeyPatch], Any]], Callable[[pytest.MonkeyPatch], Any]]:
    def registered(plant: Callable[[pytest.MonkeyPatch], Any]) -> Callable[[pytest.MonkeyPatch], Any]:
        PLANTED[plant.__name__] = Planted(plant.__name__, plant, scenarios)
        return plant

    return registered


# Commit


@planted("two_transfers_and_a_reader")
def commit_without_rechecking_the_primarys_lock(patch: pytest.MonkeyPatch) -> None:
    right = commit._mutation
    patch.setattr(commit, "_mutation", lambda row, time: right(row, time)._replace(require=()))


class InAnotherOrder(PercolatorEngine):
    """Commits one by one, in the order that `steps` says."""

    def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
        return [self.steps(intent) for intent in intents]

    def steps(self, intent: Intent) -> int | TransactionError:
        raise NotImplementedError

    def locked(self, intent: Intent) -> tuple[Any, TransactionError | None]:
        plan = prewrite.plan_locks(self.ground, intent)
        (refused,) = prewrite.prewrite(self.ground, [plan])
        if refused:
            resolve.roll_back(self.ground, plan.rows)
        return plan.rows, refused


@planted("two_transfers_and_a_reader")
def secondaries_committed_before_the_primary(patch: pytest.MonkeyPatch) -> Any:
    class SecondariesFirst(InAnotherOrder):
        def steps(self, intent: Intent) -> int | TransactionError:
            rows, refused = self.locked(intent)
            if refused:
                return refused
            time = self.ground.oracle.next()
            commit.commit_secondaries(self.ground, [(row, time) for row in rows[1:]])
            return commit.commit_primaries(self.ground, [(rows[0], time)])[0]

    return SecondariesFirst


@planted("two_transfers_and_a_reader")
def commit_time_taken_before_the_locks_stand(patch: pytest.MonkeyPatch) -> Any:
    class TimeFirst(InAnotherOrder):
        def steps(self, intent: Intent) -> int | TransactionError:
            time = self.ground.oracle.next()
            rows, refused = self.locked(intent)
            if refused:
                return refused
            (outcome,) = commit.commit_primaries(self.ground, [(rows[0], time)])
            if isinstance(outcome, int):
                commit.commit_secondaries(self.ground, [(row, time) for row in rows[1:]])
            return outcome

    return TimeFirst


@planted("a_transfer_and_a_reader_of_the_secondary")
def locks_taken_away_before_the_commit_record(patch: pytest.MonkeyPatch) -> None:
    """Two changes where one must be: the lock is gone, and the record is not there yet."""

    def primaries(ground: Ground, rows: Any) -> Any:
        decided = []
        for row, time in rows:
            right = commit._mutation(row, time)
            if ground.store.mutate(right._replace(edits=tuple(edit for edit in right.edits if edit.family == "lock"))):
                ground.store.write([edit for edit in right.edits if edit.family != "lock"])
                decided.append(time)
            else:
                decided += commit.commit_primaries(ground, [(row, time)])
        return decided

    patch.setattr(percolator, "commit_primaries", primaries)


# Prewrite


@planted("read_modify_write_of_one_cell")
def prewrite_ignoring_newer_writes(patch: pytest.MonkeyPatch) -> None:
    requiring(patch, "lock")


@planted("three_writers_of_overlapping_rows", "two_transfers_and_a_reader")
def prewrite_ignoring_locks(patch: pytest.MonkeyPatch) -> None:
    requiring(patch, "write")


def requiring(patch: pytest.MonkeyPatch, family: str) -> None:
    right = prewrite._mutation

    def wrong(intent: Any, row: Any) -> Mutation:
        made = right(intent, row)
        return made._replace(require=tuple(one for one in made.require if one.family == family))

    patch.setattr(prewrite, "_mutation", wrong)


@planted("write_skew_closed_by_hold")
def holds_left_out_of_the_locks(patch: pytest.MonkeyPatch) -> None:
    right = prewrite.plan_locks
    patch.setattr(percolator, "plan_locks", lambda ground, intent: right(ground, intent._replace(holds=frozenset())))


@planted("groups_of_commits")
def a_conflict_at_a_secondary_overlooked(patch: pytest.MonkeyPatch) -> None:
    """Of the rows that are sent together only the answers for the primaries are looked at."""
    right = prewrite.prewrite

    def wrong(ground: Any, planned: Any) -> Any:
        alone = right(ground, [one._replace(rows=one.rows[:1]) for one in planned])
        for one, refused in zip(planned, alone, strict=True):
            if refused is None:
                prewrite.mutate_each(ground, [prewrite._mutation(one.intent, row) for row in one.rows[1:]] or [Mutation(b"", (), ())])
        return alone

    patch.setattr(percolator, "prewrite", wrong)


# Reading


@planted("a_transfer_and_a_reader_of_the_secondary", "two_transfers_and_a_reader")
def write_records_read_before_locks(patch: pytest.MonkeyPatch) -> None:
    right = snapshot_read.read

    def wrong(ground: Ground, keys: Sequence[bytes], start: int) -> Any:
        found = []
        for key in keys:
            (written,) = ground.store.firsts([newest(key, start)])
            (locked,) = ground.store.firsts([single("lock", key)])
            if locked is not None and lock_of(locked[1]).start <= start:
                found += right(ground, [key], start)
            else:
                found.append(snapshot_read.newest_committed(ground.store, key, written) if written else None)
        return found

    patch.setattr(percolator, "read", wrong)
    patch.setattr(percolator, "read_one", lambda ground, key, start: wrong(ground, [key], start)[0])


@planted("a_scan_beside_inserts", "a_reverse_scan_beside_a_delete")
def scans_that_look_at_no_locks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot_read, "_clear", lambda ground, low, high, at: None)


# Resolving


@planted("two_transfers_and_a_reader", "three_writers_of_overlapping_rows")
def resolve_deciding_at_the_secondary(patch: pytest.MonkeyPatch) -> None:
    def wrong(ground: Ground, key: bytes, lock: Any, packed: bytes) -> bool:
        edits = outcomes.back(key, lock.start)
        ground.store.mutate(Mutation(row_of(key), (resolve.Equals("lock", key, packed),), tuple(edits)))
        return True

    everywhere(patch, "resolve", wrong)


@planted("two_transfers_and_a_reader", "three_writers_of_overlapping_rows")
def rollback_of_a_committed_primary(patch: pytest.MonkeyPatch) -> None:
    """No lock at the primary is taken for a rollback; nobody looks for the write record."""

    def wrong(store: Store, primary: bytes, start: int) -> resolve.Fate:
        (entry,) = store.firsts([single("lock", primary)])
        standing = entry is not None and lock_of(entry[1]).start == start
        return resolve.Fate(not standing, None, entry[1] if entry else None, standing)

    patch.setattr(resolve, "fate", wrong)


@planted("a_request_twice_beside_a_reader_of_the_secondary")
def tombstones_missing(patch: pytest.MonkeyPatch) -> None:
    """Late and repeated requests lock cells for a transaction that is over; with the primary's, somebody even commits it."""
    right = outcomes.back

    def wrong(key: bytes, start: int, standing: bool = True) -> Any:
        return [edit for edit in right(key, start, standing) if edit.family != "write"]

    patch.setattr(resolve, "back", wrong)


@planted("three_writers_of_overlapping_rows")
def tombstone_put_without_looking_at_the_lock_again(patch: pytest.MonkeyPatch) -> None:
    """Between the look at the primary and the rollback its owner commits."""
    right = resolve.fate

    def decided(ground: Ground, lock: Any, abandoned: bool) -> Any:
        found = right(ground.store, lock.primary, lock.start)
        if found.over or (found.standing and not abandoned):
            return found
        edits = resolve.back(lock.primary, lock.start, found.standing)
        ground.store.mutate(Mutation(row_of(lock.primary), (), tuple(edits)))
        return resolve.Fate(True, None, None)

    patch.setattr(resolve, "_decided", decided)


# Notifications


@planted("an_observer_beside_a_writer")
def notification_dropped_whatever_its_version(patch: pytest.MonkeyPatch) -> None:
    def wrong(store: Store, seen: Any) -> None:
        found = [key for pending, _ in seen for key, _ in store.scan("notify", pending.key, successor(pending.key))]
        store.write([notify.Edit("notify", key, None) for key in found])

    patch.setattr(notify, "drop", wrong)


@planted("an_observer_beside_a_writer")
def notification_written_after_the_commit(patch: pytest.MonkeyPatch) -> Any:
    def without(key: bytes, lock: Any, time: int) -> Any:
        return [edit for edit in outcomes.forward(key, lock, time) if edit.family != "notify"]

    patch.setattr(commit, "forward", without)
    patch.setattr(resolve, "forward", without)

    class NotesAfter(PercolatorEngine):
        def commit_many(self, intents: Sequence[Intent]) -> list[int | TransactionError]:
            found = super().commit_many(intents)
            for intent, time in zip(intents, found, strict=True):
                for key in intent.notify if isinstance(time, int) else ():
                    notify.note(self.store, key, time, notify.Trail())
            return found

    return NotesAfter


@planted("two_workers_at_one_row")
def acks_not_checked(patch: pytest.MonkeyPatch) -> None:
    right = transaction.Transaction.versions

    def wrong(self: Any, keys: Sequence[bytes]) -> Any:
        return [None if number % 2 else version for number, version in enumerate(right(self, keys))]

    patch.setattr(transaction.Transaction, "versions", wrong)


@planted("two_workers_at_one_row")
def acks_in_cells_that_do_not_conflict(patch: pytest.MonkeyPatch) -> None:
    """Each run acknowledges in a cell of its own: two that run at the same time both commit."""
    right, number = worker.Observer.ack, itertools.count()
    patch.setattr(worker.Observer, "ack", lambda self, key: right(self, key)[:-1] + b"`%d\x00\x00" % next(number))


# Garbage


@planted("garbage_of_what_an_old_reader_sees")
def safe_point_written_after_collecting(patch: pytest.MonkeyPatch) -> None:
    def wrong(ground: Ground, before: int) -> collect.Collected:
        removed = collect.collect_versions(ground.store, before)
        return collect.Collected(collect.raise_safe_point(ground.store, before), removed, 0)

    patch.setattr(percolator, "collect", wrong)


@planted("garbage_beside_a_reader_and_a_writer")
def readers_that_do_not_look_at_the_safe_point(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(percolator, "check_age", lambda store, start: None)


@planted("garbage_beside_a_reader_and_a_writer")
def the_newest_of_all_versions_kept_instead_of_the_newest_below(patch: pytest.MonkeyPatch) -> None:
    def wrong(store: Store, key: bytes, entries: Any, safe: int) -> int:
        old = [found for found, _ in entries[1:]]
        store.write([notify.Edit("write", found, None) for found in old])
        return len(old)

    patch.setattr(collect, "_clean", wrong)


@planted("a_request_twice_after_its_garbage_was_collected")
def locks_of_long_ago_rolled_forward(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resolve, "mark", lambda store, key: 0)


# One phase


@planted("one_phase_commits_beside_readers")
def one_phase_without_its_mark(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(one_phase.OnePhase, "wait_for", lambda self, keys: None)


@planted("a_frontier_beside_one_phase", "a_frontier_beside_a_worker_and_a_writer")
def frontier_that_asks_for_the_time_last(patch: pytest.MonkeyPatch) -> None:
    def wrong(self: PercolatorEngine) -> int:
        pending = notify.oldest(self.store)
        return (self.now() if pending is None else pending) - 1

    patch.setattr(PercolatorEngine, "frontier", wrong)


def everywhere(patch: pytest.MonkeyPatch, name: str, wrong: Any) -> None:
    """Replace a step where it is defined, and in the steps that use it."""
    for module in (resolve, prewrite, snapshot_read, collect, one_phase, percolator):
        if hasattr(module, name):
            patch.setattr(module, name, wrong)
