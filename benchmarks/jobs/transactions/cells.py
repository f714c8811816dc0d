"""The cells that are read and written: 100 bytes each, in a raw RocksDB store of the same settings and in a database."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from typing import Any

from rocksdict import WriteBatch

from dataflow.kv.rocksdb import RocksStore
from dataflow.txn.prewrite import Intent
from dataflow.txn.records import version_key
from dataflow.txn.transaction import cell_key
from dataflow.txn.values import encode

VALUE = b"v" * 100
COLUMN = "text"


class Cells:
    """So many cells; `numbers` are in an order drawn once."""

    def __init__(self, size: int) -> None:
        self.rows = [f"row{number:09d}" for number in range(size)]
        self.keys = [cell_key(row, COLUMN) for row in self.rows]
        self.packed = encode(VALUE)
        self.numbers = list(range(size))
        random.Random(1).shuffle(self.numbers)

    def intent(self, number: int, start: int = -1) -> Intent:
        return Intent(start, {self.keys[number]: self.packed})

    def load(self, engine: Any) -> None:
        for at in range(0, len(self.rows), 1000):
            engine.commit_many([self.intent(number, engine.now()) for number in range(at, min(at + 1000, len(self.rows)))])


class Raw:
    """RocksDB as rocksdict gives it, opened as our store opens it."""

    def __init__(self, cells: Cells, *, sync: bool = False) -> None:
        self.store = RocksStore(tempfile.mkdtemp())
        family = self.store._families["data"]
        self._keys, self._get, self._put = cells.keys, family.get, family.put
        self._options = self.store._synced if sync else self.store._unsynced
        for key in cells.keys:
            self._put(key, VALUE)

    def get(self, chunk: Sequence[int]) -> None:
        keys, get = self._keys, self._get
        for number in chunk:
            get(keys[number])

    def put_batches(self, chunk: Sequence[int], group: int = 100) -> None:
        """The same in batches: what nobody who groups his writes can go beyond. In another store, or `put` meets twice as many entries."""
        keys, store = self._keys, self.store
        handle, write, options = store._handles["data"], store._db.write, self._options
        for at in range(0, len(chunk), group):
            batch = WriteBatch(True)
            batch.set_default_column_family(handle)
            put = batch.put
            for number in chunk[at : at + group]:
                put(keys[number], VALUE)
            write(batch, options)

    def put(self, chunk: Sequence[int]) -> None:
        keys, put, options = self._keys, self._put, self._options
        for number in chunk:
            put(keys[number], VALUE, options)


class BareProtocol:
    """The calls into RocksDB of Percolator's reads and writes, one after another and without anything between: no protocol in Python
    can be faster. ``packed``: of the size of a lock and of a write record."""

    def __init__(self, cells: Cells, packed: bytes) -> None:
        store = self.store = RocksStore(tempfile.mkdtemp())
        self._keys, self._packed = cells.keys, packed
        self._lock, self._write = store._families["lock"], store._families["write"]
        self._turn = 1
        for key in cells.keys:
            self._write.put(version_key(key, self._turn), packed)

    def _newest(self, key: bytes) -> bytes:
        bounded = self.store._read_options()
        bounded.set_iterate_upper_bound(key + b"\xff" * 8)
        found = self._write.iter(bounded)
        found.seek(key)
        assert found.key() is not None
        return found.value()

    def read(self, chunk: Sequence[int]) -> None:
        """1 get, 1 seek."""
        lock = self._lock.get
        for number in chunk:
            key = self._keys[number]
            lock(key)
            self._newest(key)

    def write(self, chunk: Sequence[int]) -> None:
        """1 get, 1 seek, 1 put; 1 get, 1 batch."""
        store, packed, lock, options = self.store, self._packed, self._lock, self.store._unsynced
        handles, write = store._handles, store._db.write
        self._turn += 1
        for number in chunk:
            key = self._keys[number]
            lock.get(key)
            self._newest(key)
            lock.put(key, packed, options)
            lock.get(key)
            batch = WriteBatch(True)
            batch.delete(key, handles["lock"])
            batch.put(version_key(key, self._turn), packed, handles["write"])
            write(batch, options)
