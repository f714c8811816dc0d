"""A store from its address, or addresses, and the engine that suits it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataflow.errors import Report, StoreError
from dataflow.kv import Store
from dataflow.kv import opening as stores
from dataflow.txn.embedded import EmbeddedEngine
from dataflow.txn.engine import Engine
from dataflow.txn.ledger import OwnedLedger, SharedLedger
from dataflow.txn.oracle import FileOracle, Oracle, RequestedOracle, StoreOracle
from dataflow.txn.percolator import PercolatorEngine

__all__ = ["engine_for", "open_store"]


def open_store(address: str | os.PathLike[str] | Sequence[str] | Store, **options: Any) -> Store:
    """The store at an address; several addresses are shards of one; a store is itself."""
    if isinstance(address, (str, os.PathLike)):
        return stores.open_store(os.fspath(address), **options)
    if isinstance(address, Store):
        return address
    from dataflow.kv.sharded import ShardedStore

    return ShardedStore([stores.open_store(one, **options) for one in address])


def engine_for(store: Store, name: str | None, *, sync: bool, history: bool, life: float) -> Engine:
    """The engine of that name on a store, or the fastest that the store allows."""
    able = [
        *(["embedded"] if hasattr(store, "snapshot") and (not store.shared or hasattr(store, "exclusive")) else []),
        *(["native"] if hasattr(store, "session") else []),
        "percolator",
    ]
    name = name or able[0]
    if name not in able:
        raise StoreError(
            Report(
                f"the {name} engine cannot run on {store.name}",
                hint=f"engine= may be {' or '.join(able)} there; without it {able[0]} is taken",
            )
        )
    if name == "embedded":
        return EmbeddedEngine(SharedLedger(store) if store.shared else OwnedLedger(store), sync=sync, history=history)
    if name == "native":
        from dataflow.txn.native import NativeEngine

        return NativeEngine(store, sync=sync, history=history)
    return PercolatorEngine(store, _oracle(store), life=life, sync=sync, background=store.atomic == "row" or store.shared)


def _oracle(store: Store) -> Oracle:
    if (counting := getattr(store, "next_timestamps", None)) is not None:
        return RequestedOracle(counting)
    if store.shared:
        return FileOracle(Path(store.name.partition(":")[2]) / "oracle")
    return StoreOracle(store)
