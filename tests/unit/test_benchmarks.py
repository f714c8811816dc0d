"""The benchmarks' own judgement: results that differ are told apart, and the command runs contenders and compares them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.job import Contender, Input, Job
from benchmarks.jobs.plain import plain
from benchmarks.jobs.tpch.data import generator
from benchmarks.measure import Measured
from benchmarks.results import columns_fingerprint
from benchmarks.table import rows_of

ROOT = Path(__file__).parents[2]


def written(folder: Path, *parts: list[tuple[int, int]]) -> Path:
    folder.mkdir()
    for number, rows in enumerate(parts):
        pq.write_table(pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]}), folder / f"{number}.parquet")
    return folder


def test_order_is_part_of_a_sorts_result(tmp_path: Path) -> None:
    right = columns_fingerprint(written(tmp_path / "right", [(1, 2), (1, 2)], [(1, 3), (2, 0)]), ("a", "b"))
    assert columns_fingerprint(written(tmp_path / "one file", [(1, 2), (1, 2), (1, 3), (2, 0)]), ("a", "b")) == right
    for name, parts in {"within": [[(1, 3), (1, 2)], [(1, 2), (2, 0)]], "between": [[(1, 2), (2, 0)], [(1, 2), (1, 3)]]}.items():
        assert columns_fingerprint(written(tmp_path / name, *parts), ("a", "b")) == f"{right}, not sorted"


def test_a_row_less_or_a_value_changed_is_another_result(tmp_path: Path) -> None:
    kept = columns_fingerprint(written(tmp_path / "kept", [(1, 2), (1, 3)]))
    assert columns_fingerprint(written(tmp_path / "moved", [(1, 3), (1, 2)])) == kept
    assert columns_fingerprint(written(tmp_path / "less", [(1, 2)])) != kept
    assert columns_fingerprint(written(tmp_path / "changed", [(1, 2), (1, 4)])) != kept


def test_a_plain_copy_has_the_rows_and_not_the_arrow_types(tmp_path: Path) -> None:
    path = tmp_path / "tables" / "t.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"s": pa.array(["a", "b"], pa.string_view())}), path)
    copied = pq.read_table(plain(path))
    assert copied.schema.field("s").type == pa.string()
    assert copied["s"].to_pylist() == ["a", "b"]
    assert pq.read_schema(path).field("s").type == pa.string_view()


@pytest.mark.parametrize(
    ("contender", "seconds", "verdict"),
    [
        (Contender("peer", "", goal=1.0), 1.0, ">= 1x met"),
        (Contender("peer", "", goal=1.0), 0.9, ">= 1x MISSED"),
        (Contender("forced", "", most_times=2.5), 2.5, "<= 2.5x met"),
        (Contender("forced", "", most_times=2.5), 2.6, "<= 2.5x MISSED"),
        (Contender("imports", "", margin=0.25), 0.75, "ours <= 0.25 s more met"),
        (Contender("imports", "", margin=0.25), 0.5, "ours <= 0.25 s more MISSED"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_goals_are_judged_against_the_baseline(contender: Contender, seconds: float, verdict: str) -> None:
    base = Contender("ours", "", baseline=True)
    job = Job("job", "", {"full": 1}, lambda folder, size: Input("", ""), lambda target, printed: "", (base, contender))
    runs = {"ours": [Measured(printed={"seconds": 1.0})], contender.name: [Measured(printed={"seconds": seconds})]}
    assert rows_of(job, runs, {}, "full")[1].goal == verdict


def test_the_command_compares_contenders_with_the_first(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    if generator() is None:
        pytest.skip("the tables are made by tpchgen-cli, which is not installed")
    jobs = ["tiny_query", "sort_table", "group_table", "join_table"]
    command = [sys.executable, "-m", "benchmarks", *jobs, "--size", "0.01", "--repeat", "1", "--only", "duckdb", "--data", str(tmp_path)]
    made = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=240)
    assert made.returncode == 0, made.stdout + made.stderr
    lines = [line.split() for line in made.stdout.splitlines()]
    assert sum(line[:1] == ["ours"] and line[1] != "-" for line in lines) == len(jobs)
    assert sum(line[:1] in (["DuckDB"], ["DuckDB,"]) and "-" not in line and "wrong" not in line for line in lines) == len(jobs)
    assert "left out by --only" in made.stdout
