"""Files by URLs of all kinds: how they are named, and that they are read."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.errors import PreflightError

WAYS: list[dict[str, Any]] = [{}, {"mode": "processes", "workers": 1}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "t.txt").write_text("x\ny\n")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "a.csv", "a.csv")
        archive.write(tmp_path / "a.csv", "d/b.csv")
    return tmp_path


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """A server of the folder, on this machine."""
    pytest.importorskip("aiohttp", reason="fsspec reads the web with aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *said: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("options", WAYS)
def test_files_of_the_web_are_read(web: str, options: dict[str, Any]) -> None:
    assert Pipeline().read_text(f"{web}/t.txt").collect(progress=False, **options) == ["x", "y"]
    assert Pipeline().read_csv(f"{web}/a.csv").collect(progress=False, **options) == [{"a": 1, "b": 2}]


def test_a_file_that_the_web_has_not_is_an_error(web: str) -> None:
    with pytest.raises(PreflightError, match="no file matches"):
        Pipeline().read_text(f"{web}/none.txt").collect(progress=False)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    "url", ["zip://a.csv::{0}/x.zip", "zip://d/*.csv::{0}/x.zip", "zip://d::{0}/x.zip", "simplecache::file://{0}/a.csv"]
)
def test_chained_urls_are_read(folder: Path, url: str, options: dict[str, Any]) -> None:
    assert Pipeline().read_csv(url.format(folder)).collect(progress=False, **options) == [{"a": 1, "b": 2}]


def test_hive_numbers_are_as_large_as_int64(tmp_path: Path) -> None:
    for value in (2**63 - 1, -(2**63)):
        (tmp_path / f"k={value}").mkdir()
        (tmp_path / f"k={value}" / "a.csv").write_text("a\n1\n")
    assert sorted(row["k"] for row in Pipeline().read_csv(str(tmp_path)).collect(progress=False)) == [-(2**63), 2**63 - 1]


@pytest.mark.parametrize("given", ["{0}", "file://{0}", "~/x=9/d", "file://{0}/*/a.csv"])
def test_columns_of_folders_are_those_below_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "x=9" / "d"
    (root / "k=1").mkdir(parents=True)
    (root / "k=1" / "a.csv").write_text("a\n1\n")
    assert Pipeline().read_csv(given.format(root)).collect(progress=False) == [{"a": 1, "k": 1}]
