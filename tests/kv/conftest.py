"""The stores that the contract in this folder holds for. To hold it for one more, add a line to `BACKENDS`.

A backend is a function from the test and a folder of its own to an address; opening the same address again opens the same store. One
that needs a server starts it through a fixture: ``request.getfixturevalue("server")``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow.kv.opening import open_store
from dataflow.kv.store import FAMILIES, Edit, Store

BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "memory": lambda request, folder: "memory:",
    "rocksdb": lambda request, folder: f"rocksdb:{needs('rocksdict', folder)}/cells",
}


def needs(package: str, folder: Path) -> Path:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    return folder


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
