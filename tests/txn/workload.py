"""What the processes do that are killed: transfers, appends to lists, scans, and observers, each written to a history before it commits.

    account/3   balance   [amount, who wrote it]     transfers; their sum never changes
    flag/3      x         put and deleted by transfers
    list/2/0    items     appended to; after a while its next generation, list/2/1, is used
    log/p.7     entry     of each transaction that writes: says that it is committed
    seen/p.7    by        of each log entry: the run of the observer `count` that committed for it, one and only one
    count/5     n         how many entries were seen
    size/2/0    n         the length of the list, kept by the observer `measure`
    mark/p.9    m         of each run of `measure`: says that it is committed

A process is told all by its ``spec``: which store, what to do, how its clocks lie.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from itertools import count
from typing import Any

from dataflow.errors import ConflictError, SnapshotTooOldError, StoreError
from dataflow.txn import Database, Transaction, active, members
from dataflow.txn.transaction import cell_key
from tests.txn.histories import Done, Recorder

__all__ = ["COLUMNS", "MONEY", "everything", "load", "observe", "open_database", "work"]

COLUMNS = {
    "account": "balance", "flag": "x", "list": "items", "log": "entry", "seen": "by", "count": "n", "size": "n", "mark": "m",
}  # fmt: skip
ACCOUNTS, MONEY, FLAGS, LISTS, COUNTS = 12, 100, 4, 6, 32
LONG = 40  # elements of a list before the next generation: about 700 bytes, more than stands in a write record


def column_of(row: str) -> str:
    return COLUMNS[row.partition("/")[0]]


class Noted:
    """A transaction that notes what it reads and writes."""

    def __init__(self, t: Transaction, done: Done) -> None:
        self.t, self.done = t, done
        self.reads: dict[str, Any] = {}
        self.writes: dict[str, Any] = {}
        self.scans: dict[str, dict[str, Any]] = {}
        self.ops: list[Any] = []
        self.holds: list[str] = []

    def get(self, row: str) -> Any:
        value = self.t.get(row, column_of(row))
        if row not in self.writes:
            self.reads[row] = value
        return value

    def put(self, row: str, value: Any) -> None:
        self.writes[row] = value
        if value is None:
            self.t.delete(row, column_of(row))
        else:
            self.t[row, column_of(row)] = value

    def hold(self, row: str) -> None:
        self.get(row)
        self.holds.append(row)
        self.t.hold(row, column_of(row))

    def scan(self, table: str) -> dict[str, Any]:
        found = {row: value for (row, _), value in self.t.scan(f"{table}/", f"{table}0", column=COLUMNS[table])}
        self.scans[table] = found
        return found

    def finished(self, marker: str, value: Any) -> Done:
        """What is to be noted before the commit; with what says afterwards whether it is committed, if anything is written."""
        done = self.done
        if self.writes:
            self.put(marker, value)
            done.marker = marker
        done.start = self.t.timestamp
        done.reads, done.writes, done.scans = self.reads, self.writes, self.scans
        done.ops, done.holds = tuple(self.ops), tuple(self.holds)
        return done


class Writer:
    """One thread's transactions."""

    def __init__(self, database: Database, recorder: Recorder, name: str, rng: random.Random, collects: float) -> None:
        self._database, self._recorder, self._name, self._rng, self._collects = database, recorder, name, rng, collects
        self._numbers = count()
        self._generation = dict.fromkeys(range(LISTS), 0)

    def step(self) -> None:
        """A transaction; what is in its way is noted, not raised."""
        if self._rng.random() < self._collects:
            self._database.collect_garbage()
        name = f"{self._name}.{next(self._numbers)}"
        (what,) = self._rng.choices((self._transfer, self._append, self._audit), (45, 45, 10))
        done = Done(name, kind=what.__name__.strip("_"), began=time.monotonic())
        try:
            with self._database.transaction() as t:
                noted = Noted(t, done)
                what(noted)
                with self._recorder.outcome_of(noted.finished(f"log/{name}", name)) as committed:
                    committed.append(t.commit())
        except (ConflictError, SnapshotTooOldError):
            pass  # before it was about to commit

    def _transfer(self, noted: Noted) -> None:
        rng, name = self._rng, noted.done.name
        one, two, three = (f"account/{n}" for n in rng.sample(range(ACCOUNTS), 3))
        giver = noted.get(one)[0]
        self._dawdle(0.05)
        taker = noted.get(two)[0]
        amount = rng.randint(0, giver)
        noted.put(one, [giver - amount, name])
        noted.put(two, [taker + amount, name])
        if rng.random() < 0.25:
            noted.hold(three)
        if rng.random() < 0.3:
            flag = f"flag/{rng.randrange(FLAGS)}"
            noted.put(flag, [name] if noted.get(flag) is None else None)

    def _append(self, noted: Noted) -> None:
        for n in range(self._rng.randint(1, 4)):
            slot = self._rng.randrange(LISTS)
            while True:
                key = f"list/{slot}/{self._generation[slot]}"
                found = noted.get(key) or []
                if len(found) < LONG or key in noted.writes:
                    break
                self._generation[slot] += 1
            noted.ops.append(["r", key, found])
            if self._rng.random() < 0.6:
                element = f"{noted.done.name}:{n}"
                noted.ops.append(["a", key, element])
                noted.put(key, [*found, element])

    def _audit(self, noted: Noted) -> None:
        noted.scan("flag")
        self._dawdle(0.5)
        noted.scan("account")

    def _dawdle(self, share: float) -> None:
        """Now and then, long enough for others to change what we shall read, and to collect what we should see."""
        if self._rng.random() < share:
            time.sleep(self._rng.uniform(0.0, 0.02))


