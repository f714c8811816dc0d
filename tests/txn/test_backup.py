"""A copy of a store, opened or restored, is the database of that moment, and time goes on in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import needs

from dataflow.cli_kv import kv
from dataflow.txn import Database


def backup_and_open(db: Database, kind: str, folder: Path) -> str:
    db.backup(str(folder / "copy"))
    with db.transaction() as t:
        t["a", "x"] = "of later"
    db.close()
    return f"{kind}:{folder}/copy"


def backup_and_restore_by_command(db: Database, kind: str, folder: Path) -> str:
    db.close()  # RocksDB is for one process at a time
    for command in (["backup", f"{kind}:{folder}/cells", f"{folder}/copy"], ["restore", f"{folder}/copy", f"{kind}:{folder}/restored"]):
        done = CliRunner().invoke(kv, command)
        assert done.exit_code == 0, done.output
    return f"{kind}:{folder}/restored"


@pytest.mark.parametrize("copied", [backup_and_open, backup_and_restore_by_command])
@pytest.mark.parametrize("engine", ["embedded", "percolator"])
@pytest.mark.parametrize(("kind", "package"), [("rocksdb", "rocksdict"), ("lmdb", "lmdb")])
def test_a_copy_is_the_database_of_its_moment_and_time_goes_on(kind: str, package: str, engine: Any, copied: Any, tmp_path: Path) -> None:
    needs(package)
    db = Database.open(f"{kind}:{tmp_path}/cells", engine=engine, sync=False)
    for number in range(5):
        with db.transaction() as t:
            t["a", "x"] = t["b", "x"] = number
            t["gone", "x"] = number
    db.run(lambda t: t.delete("gone", "x"))
    db.collect_garbage()
    before = db.now()
    address = copied(db, kind, tmp_path)
    for value in (4, 5):  # and the copy is opened again, as any database
        with Database.open(address, sync=False) as copy:
            assert copy.now() >= before
            assert copy.frontier() >= before
            with copy.snapshot() as s:
                assert dict(s.scan()) == {("a", "x"): value, ("b", "x"): value}
            with copy.transaction() as t:
                t["a", "x"] = t["b", "x"] = t["a", "x"] + 1
            assert t.committed is not None
            assert t.committed > before
            before = t.committed
            copy.collect_garbage()
            assert copy.snapshot()["b", "x"] == value + 1
