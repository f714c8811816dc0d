"""The stores that the contract in this folder holds for. To hold it for one more, add a line to `BACKENDS`.

A backend is a function from the test and a folder of its own to an address; opening the same address again opens the same store. One
that needs a server starts it through a fixture: ``request.getfixturevalue("server")``.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import BigtableEmulator, PostgresServer

from dataflow.kv.opening import open_store
from dataflow.kv.store import FAMILIES, Edit, Store

BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "memory": lambda request, folder: "memory:",
    "rocksdb": lambda request, folder: f"rocksdb:{needs('rocksdict', folder)}/cells",
    "postgres": lambda request, folder: emptied(request.getfixturevalue("postgres")),
    "postgres shards": lambda request, folder: "sharded:" + "|".join(map(emptied, request.getfixturevalue("postgres_shards"))),
    "bigtable": lambda request, folder: request.getfixturevalue("bigtable_table"),
}


def needs(package: str, folder: Path) -> Path:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    return folder


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


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store of its own for this test; of a server's, an empty one."""
    return BACKENDS[request.param](request, tmp_path)


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = open_store(address)
    wipe(opened)
    yield opened
    opened.close()


def wipe(store: Store) -> None:
    """Delete everything but the mark of the format, which sorts above all packed keys."""
    for family in FAMILIES:
        edits = [Edit(family, key, None) for key, _ in store.scan(family, b"", b"\x66")]
        for edit in edits:
            store.write([edit], sync=False)
