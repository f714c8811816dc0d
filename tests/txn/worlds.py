"""A world for one schedule: a store that remembers, calls that are switch points, and transactions that note what they read and wrote.

    actor ── Noted ── Database ── PercolatorEngine ── Turned ── (FaultyStore) ── Remembering
             notes    the protocol, as it is           points     misfortunes     every write record there ever was

Each actor has an engine of its own, as processes have, or all share one, as threads do (then the engine's locks are switch points, too).
Locks have no life: whoever meets one may take its owner for dead at once, so living owners are rolled back all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataflow.errors import ConflictError, SnapshotTooOldError, StoreError
from dataflow.kv import Edit, Entry, MemoryStore, Mutation, Outcome, Range
from dataflow.kv.faulty import FaultyStore
from dataflow.txn import Database
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.together import commit_together
from dataflow.txn.transaction import Transaction, cell_key
from tests.txn.schedules import Turns

__all__ = ["Noted", "Remembering", "World"]

Cell = tuple[Any, str]


class Remembering(MemoryStore):
    """Keeps every write record there ever was, and notices if one is changed, or comes back after it was removed."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[bytes, bytes] = {}
        self.wrong = ""

    def _put(self, family: str, key: bytes, value: bytes | None) -> None:
        if family == "write" and value is not None:
            was = self.records.setdefault(key, value)
            if was != value:
                self.wrong = f"the write record {key!r} was {was!r} and became {value!r}"
        super()._put(family, key, value)


class OnceMore(FaultyStore):
    """Of all requests one may come twice, or late."""

    def _sent(self, mutation: Mutation, sync: bool) -> Outcome:
        waiting = len(self._under_way)
        answer = super()._sent(mutation, sync)
        if len(self._under_way) > waiting:
            self._twice = self._late_share = 0.0
        return answer


class Turned:
    """Every call to the store is a switch point; a scan one for each entry, and `firsts` one for each range."""

    atomic = "store"
    shared = False
    name = "turned"

    def __init__(self, store: Any, turns: Turns) -> None:
        self.store, self._turns, self._point = store, turns, turns.point

    def get(self, family: str, key: bytes) -> bytes | None:
        self._point()
        return self.store.get(family, key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(family, key) for key in keys]

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        found = []
        for one in ranges:
            self._point()
            found += self.store.firsts((one,))
        return found

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        while limit is None or limit > 0:
            self._point()
            page = list(self.store.scan(family, start, stop, reverse=reverse, limit=1))
            if not page:
                return
            yield page[0]
            start, stop = (start, page[0][0]) if reverse else (page[0][0] + b"\x00", stop)
            limit = None if limit is None else limit - 1

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        self._point()
        self.store.write(edits, sync=sync)

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        self._point()
        made: bool = self.store.mutate(mutation, sync=sync)
        return made

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        answers: list[Outcome] = []
        for mutation in mutations:
            self._point()
            answers += self.store.mutate_many((mutation,), sync=sync)
        return answers

    def close(self) -> None:
        """Nothing to let go of."""


class Counting:
    """An oracle whose calls are switch points."""

    def __init__(self, turns: Turns) -> None:
        self._point, self.last = turns.point, 0

    def next(self, count: int = 1) -> int:
        self._point()
        self.last += count
        return self.last - count + 1

    def close(self) -> None:
        """Nothing to let go of."""


