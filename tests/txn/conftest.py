"""The databases that the tests in this folder run over: every engine on every store that can carry it.

To run them over one more, add a line to `DATABASES`: a function from the test and a folder of its own to a function that opens the
database; opened again after it was closed, it is the same one. One that needs a server starts it through a fixture:
``request.getfixturevalue("server")``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.kv import MemoryStore
from dataflow.txn import Database
from dataflow.txn.oracle import StoreOracle
from dataflow.txn.percolator import PercolatorEngine

Opening = Callable[..., Database]


def in_memory(engine: Any) -> Callable[[pytest.FixtureRequest, Path], Opening]:
    def made(request: pytest.FixtureRequest, folder: Path) -> Opening:
        store = MemoryStore()
        return lambda **options: Database.open(store, engine=engine, sync=False, **options)

    return made


def on_rocksdb(engine: Any) -> Callable[[pytest.FixtureRequest, Path], Opening]:
    def made(request: pytest.FixtureRequest, folder: Path) -> Opening:
        needs("rocksdict")
        return lambda **options: Database.open(f"rocksdb:{folder}/cells", engine=engine, sync=False, **options)

    return made


def one_phase(request: pytest.FixtureRequest, folder: Path) -> Opening:
    store = MemoryStore()

    def opened(**options: Any) -> Database:
        options.pop("history", None)
        life = options.pop("lock_life", 3.0)
        return Database(PercolatorEngine(store, StoreOracle(store), life=life, sync=False, one_phase=True), **options)

    return opened


def background(request: pytest.FixtureRequest, folder: Path) -> Opening:
    store = MemoryStore()

    def opened(**options: Any) -> Database:
        options.pop("history", None)
        life = options.pop("lock_life", 3.0)
        return Database(PercolatorEngine(store, StoreOracle(store), life=life, sync=False, background=True), **options)

    return opened


DATABASES: dict[str, Callable[[pytest.FixtureRequest, Path], Opening]] = {
    "embedded/memory": in_memory("embedded"),
    "embedded/rocksdb": on_rocksdb("embedded"),
    "percolator/memory": in_memory("percolator"),
    "percolator/rocksdb": on_rocksdb("percolator"),
    "percolator in one phase": one_phase,
    "percolator with late secondaries": background,
}


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")


@pytest.fixture(params=DATABASES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Opens a database of this test's own, with options of `Database.open`; what is still open is closed at the end."""
    make = DATABASES[request.param](request, tmp_path)
    opened: list[Database] = []

    def again(**options: Any) -> Database:
        opened.append(make(**options))
        return opened[-1]

    yield again
    for database in opened:
        database.close()


@pytest.fixture
def db(opening: Opening) -> Database:
    """One with history, so that all engines can read the past."""
    return opening(history=True)
