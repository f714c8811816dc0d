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

import importlib
import os
import re
from typing import Any

from dataflow.errors import Report, StoreError, nearest, redact
from dataflow.kv.embedded import missing_package
from dataflow.kv.memory import MemoryStore
from dataflow.kv.store import Store

__all__ = ["files_at", "kind_in", "open_store"]

_SCHEMES = ("memory", "rocksdb", "lmdb", "postgresql", "bigtable", "sharded")
_FILES = {"rocksdb": "CURRENT", "lmdb": "data.mdb"}  # stores in a folder, and the file by which one is known
_SERVERS = {
    "postgresql": ("dataflow.kv.postgres", "PostgresStore", "psycopg"),
    "postgres": ("dataflow.kv.postgres", "PostgresStore", "psycopg"),
    "bigtable": ("dataflow.kv.bigtable", "BigtableStore", "google-cloud-bigtable"),
    "sharded": ("dataflow.kv.sharded", "ShardedStore", "of a shard"),
}


def open_store(address: str | os.PathLike[str], **options: Any) -> Store:
    """Open the store at an address; the options are those of its class (`RocksStore`, `LmdbStore`, …).

    ``create=False``: not if it would have to be made.

    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp(), cache="64MiB")
    >>> store.atomic
    'store'
    >>> store.close()

    Raises `StoreError` if the address is none, the store cannot be opened, or its package is not installed.
    """
    text = os.fspath(address)
    scheme, rest = _parts(address)
    if scheme == "memory":
        if rest.strip("/"):
            raise StoreError(Report(f"a store in memory has no name: {text!r}", hint="write 'memory:'"))
        if not options.pop("create", True):
            raise StoreError(Report("no store is in memory before it is made there", hint="give the address of a folder, or of a server"))
        return MemoryStore(**options)
    if scheme in _FILES:
        folder = _folder(text, scheme, rest)
        if scheme == "rocksdb":
            from dataflow.kv.rocksdb import RocksStore

            return RocksStore(folder, **options)
        from dataflow.kv.lmdb import LmdbStore

        return LmdbStore(folder, **options)
    if scheme in _SERVERS:
        return _open_server(text, *_SERVERS[scheme], options)
    raise _refused(text, scheme)


def files_at(address: str | os.PathLike[str]) -> tuple[str, str]:
    """The kind of store and the folder, of an address of files.

    >>> files_at("lmdb:cells"), files_at("rocksdb://cells"), files_at("cells")
    (('lmdb', 'cells'), ('rocksdb', 'cells'), ('rocksdb', 'cells'))

    Raises `StoreError` if it is the address of another store, or of none.
    """
    text = os.fspath(address)
    scheme, rest = _parts(address)
    if scheme in _FILES:
        return scheme, _folder(text, scheme, rest)
    if scheme not in _SERVERS and scheme != "memory":
        raise _refused(text, scheme)
    raise StoreError(Report(f"{redact(text)} is no store in a folder", hint="write 'rocksdb:folder' or 'lmdb:folder'"))


def kind_in(folder: str | os.PathLike[str]) -> str | None:
    """The kind of store that a folder holds, if any.

    >>> kind_in("/")
    """
    return next((kind for kind, file in _FILES.items() if os.path.exists(os.path.join(folder, file))), None)


def _parts(address: str | os.PathLike[str]) -> tuple[str, str]:
    """What an address begins with, and the rest; a path is one of RocksDB."""
    text = os.fspath(address)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text) if isinstance(address, str) else None
    return (found[1].lower(), text[found.end() :]) if found else ("rocksdb", text)


def _folder(address: str, scheme: str, rest: str) -> str:
    folder = rest.removeprefix("//")
    if not folder:
        raise StoreError(Report(f"the address {address!r} names no folder", hint=f"write '{scheme}:folder'"))
    return folder


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
    close = nearest(scheme, _SCHEMES, 0.7)
    meant = f"did you mean '{close}:'?" if close is not None else f"there are {', '.join(f'{one}:' for one in _SCHEMES)}."
    return StoreError(
        Report(f"no store has addresses that begin with '{scheme}:'", hint=f"{meant} For a folder of that name: 'rocksdb:{address}'")
    )