class TakenInTurns:
    """A lock, and a condition, for actors that are not threads."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._held = turns, False

    def __enter__(self) -> None:
        self._turns.point()
        while self._held:
            self._turns.pause()
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False

    def wait(self) -> None:
        self._held = False
        self._turns.pause()
        while self._held:
            self._turns.pause()
        self._held = True

    def notify_all(self) -> None:
        """Who waits looks again by itself."""


class Noted:
    """A transaction that notes what it read and wrote, for the judge."""

    def __init__(self, world: World, database: Database, transaction: Transaction | None = None) -> None:
        self.t = transaction or database.transaction()
        self.start = self.t.timestamp
        self.reads: list[tuple[bytes, Any]] = []
        self.scans: list[tuple[bytes, bytes, dict[bytes, Any]]] = []
        self.writes: dict[bytes, Any] = {}
        self.holds: set[bytes] = set()
        self.state = "open"  # then: committing, and committed, refused, unknown, or too old
        self.committed = 0
        world.transactions.append(self)

    def get(self, row: Any, column: str = "x") -> Any:
        value = self.t.get(row, column)
        key = cell_key(row, column)
        if key not in self.writes:
            self.reads.append((key, value))
        return value

    def scan(self, start: str, stop: str, *, reverse: bool = False) -> dict[Cell, Any]:
        found = dict(self.t.scan(start, stop, reverse=reverse))
        low, high = cell_key(start, "")[:-3], cell_key(stop, "")[:-3]
        self.scans.append((low, high, {cell_key(*cell): value for cell, value in found.items()}))
        return found

    def put(self, row: Any, value: Any, column: str = "x") -> None:
        if value is None:
            self.t.delete(row, column)
        else:
            self.t[row, column] = value
        self.writes[cell_key(row, column)] = value

    def hold(self, row: Any, column: str = "x") -> None:
        self.t.hold(row, column)
        self.holds.add(cell_key(row, column))

    def commit(self) -> bool:
        self.state = "committing"
        try:
            self.committed = self.t.commit()
            self.state = "committed"
        except ConflictError:
            self.state = "refused"
        except SnapshotTooOldError:
            self.state = "too old"
        except StoreError:
            self.state = "unknown"
        return self.state == "committed"


class World:
    """What the actors of one schedule share. ``together``: one engine for all. ``faulty``: the store loses answers.

    ``repeats``: of any number of requests, or "one".
    """

    def __init__(
        self,
        turns: Turns,
        *,
        together: bool = False,
        faulty: bool = False,
        repeats: str = "any",
        engine: Callable[..., Any] = PercolatorEngine,
    ) -> None:
        self.turns = turns
        self.base = Remembering()
        self._one_phase, self._engine = together, engine
        faults = OnceMore if repeats == "one" else FaultyStore
        self.faulty = faults(self.base, turns, 0.5, late=0.5, twice=0.5) if faulty else None  # type: ignore[arg-type]
        self.store = Turned(self.faulty or self.base, turns)
        self.oracle = Counting(turns)
        self.transactions: list[Noted] = []
        self.observers: list[Callable[[Database], None]] = []
        self.looks: list[tuple[int, bytes, Any]] = []  # of observers: the time of the snapshot, the cell and what was read
        self._shared: Database | None = None
        self._databases = 0

    def database(self) -> Database:
        """What an actor works with."""
        if self._shared is not None:
            return self._shared
        self._databases += 1
        engine = self._engine(self.store, self.oracle, life=0.0, sync=False, one_phase=self._one_phase)
        self._manners(engine)
        database = Database(engine)
        for register in self.observers:
            register(database)
        if self._one_phase:
            engine._mutex, engine._at_once._changed = TakenInTurns(self.turns), TakenInTurns(self.turns)
            self._shared = database
        return database

    def _manners(self, engine: Any) -> None:
        ground = engine.ground
        ground.owner, ground.clock, ground.pause = b"%16d" % self._databases, _no_time, self.turns.pause

    def begin(self, database: Database) -> Noted:
        return Noted(self, database)

    def actor(self, name: str, function: Callable[[Database], Any]) -> None:
        """An actor with a database of its own."""
        database = self.database()
        self.turns.add(name, lambda: function(database), mortal=not self._one_phase)

    def given(self, **cells: Any) -> None:
        """What is there in the beginning."""
        with_these = self.begin(self.database())
        for row, value in cells.items():
            with_these.put(row, value)
        assert with_these.commit()

    def commit_group(self, database: Database, group: Sequence[Noted]) -> None:
        """Commit transactions in one call of the engine."""
        for one in group:
            one.state = "committing"
        failed = commit_together(database, [one.t for one in group])
        for one, failure in zip(group, failed, strict=True):
            one.committed = one.t.committed or 0
            one.state = (
                "committed" if failure is None
                else "refused" if isinstance(failure, ConflictError)
                else "too old" if isinstance(failure, SnapshotTooOldError)
                else "unknown"
            )  # fmt: skip


def _no_time() -> float:
    return 0.0
