"""The Percolator engine on RocksDB, by the paper's protocol: locks, write records, two mutations for a write."""

import sys
import tempfile
import time

from cells import BareProtocol, Cells, Raw
from operations import Operations
from rates import Operation, calls_of, chunks_of, counting, measured, report

from dataflow.txn import Database


def main(size: int) -> None:
    cells = Cells(size)
    raw = Raw(cells)
    db = Database.open(tempfile.mkdtemp(), engine="percolator", sync=False)
    cells.load(db.engine)
    do = Operations(cells, db)
    bare = BareProtocol(cells, cells.packed)
    operations = [
        Operation("raw get", raw.get),
        Operation("the calls of a read, bare", bare.read, "raw get"),
        Operation("read, engine", do.engine_read, "raw get", 0.36),
        Operation("reads of one snapshot, engine", do.engine_reads, "raw get"),
        Operation("read, t[row, column]", do.api_read, "raw get"),
        Operation("reads of one snapshot, get_many of 100", do.api_reads_many, "raw get"),
        Operation("raw put", raw.put),
        Operation("the calls of a write, bare", bare.write, "raw put"),
        Operation("write, engine", do.engine_write, "raw put", 0.25),
        Operation("writes in groups of 100, engine", do.engine_writes, "raw put"),
        Operation("write, t[row, column]", do.api_write, "raw put"),
        Operation("writes in groups of 100, db.each", do.api_writes, "raw put"),
    ]
    begun = time.perf_counter()
    rates = measured(operations, chunks_of(cells.numbers, 500)[:100])
    seconds = time.perf_counter() - begun
    calls = counting(db.engine.store)
    for operation, found in zip(operations, rates, strict=True):
        found["calls"] = "" if operation.against is None else calls_of(operation.run, cells.numbers[:1000], calls)
    report(rates, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
