"""Temporary folders of a process that was killed are removed by the next one; those of the living never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow import Pipeline
from dataflow.driving import folders
from dataflow.driving.folders import Folder, remove_dead

HOLD = """
import sys, time
from dataflow.driving.folders import Folder
folder = Folder("a-run", sys.argv[1])
open(folder.path + "/shuffle.run", "w").close()
print(folder.path, flush=True)
time.sleep(60)
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_those_of_the_living_stay_and_those_of_the_killed_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, folder = holder(tmp_path)
    try:
        remove_dead(str(tmp_path))
        assert (folder / "shuffle.run").exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert folder.exists()
    monkeypatch.setattr(folders, "_looked", set())  # as a new process
    Pipeline().create([1]).collect(spill_folders=[str(tmp_path)], mode="in_process")
    assert list(tmp_path.iterdir()) == []


def test_what_may_be_anothers_stays(tmp_path: Path) -> None:
    """A folder without a lock, one whose lock is of another machine, a link, a folder that is not called like ours."""
    for name, owner in (("dataflow-none", None), ("dataflow-elsewhere", "another-machine"), ("precious", os.uname().nodename)):
        (tmp_path / name).mkdir()
        if owner is not None:
            (tmp_path / name / ".lock").write_text(owner)
    (tmp_path / "dataflow-link").symlink_to(tmp_path / "precious")
    remove_dead(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"dataflow-none", "dataflow-elsewhere", "precious", "dataflow-link"}
    assert (tmp_path / "precious" / ".lock").exists()


def test_a_dead_one_beside_goes(tmp_path: Path) -> None:
    (tmp_path / "dataflow-dead").mkdir()
    (tmp_path / "dataflow-dead" / ".lock").write_text(os.uname().nodename)
    remove_dead(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_without_locks_a_folder_is_one_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    folder = Folder("a-run", str(tmp_path))
    assert Path(folder.path).is_dir() and ".lock" not in os.listdir(folder.path)
    remove_dead(str(tmp_path))
    assert Path(folder.path).is_dir()
    folder.close()
    assert not list(tmp_path.iterdir())
