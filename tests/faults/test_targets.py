"""Outputs to targets that are not what they seem: relative paths, other spellings, hidden files, files that come meanwhile."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.errors import OutputError, PreflightError, SchemaError
from dataflow.io.commit import Commit
from dataflow.io.recovery import began, recover, runs_here
from dataflow.io.sink import FileSink
from tests.faults.test_commit import in_child_pid

Q: dict[str, Any] = {"progress": False}


def writing(path: Any, values: Any, mode: str = "error") -> Pipeline:
    p = Pipeline()
    p.create(values).write_jsonl(str(path), mode=mode)
    return p


def lines(path: Any) -> list[int]:
    return [json.loads(line) for file in sorted(Path(path).glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_fault_58_a_commit_to_relative_paths_is_finished_by_who_stands_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commit = Commit("c0ffee", [FileSink("out/one", "text"), FileSink("out/two", "text")])
    commit.begin()
    commit.stage()
    commit.decide()
    runs_here.discard("c0ffee")  # it dies
    for path in tmp_path.rglob("_OWNER"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "pid": in_child_pid(), "began": ""}))
    monkeypatch.chdir("/")
    for target in ("one", "two"):
        recover(commit.targets[0].fs, str(tmp_path / "out" / target))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".one.manifest.json", ".two.manifest.json", "one", "two"]


@pytest.mark.parametrize("name", [".git/HEAD", ".env", "_notes.md"])
def test_a_folder_of_hidden_files_is_not_replaced_unless_that_is_said(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "out" / name
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(PreflightError, match="exists and holds data"):
        writing(tmp_path / "out", [1]).run(**Q)
    assert kept.read_text() == "mine"
    writing(tmp_path / "out", [1], "overwrite").run(**Q)
    assert lines(tmp_path / "out") == [1] and not kept.exists()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    writing(tmp_path / "out", [1]).run(**Q)
    assert lines(tmp_path / "out") == [1]


def test_what_came_to_the_target_during_the_run_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def meanwhile(n: int) -> int:
        target.mkdir()
        (target / "precious.txt").write_text("mine")
        return n

    p = Pipeline()
    p.create([1]).map(meanwhile).write_jsonl(str(target))
    with pytest.raises(OutputError, match="exists and holds data"):
        p.run(**Q)
    assert [path.name for path in target.iterdir()] == ["precious.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_two_threads_that_write_to_one_new_target_one_is_told(tmp_path: Path) -> None:
    said: list[str] = []

    def together(number: int) -> int:
        (tmp_path / f"begun-{number}").touch()
        limit = time.monotonic() + 20
        while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < limit:
            time.sleep(0.001)
        return number

    def write(number: int) -> None:
        p = Pipeline()
        p.create([number]).map(together).write_jsonl(str(tmp_path / "out"))
        try:
            p.run(mode="in_process", **Q)
            said.append(f"wrote {number}")
        except OutputError as error:
            said.append(str(error).splitlines()[0])

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (wrote,) = [text for text in said if text.startswith("wrote")]
    assert [text for text in said if "exists and holds data" in text]
    assert lines(tmp_path / "out") == [int(wrote[-1])]


@pytest.mark.parametrize("spelled", ["file://{0}/out", "{0}/./out/", "{0}/link/out", "{0}/linked", "out", "~/out"])
def test_two_outputs_to_one_place_are_an_error_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "out")
    for inner in ("", "/inner"):
        p = Pipeline()
        p.create([1]).write_jsonl(f"{tmp_path}/out")
        p.create([2]).write_jsonl(spelled.format(tmp_path).rstrip("/") + inner)
        with pytest.raises(PreflightError, match="lie one inside the other" if inner else "two outputs go to"):
            p.run(**Q)


@pytest.mark.parametrize("path", [".", "./", "..", "{0}", "../here"])
def test_the_current_folder_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(PreflightError, match="is the current folder, or holds it|holds data"):
        writing(path.format(here), [1], "overwrite").run(**Q)
    writing(path.format(here) if path != ".." else here, [1], "append").run(**Q)
    assert lines(here) == [1]


def test_a_staging_folder_whose_process_has_another_beginning_is_of_a_dead_run(tmp_path: Path) -> None:
    commit = Commit("c0ffee", [FileSink(str(tmp_path / "out"), "text")])
    commit.begin()
    owner = tmp_path / ".out.dataflow-c0ffee" / "_OWNER"
    said = json.loads(owner.read_text())
    assert said["began"] == began(os.getpid()) != ""
    runs_here.discard("c0ffee")
    owner.write_text(json.dumps({**said, "pid": os.getppid()}))  # whose number it was before a restart
    writing(tmp_path / "out", [1]).run(**Q)
    assert lines(tmp_path / "out") == [1] and not owner.exists()


def test_a_run_on_another_machine_is_told_with_the_folder_to_remove(tmp_path: Path) -> None:
    commit = Commit("c0ffee", [FileSink(str(tmp_path / "out"), "text")])
    commit.begin()
    staging = tmp_path / ".out.dataflow-c0ffee"
    owner = staging / "_OWNER"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "host": "old-container"}))
    runs_here.discard("c0ffee")
    with pytest.raises(OutputError, match=rf"on old-container(?s:.*)remove {staging}"):
        writing(tmp_path / "out", [1]).run(**Q)


def appended(path: Path, how: str, first: Any, then: Any, other: str = "") -> Any:
    for values, mode, form in ((first, "error", how), (then, "append", other or how)):
        p = Pipeline()
        getattr(p.create(values), f"write_{form}")(str(path), mode=mode)
        p.run(**Q)
    return getattr(Pipeline(), f"read_{how}")(str(path)).collect(**Q)


@pytest.mark.parametrize("how", ["csv", "avro", "parquet", "ipc"])
def test_rows_with_other_columns_are_not_appended(tmp_path: Path, how: str) -> None:
    if how == "avro":
        pytest.importorskip("fastavro")
    assert sorted(row["a"] for row in appended(tmp_path / "out", how, [{"a": 1, "b": 2}], [{"b": 3, "a": 4}])) == [1, 4]
    with pytest.raises(SchemaError, match="the rows to append do not have the columns of .*: 'b' differs"):
        appended(tmp_path / "other", how, [{"a": 1}], [{"a": 1, "b": 2}])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".other.d")] == []


def test_rows_of_another_format_are_not_appended(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="holds csv, and the rows to append are parquet"):
        appended(tmp_path / "out", "csv", [{"a": 1}], [{"a": 1}], "parquet")
