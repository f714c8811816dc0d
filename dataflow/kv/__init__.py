"""Ordered key-value stores: one protocol (`store`), one file a store, and what they have in common.

    keys.py       tuples as bytes that sort, none beginning another
    store.py      what a store must do
    memory.py     in this process, for tests
    rocksdb.py    embedded, the default: one process, group commit, larger than memory (rocksdb_files.py, _reading, _batch, _latches)
    lmdb.py       embedded, several processes at once
    postgres.py   a PostgreSQL server
    bigtable.py   Bigtable, and what speaks its protocol
    sharded.py    several stores as one, by hash of the row
    embedded.py   what the embedded stores have in common
    mirror.py     two stores in lockstep, each the other's judge
    faulty.py     a store that answers "unknown", for tests of what stands on one
    opening.py    a store from its address

>>> from dataflow.kv import MemoryStore, pack
>>> store = MemoryStore()
>>> store.write([Edit("data", pack(("doc", 7)), b"text")])
>>> store.get("data", pack(("doc", 7)))
b'text'
"""

from dataflow.kv.keys import end_of_row, pack, pack_element, row_of, unpack
from dataflow.kv.memory import MemoryStore
from dataflow.kv.opening import open_store
from dataflow.kv.store import FAMILIES, Absent, Condition, Edit, Entry, Equals, Mutation, Outcome, Range, Store, single, successor

__all__ = [
    "FAMILIES", "Absent", "Condition", "Edit", "Entry", "Equals", "MemoryStore", "Mutation", "Outcome", "Range", "Store", "end_of_row",
    "open_store", "pack", "pack_element", "row_of", "single", "successor", "unpack",
]  # fmt: skip
