"""The databases that the tests in this folder run over: every engine on every store that can carry it.

To run them over one more, add a line to `DATABASES`: a function from the test and a folder of its own to a function that opens the
database; opened again after it was closed, it is the same one. One that needs a server starts it through a fixture:
``request.getfixturevalue("server")``.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kv"))
from servers import BigtableEmulator, PostgresServer

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


def on_lmdb(engine: Any) -> Callable[[pytest.FixtureRequest, Path], Opening]:
    def made(request: pytest.FixtureRequest, folder: Path) -> Opening:
        needs("lmdb")
        return lambda **options: Database.open(f"lmdb:{folder}/cells", engine=engine, sync=False, durable=False, **options)

    return made


_SCHEMAS = itertools.count()  # or tables: a place of its own for each test


def on_postgres(engine: Any, shards: int) -> Callable[[pytest.FixtureRequest, Path], Opening]:
    def made(request: pytest.FixtureRequest, folder: Path) -> Opening:
        needs("psycopg")
        addresses = [server.address for server in request.getfixturevalue("postgres_servers")[:shards]]
        place = addresses[0] if shards == 1 else addresses
        schema = f"test{next(_SCHEMAS)}"
        return lambda **options: Database.open(place, engine=engine, sync=False, schema=schema, **options)

    return made


def on_bigtable(request: pytest.FixtureRequest, folder: Path) -> Opening:
    pytest.importorskip("google.cloud.bigtable_v2", reason="needs google-cloud-bigtable")
    request.getfixturevalue("bigtable_emulator")
    address = f"bigtable://project/instance/table{next(_SCHEMAS)}"
    return lambda **options: Database.open(address, **options)


DATABASES: dict[str, Callable[[pytest.FixtureRequest, Path], Opening]] = {
    "embedded/memory": in_memory("embedded"),
    "embedded/rocksdb": on_rocksdb("embedded"),
    "percolator/memory": in_memory("percolator"),
    "percolator/rocksdb": on_rocksdb("percolator"),
    "percolator in one phase": one_phase,
    "percolator with late secondaries": background,
    "embedded/lmdb": on_lmdb("embedded"),
    "percolator/lmdb": on_lmdb("percolator"),
    "native/postgres": on_postgres("native", 1),
    "percolator/two postgres": on_postgres("percolator", 2),
    "percolator/bigtable": on_bigtable,
}


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[list[PostgresServer]]:
    """Two servers for all tests."""
    started = [PostgresServer(), PostgresServer()]
    yield started
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def bigtable_emulator() -> Iterator[None]:
    """Google's emulator, where the clients look for it."""
    emulator = BigtableEmulator()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BIGTABLE_EMULATOR_HOST", emulator.host)
        yield
    emulator.stop()


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
