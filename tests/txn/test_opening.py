"""Opening a database: what was opened is closed again when the rest cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import needs

from dataflow.cli_kv import kv
from dataflow.errors import StoreError
from dataflow.kv import Edit, MemoryStore, Store, opening, pack
from dataflow.kv.sharded import ShardedStore
from dataflow.txn import Database


class _Closed(MemoryStore):
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("last", ["refused", "foreign"])
def test_shards_are_closed_when_one_cannot_be_opened_or_is_not_of_them(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Closed] = []

    def opened(address: str) -> Store:
        if address == "refused":
            raise StoreError("no such server")
        made.append(_Closed())
        if address == "foreign":
            made[-1].write([Edit("data", pack(("a",)), b"")])
        return made[-1]

    monkeypatch.setattr(opening, "open_store", opened)
    with pytest.raises(StoreError):
        Database.open(["first", "second", last])
    assert len(made) >= 2
    assert all(store.closed for store in made)


def ten_rows(db: Database) -> None:
    with db.transaction() as t:
        for number in range(10):
            t[number, "x"] = "first"


@pytest.mark.parametrize("kind", ["rocksdb", "lmdb"])
def test_a_shard_is_not_opened_by_itself_and_what_is_acknowledged_stays(kind: str, tmp_path: Path) -> None:
    """A shard alone has its own idea of where rows live: what it acknowledged, the whole would not find."""
    needs({"rocksdb": "rocksdict"}.get(kind, kind))
    addresses = [f"{kind}:{tmp_path}/{name}" for name in "ab"]
    with Database.open(addresses) as together:
        ten_rows(together)
    for index, address in enumerate(addresses):
        for _ in range(2):  # and it is not left open
            with pytest.raises(StoreError, match=f"is shard {index} of the 2 of a store") as refused:
                Database.open(address)
        assert "together, in the order" in str(refused.value)
        for command in (["ls"], ["get", "--literal"], ["scan"], ["stats"], ["gc"], ["locks"], ["resolve"], ["backup"]):
            more = {"get": ["1"], "backup": [f"{tmp_path}/copy"]}.get(command[0], [])
            done = CliRunner().invoke(kv, [*command, address, *more])
            assert (done.exit_code, f"is shard {index} of the 2" in done.output) == (1, True), done.output
    assert len(CliRunner().invoke(kv, ["scan", ",".join(addresses)]).output.splitlines()) == 10
    with Database.open(addresses) as together:
        assert [value for _, value in together.snapshot().scan()] == ["first"] * 10


def test_a_shard_on_a_server_is_not_opened_by_itself(postgres_servers: list[Any]) -> None:
    addresses = [server.address for server in postgres_servers]
    with Database.open(addresses, schema="parts") as together:
        ten_rows(together)
        with pytest.raises(StoreError, match="is shard 1 of the 2 of a store"):
            Database.open(addresses[1], schema="parts")
        assert [value for _, value in together.snapshot().scan()] == ["first"] * 10


def test_the_only_shard_of_a_store_is_all_of_it() -> None:
    store = MemoryStore()
    ten_rows(Database.open(ShardedStore([store])))
    alone = Database.open(store)
    assert alone.engine.name == "percolator"
    assert len(list(alone.snapshot().scan())) == 10


COUNTING = """
import sys
from dataflow.txn import Database
with Database.open(sys.argv[1:], sync=False) as db:
    for number in range(50):
        db.run(lambda t: [t.__setitem__((row, "n"), t.get(row, "n", 0) + 1) for row in "abcd"], retries=1000)
"""


def test_several_processes_have_shards_in_folders(tmp_path: Path) -> None:
    needs("lmdb")
    addresses = [f"lmdb:{tmp_path}/{name}" for name in "ab"]
    with Database.open(addresses, sync=False) as db:
        for row in "abcd":
            db.run(lambda t, row=row: t.__setitem__((row, "n"), 0))
        before = db.now()
    others = [subprocess.Popen([sys.executable, "-c", COUNTING, *addresses]) for _ in range(2)]
    assert [other.wait() for other in others] == [0, 0]
    with Database.open(addresses) as db:
        assert [value for _, value in db.snapshot().scan()] == [100] * 4
        assert db.now() > before
