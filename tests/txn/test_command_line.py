"""The command line of databases: what it looks at is there already, and what it restores is a copy for that address."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import needs

from dataflow.cli_kv import kv
from dataflow.txn import Database

KINDS = pytest.mark.parametrize(("kind", "other", "package"), [("rocksdb", "lmdb", "rocksdict"), ("lmdb", "rocksdb", "lmdb")])


def command(*words: str) -> Result:
    return CliRunner().invoke(kv, words)


def refused(*words: str) -> str:
    done = command(*words)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception  # and no trace
    assert done.output.startswith("Error: ")
    return done.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def filled(address: str) -> None:
    with Database.open(address) as db, db.transaction() as t:
        t["ann", "balance"] = 100


COMMANDS = (["ls"], ["get", "ann"], ["scan"], ["stats"], ["locks"], ["resolve"], ["gc"], ["backup", "copy"])


@pytest.mark.parametrize("name", COMMANDS, ids=lambda words: words[0])
@KINDS
def test_no_command_makes_a_store_of_a_wrong_address(name: list[str], kind: str, other: str, package: str, here: Path) -> None:
    needs(package)
    first, *rest = name
    assert "there is no such folder" in refused(first, f"{kind}:typo", *rest)
    assert not list(here.iterdir())
    (here / "empty").mkdir()
    assert "no store" in refused(first, f"{kind}:empty", *rest)
    assert not list((here / "empty").iterdir())
    assert "there is no such folder" in refused(first, f"{kind}:one,{kind}:two", *rest)
    assert sorted(here.iterdir()) == [here / "empty"]
    assert "in memory" in refused(first, "memory:", *rest)


@KINDS
def test_a_store_is_not_looked_for_among_the_files_of_another(kind: str, other: str, package: str, here: Path) -> None:
    needs("rocksdict")
    needs("lmdb")
    filled(f"{kind}:cells")
    before = sorted((here / "cells").iterdir())
    assert "the folder holds" in refused("ls", f"{other}:cells")
    assert sorted((here / "cells").iterdir()) == before
    assert command("get", f"{kind}:cells", "ann", "balance").output == "100\n"


def test_no_command_lays_a_store_down_in_a_server(postgres_servers: list[Any]) -> None:
    import psycopg

    address = postgres_servers[0].address
    asked = "select from pg_namespace where nspname = 'dataflow'"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("drop schema if exists dataflow cascade")
        assert "holds no store" in refused("ls", address)
        assert connection.execute(asked).fetchone() is None
        filled(address)
        assert command("get", address, "ann", "balance").output == "100\n"
        connection.execute("drop schema dataflow cascade")


@KINDS
@pytest.mark.parametrize("address", ["{kind}:new", "{kind}://new", "{kind}:deep/er/new"])
def test_a_copy_is_restored_to_where_its_address_is_opened(address: str, kind: str, other: str, package: str, here: Path) -> None:
    needs(package)
    filled(f"{kind}:cells")
    assert command("backup", f"{kind}:cells", "copy").exit_code == 0
    address = address.format(kind=kind)
    done = command("restore", "copy", address)
    assert (done.exit_code, done.output) == (0, f"restored to {address}, as of time 1\n")
    assert command("get", address, "ann", "balance").output == "100\n"
    assert "is there already" in refused("restore", "copy", address)
    (here / "file").touch()
    assert "is there already" in refused("restore", "copy", f"{kind}:file")


@KINDS
def test_a_copy_does_not_take_the_place_of_the_folder_one_is_in(
    kind: str, other: str, package: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(package)
    filled(f"{kind}:cells")
    assert command("backup", f"{kind}:cells", "copy").exit_code == 0
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    for address in (f"{kind}:.", f"{kind}:{here / 'empty'}"):
        assert "this is run in" in refused("restore", "../copy", address)
    assert command("restore", "../copy", f"{kind}:cells").exit_code == 0


@pytest.mark.parametrize(
    "address", ["memory:", "postgresql://ann:hunter2@127.0.0.1:1/x", "bigtable://a/b/c", "sharded:a|b", "a,b", "redis://x", "", "{other}:x"]
)
@KINDS
def test_a_copy_is_not_restored_where_it_would_be_no_store(address: str, kind: str, other: str, package: str, here: Path) -> None:
    needs(package)
    filled(f"{kind}:cells")
    assert command("backup", f"{kind}:cells", "copy").exit_code == 0
    before = sorted(here.iterdir())
    assert "hunter2" not in refused("restore", "copy", address.format(other=other))
    assert sorted(here.iterdir()) == before


@KINDS
def test_a_restore_that_fails_leaves_nothing_and_can_be_done_again(kind: str, other: str, package: str, here: Path) -> None:
    needs(package)
    (here / "foreign").mkdir()
    (here / "foreign" / "theirs").touch()
    assert "holds no copy" in refused("restore", "foreign", f"{kind}:new")
    filled(f"{kind}:cells")
    assert command("backup", f"{kind}:cells", "copy").exit_code == 0
    shutil.copytree("copy", "damaged")
    cut = here / "damaged" / "data.mdb" if kind == "lmdb" else next((here / "damaged").glob("MANIFEST-*"))
    cut.write_bytes(b"not what it was" * 1000)
    before = sorted(here.iterdir())
    for _ in range(2):
        assert "cannot be opened" in refused("restore", "damaged", f"{kind}:deep/er/new")
        assert sorted(here.iterdir()) == before
    assert command("restore", "copy", f"{kind}:deep/er/new").exit_code == 0


def test_a_restore_leaves_what_another_has_put_there_meanwhile(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("rocksdict")
    filled("cells")
    assert command("backup", "cells", "copy").exit_code == 0
    copied = shutil.copytree

    def slowly(*given: Any) -> Any:
        filled("new")
        return copied(*given)

    monkeypatch.setattr(shutil, "copytree", slowly)
    assert "cannot be copied" in refused("restore", "copy", "new")
    assert command("get", "new", "ann", "balance").output == "100\n"
    assert not list(here.glob("new.partial*"))


def test_what_is_printed_is_json_and_rows_are_told_apart(here: Path) -> None:
    needs("rocksdict")
    rows = ["5", 5, "ann", "", "two\nlines", "blank space", 10**5000]
    with Database.open("cells") as db, db.transaction() as t:
        for row in rows:
            t[row, "x"] = float("nan")
        t["ann", "odd\tname"] = "plain"
    shown = [line.split("\t")[0] for line in command("ls", "cells").output.splitlines()]
    assert sorted(shown) == sorted(["'5'", "5", "ann", "''", "'two\\nlines'", "blank space", "1" + "0" * 5000])
    assert "ann\t'odd\\tname', x" in command("ls", "cells").output
    printed = command("scan", "cells", "--column", "x").output.splitlines()
    assert {json.loads(line, parse_int=float, parse_constant=pytest.fail)[2] for line in printed} == {"nan"}
    assert json.loads(command("get", "cells", "ann").output, parse_constant=pytest.fail)["x"] == "nan"
    for line in ("'5'", "5", "''", "'two\\nlines'"):
        assert command("get", "cells", line, "--literal").exit_code == 0


def test_half_a_pair_of_surrogates_is_printed(here: Path) -> None:
    needs("rocksdict")
    filled("cells")
    with Database.open("cells") as db, db.transaction() as t:
        t["ann", "half"] = "\ud800"
    assert command("get", "cells", "ann", "half").output == "\\ud800\n"
    assert json.loads(command("get", "cells", "ann").output)["half"] == "\ud800"


def test_a_limit_is_no_negative_number(here: Path) -> None:
    needs("rocksdict")
    filled("cells")
    for name in ("ls", "scan"):
        assert command(name, "cells", "--limit", "-1").exit_code == 2


def test_a_missing_login_is_said(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    needs("google.cloud.bigtable_v2")
    monkeypatch.delenv("BIGTABLE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth.default", _no_credentials)
    assert "BIGTABLE_EMULATOR_HOST" in refused("ls", "bigtable://project/instance/table")


def _no_credentials(*given: Any, **options: Any) -> Any:
    from google.auth.exceptions import DefaultCredentialsError

    raise DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]
