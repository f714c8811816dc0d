"""The folder of what runs leave for people is their user's alone."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from dataflow import Pipeline
from dataflow.driving.driver import _left_of
from dataflow.errors import StepError


@pytest.fixture(autouse=True)
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files where others write too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def fail() -> None:
    with pytest.raises(StepError):
        Pipeline().create([0]).map(lambda n: 1 // n).collect(mode="in_process")


def test_nobody_else_may_look_into_it(common: Path) -> None:
    fail()
    (folder,) = common.glob("dataflow-runs-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and list(folder.glob("*/trace.txt"))


def test_one_that_everybody_could_look_into_is_closed(common: Path) -> None:
    folder = Path(_left_of("a")).parent
    folder.chmod(0o755)
    fail()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_not_followed(common: Path) -> None:
    """Old folders of runs are removed: those of whoever a link leads to would be."""
    precious = common / "home" / "precious"
    precious.mkdir(parents=True)
    os.utime(precious, (0, 0))
    folder = Path(_left_of("a")).parent
    folder.rmdir()
    folder.symlink_to(common / "home")
    fail()
    assert precious.exists() and os.listdir(common / "home") == ["precious"]
