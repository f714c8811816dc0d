"""Two servers as shards: batches of a thousand conditional inserts by psycopg, and batches of a thousand transactions.

The raw batch is cut in two by the same hash, and each server gets its half from a thread of its own, as our store does it.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
from cells import VALUE, Cells
from operations import Operations
from rates import Operation, chunks_of, measured, report
from servers import serving

from dataflow.kv import row_of
from dataflow.txn import Database
from dataflow.txn.prewrite import plan_locks, prewrite

BATCH = 1_000
_UNNESTED = b"insert into raw select * from unnest($1::bytea[], $2::bytea[]) on conflict (key) do nothing returning key"


class Raw:
    """A table a server, and one connection to each."""

    def __init__(self, addresses: Sequence[str], cells: Cells, shard_of: object) -> None:
        self.connections = [psycopg.connect(address, autocommit=True, cursor_factory=psycopg.RawCursor) for address in addresses]
        for connection in self.connections:
            connection.execute(b"create table raw (key bytea primary key, value bytea)")
        self.keys, self.shard = cells.keys, [shard_of(row_of(key)) for key in cells.keys]  # type: ignore[operator]
        self.threads = ThreadPoolExecutor(len(addresses))
        self.turn = 0

    def unnest(self, keys: list[bytes], connection: psycopg.Connection) -> int:
        return connection.execute(_UNNESTED, (keys, [VALUE] * len(keys)), binary=True).rowcount

    def values(self, keys: list[bytes], connection: psycopg.Connection) -> int:
        holes = ",".join(f"(${at}::bytea,${at + 1}::bytea)" for at in range(1, 2 * len(keys), 2))
        values = [part for key in keys for part in (key, VALUE)]
        return connection.execute(f"insert into raw values {holes} on conflict (key) do nothing".encode(), values, binary=True).rowcount

    def send(self, insert: object, chunk: Sequence[int]) -> None:
        self.turn += 1
        suffix = self.turn.to_bytes(4, "big")  # new keys each time, as each prewrite puts a new lock
        halves = [[self.keys[number] + suffix for number in chunk if self.shard[number] == shard] for shard in range(len(self.connections))]
        made = self.threads.map(insert, halves, self.connections)  # type: ignore[arg-type]
        assert sum(made) == len(chunk)


def main(size: int) -> None:
    with ExitStack() as stack:
        addresses = [stack.enter_context(serving()) for _ in range(2)]
        cells = Cells(size)
        db = Database.open(addresses)
        raw = Raw(addresses, cells, db.engine.store.shard_of)  # type: ignore[attr-defined]
        ground, do = db.engine.ground, Operations(cells, db)  # type: ignore[attr-defined]
        locked: list[list[object]] = []

        def lock(chunk: Sequence[int]) -> None:
            planned = [plan_locks(ground, cells.intent(number, start)) for number, start in zip(chunk, starts, strict=False)]
            assert not any(prewrite(ground, planned))
            locked.append(planned)  # type: ignore[arg-type]

        starts = [ground.oracle.next() for _ in range(BATCH)]
        chunks = chunks_of(cells.numbers, BATCH)
        inserts = [
            Operation("raw insert, unnest", lambda chunk: raw.send(raw.unnest, chunk)),
            Operation("raw insert, values", lambda chunk: raw.send(raw.values, chunk)),
        ]
        begun = time.perf_counter()
        rates = measured(inserts, chunks)
        against = max(rates, key=lambda found: found["rate"])["name"]
        inserts = [operation for operation in inserts if operation.name == against]
        # Each cell is locked once and stays so; the transactions are of other cells.
        first = [*inserts, Operation("prewrite", lock, against, 0.5)]
        half = len(chunks) // 2
        rates += measured(first[:1], []) if not half else alternated(first, chunks[:half])
        second = [
            *inserts,
            Operation("transactions, commit_many", lambda chunk: do.engine_writes(chunk, BATCH), against),
            Operation("transactions, db.each", lambda chunk: do.api_writes(chunk, BATCH), against),
        ]
        rates += alternated(second, chunks[half:])
        report(rates, time.perf_counter() - begun)
        db.close()


def alternated(operations: list[Operation], chunks: list[Sequence[int]]) -> list[dict[str, object]]:
    return [found for found in measured(operations, chunks) if found["ratio"] is not None]


if __name__ == "__main__":
    main(int(sys.argv[1]))
