"""A store from its address, or addresses, and the engine that suits it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataflow.errors import Report, StoreError
from dataflow.kv import Edit, Equals, Mutation, Store, pack, row_of
from dataflow.kv import opening as stores
from dataflow.kv.sharded import ShardedStore, refuse_part
from dataflow.txn.embedded import EmbeddedEngine
from dataflow.txn.engine import Engine
from dataflow.txn.ledger_owned import OwnedLedger
from dataflow.txn.ledger_shared import SharedLedger
from dataflow.txn.oracle import FileOracle, Oracle, RequestedOracle, StoreOracle
from dataflow.txn.percolator import PercolatorEngine

__all__ = ["engine_for", "open_store"]

_ENGINE = pack(("engine",))  # in "meta": which engine keeps its cells there


def open_store(address: str | os.PathLike[str] | Sequence[str] | Store, **options: Any) -> Store:
    """The store at an address; several addresses are shards of one; a store is itself."""
    if isinstance(address, (str, os.PathLike)):
        return stores.open_store(os.fspath(address), **options)
    if isinstance(address, Store):
        return address
    return ShardedStore.of(address, **options)


def engine_for(store: Store, name: str | None, *, sync: bool, history: bool | None, life: float, one_phase: bool = False) -> Engine:
    """The engine of that name on a store, or the one that wrote it, or the fastest that the store allows."""
    refuse_part(store)
    able = [
        *(["embedded"] if hasattr(store, "snapshot") and (not store.shared or hasattr(store, "exclusive")) else []),
        *(["native"] if hasattr(store, "session") else []),
        "percolator",
    ]
    name, history = _layout(store, name, able[0], history)
    if name not in able:
        raise StoreError(
            Report(f"the {name} engine cannot run on {store.name}", hint=f"engine= may be {' or '.join(able)} there; by default {able[0]}")
        )
    if name == "embedded":
        return EmbeddedEngine(SharedLedger(store) if store.shared else OwnedLedger(store), sync=sync, history=history)
    if name == "native":
        from dataflow.txn.native import NativeEngine

        return NativeEngine(store, sync=sync, history=history)
    late = store.atomic == "row" or store.shared  # then a commit need not wait for its other rows
    return PercolatorEngine(store, _oracle(store), life=life, sync=sync, one_phase=one_phase, background=late)


def _layout(store: Store, name: str | None, usual: str, history: bool | None) -> tuple[str, bool]:
    """The engine whose cells are in the store, and whether it keeps history; written there when the store is new."""
    while (written := store.get("meta", _ENGINE)) is None:
        words = [name or usual, *(["history"] if history else [])]
        store.mutate(Mutation(row_of(_ENGINE), (Equals("meta", _ENGINE, None),), (Edit("meta", _ENGINE, " ".join(words).encode()),)))
    there, *more = written.decode().split()
    if name not in (None, there):
        raise StoreError(
            Report(f"{store.name} was made by the {there} engine; {name} keeps its cells otherwise", hint="open it without engine=")
        )
    if history and not more and there != "percolator":
        raise StoreError(Report(f"{store.name} was made without history", hint="history=True is for a new store"))
    return there, bool(more)


def _oracle(store: Store) -> Oracle:
    if (counting := getattr(store, "next_timestamps", None)) is not None:
        return RequestedOracle(counting)
    if store.shared:
        first = store.shards[0] if isinstance(store, ShardedStore) else store  # the folder of the shard that holds "meta"
        return FileOracle(Path(first.name.partition(":")[2]) / "oracle", store)
    return StoreOracle(store)
