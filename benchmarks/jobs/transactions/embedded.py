"""The embedded engine on RocksDB, nobody waiting for the disk; or, with the argument ``fsync``, forced to it."""

import sys
import tempfile
import time

from cells import Cells, Raw
from operations import Operations
from rates import Operation, calls_of, chunks_of, counting, measured, report

from dataflow.txn import Database

RAW_READ, RAW_WRITE = "raw get", "raw put"


def main(size: int) -> None:
    cells = Cells(size)
    raw = Raw(cells)
    db = Database.open(tempfile.mkdtemp(), sync=False)
    cells.load(db.engine)
    do = Operations(cells, db)
    operations = [
        Operation(RAW_READ, raw.get),
        Operation("read, engine", do.engine_read, RAW_READ, 0.85),
        Operation("reads of one snapshot, engine", do.engine_reads, RAW_READ, 0.85),
        Operation("read, t[row, column]", do.api_read, RAW_READ),
        Operation("reads of one snapshot, t[row, column]", do.api_reads, RAW_READ),
        Operation("reads of one snapshot, get_many of 100", do.api_reads_many, RAW_READ),
        Operation(RAW_WRITE, raw.put),
        Operation("raw puts in batches of 100", Raw(cells).put_batches, RAW_WRITE),
        Operation("write, engine", do.engine_write, RAW_WRITE, 0.75),
        Operation("writes in groups of 100, engine", do.engine_writes, RAW_WRITE, 1.5),
        Operation("write, t[row, column]", do.api_write, RAW_WRITE),
        Operation("writes in groups of 100, db.each", do.api_writes, RAW_WRITE),
        Operation("read and write in groups of 100, db.each", do.api_changes, RAW_WRITE),
    ]
    begun = time.perf_counter()
    rates = measured(operations, chunks_of(cells.numbers, 1000))
    seconds = time.perf_counter() - begun
    calls = counting(db.engine.store)
    for operation, found in zip(operations, rates, strict=True):
        found["calls"] = "" if operation.against is None else calls_of(operation.run, cells.numbers[:1000], calls)
    report(rates, seconds)


def main_synced(size: int) -> None:
    cells = Cells(size)
    raw = Raw(cells, sync=True)
    db = Database.open(tempfile.mkdtemp())
    cells.load(db.engine)
    do = Operations(cells, db)
    of_hundred = Operation("raw put", lambda chunk: raw.put(chunk[:100:10]))  # ten of them, or it would take minutes
    operations = [
        of_hundred,
        Operation("raw puts in batches of 100", Raw(cells, sync=True).put_batches, "raw put"),
        Operation("writes in groups of 100, engine", do.engine_writes, "raw put", 25),
        Operation("writes in groups of 100, db.each", do.api_writes, "raw put"),
    ]
    begun = time.perf_counter()
    rates = measured(operations, chunks_of(cells.numbers, 100)[:200])
    for found in rates:  # ten were put, a hundred counted
        if found["ratio"] is None:
            found["rate"] /= 10
        else:
            found["ratio"] *= 10
    report(rates, time.perf_counter() - begun)


if __name__ == "__main__":
    main_synced(int(sys.argv[1])) if "fsync" in sys.argv else main(int(sys.argv[1]))
