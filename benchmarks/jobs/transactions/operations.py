"""One-cell transactions, through the engine and through the public API, as one would write them."""

from __future__ import annotations

from collections.abc import Sequence

from cells import COLUMN, VALUE, Cells

from dataflow.txn import Database, Transaction


class Operations:
    """Every method does one transaction for each number of a chunk."""

    def __init__(self, cells: Cells, db: Database) -> None:
        self.cells, self.db = cells, db

    def engine_read(self, chunk: Sequence[int]) -> None:
        begin, keys = self.db.engine.begin, self.cells.keys
        for number in chunk:
            snapshot = begin()
            snapshot.get(keys[number])
            snapshot.close()

    def engine_reads(self, chunk: Sequence[int]) -> None:
        snapshot, keys = self.db.engine.begin(), self.cells.keys
        get = snapshot.get
        for number in chunk:
            get(keys[number])
        snapshot.close()

    def api_read(self, chunk: Sequence[int]) -> None:
        transaction, rows = self.db.transaction, self.cells.rows
        for number in chunk:
            with transaction() as t:
                t[rows[number], COLUMN]

    def api_reads(self, chunk: Sequence[int]) -> None:
        rows = self.cells.rows
        with self.db.snapshot() as s:
            for number in chunk:
                s[rows[number], COLUMN]

    def api_reads_many(self, chunk: Sequence[int]) -> None:
        rows = self.cells.rows
        with self.db.snapshot() as s:
            for at in range(0, len(chunk), 100):
                s.get_many([(rows[number], COLUMN) for number in chunk[at : at + 100]])

    def engine_write(self, chunk: Sequence[int]) -> None:
        begin, commit, intent = self.db.engine.begin, self.db.engine.commit_many, self.cells.intent
        for number in chunk:
            snapshot = begin()
            (time,) = commit((intent(number, snapshot.start),))
            snapshot.close()
            assert type(time) is int

    def engine_writes(self, chunk: Sequence[int], group: int = 100) -> None:
        begin_many, commit, intent = self.db.engine.begin_many, self.db.engine.commit_many, self.cells.intent
        for at in range(0, len(chunk), group):
            snapshots = begin_many(len(chunk[at : at + group]))
            commit([intent(number, snapshot.start) for number, snapshot in zip(chunk[at : at + group], snapshots, strict=True)])
            for snapshot in snapshots:
                snapshot.close()

    def api_write(self, chunk: Sequence[int]) -> None:
        transaction, rows = self.db.transaction, self.cells.rows
        for number in chunk:
            with transaction() as t:
                t[rows[number], COLUMN] = VALUE

    def api_writes(self, chunk: Sequence[int], group: int = 100) -> None:
        rows = self.cells.rows

        def write(t: Transaction, number: int) -> None:
            t[rows[number], COLUMN] = VALUE

        self.db.each(write, chunk, group=group)

    def api_changes(self, chunk: Sequence[int]) -> None:
        rows = self.cells.rows

        def change(t: Transaction, number: int) -> None:
            t[rows[number], COLUMN] = t[rows[number], COLUMN][::-1]

        self.db.each(change, chunk)
