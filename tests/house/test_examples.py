"""Every example runs, and gives what it says; the tour notebook too, cell by cell."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = ["to be or not to be\n", "that is the question\n", "\n", "def merge_keys(): pass\n"]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text("".join(TEXT))
    return folder


def run_example(name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "dataflow",
        "run",
        str(ROOT / "examples" / name),
        "-p",
        f"input={folder}/*.txt",
        "-p",
        f"output={folder}/../out",
    ]
    return subprocess.run([*command, *more], capture_output=True, text=True, cwd=folder)


def test_word_count(books: Path) -> None:
    done = run_example("word_count.py", books)
    assert done.returncode == 0, done.stderr
    found = {row["key"]: row["value"] for row in pq.read_table(books / "../out").to_pylist()}
    assert found == dict(collections.Counter("".join(TEXT * 3).split()))


def test_grep(books: Path) -> None:
    done = run_example("grep.py", books, "-p", "pattern=question", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counters"] == {"matches": 3}
    lines = [line for part in (books / "../out").glob("part-*") for line in part.read_text().splitlines()]
    assert sorted(lines) == [f"{books}/{n}.txt:2: that is the question" for n in range(3)]


def test_inverted_index(books: Path) -> None:
    assert run_example("inverted_index.py", books).returncode == 0
    rows = {row["word"]: row for row in pq.read_table(books / "../out").to_pylist()}
    assert rows["question"] == {"word": "question", "files": 3, "paths": [f"{books}/{n}.txt" for n in range(3)]}


def test_external_sort(books: Path) -> None:
    done = run_example("external_sort.py", books, "--memory", "1MiB", "--mode", "processes")
    assert done.returncode == 0, done.stderr
    lines = "".join(part.read_text() for part in sorted((books / "../out").glob("part-*"))).splitlines(keepends=True)
    assert lines == sorted(TEXT * 3)


def test_the_tour_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "tour.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    space: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec"), space)
    assert os.path.exists(tmp_path / "out" / "lengths")


def test_library_report(tmp_path: Path) -> None:
    package = tmp_path / "books" / "words"
    package.mkdir(parents=True)
    (package / "a.py").write_text("# one\nx = 1\n")
    (package / "b.py").write_text("y = 2\n")
    done = run_example("library_report.py", tmp_path / "books", "-p", f"input={tmp_path}/books/**/*.py", "-p", f"output={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    (part,) = (tmp_path / "out").glob("part-*")
    assert part.read_text().splitlines()[1] == '"words",3,1,9,2,"well"'


def index_of(database: Path) -> dict[str, set[str]]:
    """The words of a living index, with their documents; their counts must agree."""
    from dataflow.txn import Database

    with Database.open(str(database)) as db, db.snapshot() as now:
        found: dict[str, set[str]] = collections.defaultdict(set)
        counted: dict[str, int] = {}
        for (row, column), value in now.scan():
            if row[0] == "word":
                found[row[1]].add(Path(column).name)
            elif row[0] == "combined":
                counted[row[2]] = value
        assert counted == {word: len(documents) for word, documents in found.items()}
        return found


def test_a_living_index_is_killed_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    folder, database = tmp_path / "docs", tmp_path / "index"
    folder.mkdir()
    documents = {f"{number}.txt": f"shared word{chr(97 + number % 26) * 3} number{chr(97 + number % 7)}" for number in range(300)}

    def write() -> None:
        for name, text in documents.items():
            (folder / name).write_text(text)

    def expected() -> dict[str, set[str]]:
        words: dict[str, set[str]] = collections.defaultdict(set)
        for name, text in documents.items():
            for word in text.split():
                words[word].add(name)
        return words

    params = ["-p", f"input={folder}/*.txt", "-p", f"database={database}", "-p", "word=shared"]
    command = [sys.executable, "-m", "dataflow", "run", str(ROOT / "examples" / "living_index.py"), *params]
    write()
    for patience in (0.35, 0.45, 0.55, 0.65):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shared: 300 documents")
    assert index_of(database) == expected()

    documents["1.txt"] = "other"
    del documents["2.txt"]
    (folder / "2.txt").unlink()
    write()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith("2 documents changed"), done.stderr
    assert index_of(database) == expected()
    assert subprocess.run(command, capture_output=True, text=True).stderr.startswith("0 documents changed, 0 observers ran")
