"""Addresses of stores, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dataflow.errors import StoreError
from dataflow.kv import open_store


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://localhost", "vanish at failover"),
        ("rediss://localhost", "lmdb:folder"),
        ("rockdb:x", "did you mean 'rocksdb:'"),
        ("postgresq://x", "did you mean 'postgresql:'"),
        ("mongodb://x", "there are memory:, rocksdb:"),
        ("rocksdb:", "names no folder"),
        ("memory:name", "has no name"),
    ],
)
def test_an_address_of_nothing_says_what_there_is(address: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        open_store(address)


@pytest.mark.parametrize(("address", "package", "extra"), [("rocksdb:x", "rocksdict", "rocksdb"), ("lmdb:x", "lmdb", "lmdb")])
def test_a_missing_package_names_its_extra(address: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StoreError, match=rf"pip install 'dataflow-engine\[{extra}\]'"):
        open_store(address)


def test_the_libraries_are_loaded_by_who_opens_a_store() -> None:
    program = "import sys, dataflow.kv; print([name for name in ('rocksdict', 'lmdb', 'psycopg', 'google.cloud') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