def observe(database: Database, recorder: Recorder, name: str) -> None:
    """Register the observers, which note their runs; what became of a run is known from its marker."""
    numbers = count()

    def noted(t: Transaction, kind: str) -> Noted:
        return Noted(t, Done(f"{name}.{kind}{next(numbers)}", kind=kind))  # when it began, its worker knows

    @database.observer(COLUMNS["log"], name="count")
    def count_it(t: Transaction, row: str, value: Any) -> None:
        this = noted(t, "count")
        seen, cell = "seen/" + row.partition("/")[2], f"count/{zlib.crc32(row.encode()) % COUNTS}"
        if this.get(seen) is not None:
            this.done.kind = "count again"  # which must not be committed
        this.put(cell, [(this.get(cell) or [0])[0] + 1, this.done.name])
        recorder.begun(this.finished(seen, this.done.name))

    @database.observer(COLUMNS["list"], name="measure")
    def measure(t: Transaction, row: str, value: Any) -> None:
        this = noted(t, "measure")
        found = this.get(row) or []
        this.ops += [["r", row, value or []], ["r", row, found]]  # what it was given, too, is a read
        cell = "size/" + row.partition("/")[2]
        this.get(cell)
        this.put(cell, [len(found), this.done.name])
        recorder.begun(this.finished(f"mark/{this.done.name}", this.done.name))


def open_database(spec: dict[str, Any]) -> Database:
    """As the spec says; a server that is away is waited for."""
    while True:
        try:
            return Database.open(spec["address"], **spec["open"])
        except StoreError:
            if not spec.get("away"):
                raise
            time.sleep(0.05)


def load(database: Database, recorder: Recorder) -> None:
    """The accounts, with money."""
    with database.transaction() as t:
        noted = Noted(t, Done("load", kind="load", began=time.monotonic()))
        for n in range(ACCOUNTS):
            noted.get(f"account/{n}")
            noted.put(f"account/{n}", [MONEY, "load"])
        with recorder.outcome_of(noted.finished("log/load", "load")) as committed:
            committed.append(t.commit())


def work(spec: dict[str, Any]) -> None:
    """The life of a process, until it is killed: threads that write, and one that observes."""
    rng = random.Random(spec["seed"])
    recorder = Recorder(spec["folder"], spec["name"])
    members.LEASE = spec.get("lease", 0.4)  # so that a dead worker's part is taken over many times in a test
    active.SILENT = 0.0  # snapshots of others protect them not: what is collected too early must be told
    real = time.time
    time.time = lambda: real() + rng.uniform(-7200.0, 7200.0)  # clocks of the wall jump by hours
    try:
        database = open_database(spec)
        observe(database, recorder, spec["name"])
        for number in range(spec["writers"]):
            writer = Writer(database, recorder, f"{spec['name']}t{number}", random.Random(rng.random()), spec["collects"])
            threading.Thread(target=_forever, args=(writer.step, recorder, spec), daemon=True).start()
        if spec["observing"]:
            _forever(lambda: database.run_observers(until=0.5), recorder, spec)
        threading.Event().wait()
    except BaseException:
        recorder.note("failed", traceback.format_exc())
        raise


def _forever(step: Callable[[], Any], recorder: Recorder, spec: dict[str, Any]) -> None:
    try:
        while True:
            try:
                step()
            except StoreError:
                if not spec.get("away"):
                    raise
                time.sleep(0.01)  # the server was killed
    except BaseException:
        recorder.note("failed", traceback.format_exc())
        raise


def everything(database: Database) -> dict[str, tuple[Any, int]]:
    """All cells as they are now, each with the time it was committed."""
    with database.snapshot() as snapshot:
        cells = {
            cell: value for cell, value in snapshot.scan() if type(cell[0]) is str and COLUMNS.get(cell[0].partition("/")[0]) == cell[1]
        }
        versions = snapshot._snapshot.versions([cell_key(*cell) for cell in cells])
    return {cell[0]: (value, version.timestamp) for (cell, value), version in zip(cells.items(), versions, strict=True) if version}
