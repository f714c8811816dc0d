"""The stores that the contract in this folder holds for. To hold it for one more, add a line to `BACKENDS`.

A backend is a function from the test and a folder of its own to an address and options. One that needs a
server starts it through a fixture: ``request.getfixturevalue("server")``.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import BigtableEmulator, PostgresServer

from dataflow.kv.opening import open_store
from dataflow.kv.store import FAMILIES, Edit, Store


class Backend(NamedTuple):
    """How to open a store: its address, and options. The same again opens the same store."""

    address: str
    options: dict[str, Any]

    def open(self) -> Store:
        return open_store(self.address, **self.options)


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")


def _rocksdb(request: pytest.FixtureRequest, folder: Path) -> Backend:
    needs("rocksdict")
    return Backend(f"rocksdb:{folder}/cells", {"cache": "8MiB"})


def _lmdb(request: pytest.FixtureRequest, folder: Path) -> Backend:
    needs("lmdb")
    # not durable: for what the contract says of one machine's processes, the disk need not be waited for; test_lmdb.py has the other kind
    return Backend(f"lmdb:{folder}/cells", {"durable": False})


BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], Backend]] = {
    "memory": lambda request, folder: Backend("memory:", {}),
    "rocksdb": _rocksdb,
    "lmdb": _lmdb,
    "postgres": lambda request, folder: Backend(emptied(request.getfixturevalue("postgres")), {}),
    "postgres shards": lambda request, folder: Backend("sharded:" + "|".join(map(emptied, request.getfixturevalue("postgres_shards"))), {}),
    "bigtable": lambda request, folder: Backend(request.getfixturevalue("bigtable_table"), {}),
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="needs psycopg")
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_shards(postgres: PostgresServer) -> Iterator[list[PostgresServer]]:
    """Two servers: the one of all tests, and one more."""
    second = PostgresServer()
    yield [postgres, second]
    second.stop()


@pytest.fixture(scope="session")
def bigtable() -> Iterator[BigtableEmulator]:
    pytest.importorskip("google.cloud.bigtable_v2", reason="needs google-cloud-bigtable")
    emulator = BigtableEmulator()
    os.environ["BIGTABLE_EMULATOR_HOST"] = emulator.host
    yield emulator
    del os.environ["BIGTABLE_EMULATOR_HOST"]
    emulator.stop()


_TABLES = itertools.count()


@pytest.fixture
def bigtable_table(bigtable: BigtableEmulator) -> str:
    """The address of a table of the test's own."""
    return f"bigtable://project/instance/table{next(_TABLES)}"


def emptied(server: PostgresServer) -> str:
    """The address of a server, with nothing laid down in it."""
    import psycopg

    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("drop schema if exists dataflow cascade")
    return server.address


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: no test takes the machine's power away, so none need wait for its disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 1 << 30:
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="dataflow-kv-", dir=memory))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, folder: Path) -> Backend:
    """A store of its own for this test; of a server's, `store` empties it."""
    return BACKENDS[request.param](request, folder)


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    opened = backend.open()
    wipe(opened)
    yield opened
    opened.close()


def wipe(store: Store) -> None:
    """Delete everything but the mark of the format, which sorts above all packed keys."""
    for family in FAMILIES:
        edits = [Edit(family, key, None) for key, _ in store.scan(family, b"", b"\x66")]
        for edit in edits:
            store.write([edit], sync=False)
