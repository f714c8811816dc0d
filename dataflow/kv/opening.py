"""A store from its address.

    memory:                               in this process, gone with it
    rocksdb:folder, or just a folder      embedded, one process
    lmdb:folder                           embedded, several processes
    postgresql://user@host/database       a PostgreSQL server
    bigtable://project/instance/table     Bigtable
    sharded:address|address|…             several as one

>>> open_store("memory:").name
'memory:'
>>> open_store("rockdb:cells")
Traceback (most recent call last):
  ...
dataflow.errors.StoreError: no store has addresses that begin with 'rockdb:'
  hint     did you mean 'rocksdb:'? For a folder of that name: 'rocksdb:rockdb:cells'
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
from typing import Any

from dataflow.errors import Report, StoreError
from dataflow.kv.embedded import missing_package
from dataflow.kv.memory import MemoryStore
from dataflow.kv.store import Store

__all__ = ["open_store"]

_SCHEMES = ("memory", "rocksdb", "lmdb", "postgresql", "bigtable", "sharded")
_SERVERS = {
    "postgresql": ("dataflow.kv.postgres", "PostgresStore", "psycopg"),
    "postgres": ("dataflow.kv.postgres", "PostgresStore", "psycopg"),
    "bigtable": ("dataflow.kv.bigtable", "BigtableStore", "google-cloud-bigtable"),
    "sharded": ("dataflow.kv.sharded", "ShardedStore", "of a shard"),
}


def open_store(address: str | os.PathLike[str], **options: Any) -> Store:
    """Open the store at an address; the options are those of its class (`RocksStore`, `LmdbStore`, …).

    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp(), cache="64MiB")
    >>> store.atomic
    'store'
    >>> store.close()

    Raises `StoreError` if the address is none, the store cannot be opened, or its package is not installed.
    """
    text = os.fspath(address)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text) if isinstance(address, str) else None
    scheme = found[1].lower() if found else "rocksdb"
    rest = text[found.end() :] if found else text
    if scheme == "memory":
        if rest.strip("/"):
            raise StoreError(Report(f"a store in memory has no name: {text!r}", hint="write 'memory:'"))
        return MemoryStore(**options)
    if scheme in ("rocksdb", "lmdb"):
        folder = rest.removeprefix("//")
        if not folder:
            raise StoreError(Report(f"the address {text!r} names no folder", hint=f"write '{scheme}:folder'"))
        if scheme == "rocksdb":
            from dataflow.kv.rocksdb import RocksStore

            return RocksStore(folder, **options)
        from dataflow.kv.lmdb import LmdbStore

        return LmdbStore(folder, **options)
    if scheme in _SERVERS:
        return _open_server(text, *_SERVERS[scheme], options)
    raise _refused(text, scheme)


def _open_server(address: str, module: str, name: str, package: str, options: dict[str, Any]) -> Store:
    """A store on a server: its module is loaded now, and says if its package is missing."""
    try:
        made = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise missing_package(package, module.rpartition(".")[2]) from error
    store: Store = made.open(address, **options)
    return store


def _refused(address: str, scheme: str) -> StoreError:
    if scheme in ("redis", "rediss", "valkey"):
        return StoreError(
            Report(
                "Redis cannot hold transactions: writes that it acknowledged may vanish at failover, and locks live in them;\n"
                "two transactions that exclude each other could both commit",
                hint="on one machine 'rocksdb:folder' or 'lmdb:folder'; on several 'postgresql://…' or 'bigtable://…'",
            )
        )
    close = difflib.get_close_matches(scheme, _SCHEMES, 1, 0.7)
    meant = f"did you mean '{close[0]}:'?" if close else f"there are {', '.join(f'{one}:' for one in _SCHEMES)}."
    return StoreError(
        Report(f"no store has addresses that begin with '{scheme}:'", hint=f"{meant} For a folder of that name: 'rocksdb:{address}'")
    )
