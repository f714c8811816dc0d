"""The command line as a cron job sees it: exit codes, JSON, errors on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from dataflow import Pipeline, param
p = Pipeline()
print("a script may print")
p.create(range(param("n", 3))).map(str, label="text").write_text(param("out"))
p.run()
"""
FAILS = GOOD.replace("map(str", "map(lambda x: 1 // 0")
SKIPS = GOOD.replace("map(str, ", "map(lambda x: str(6 // x), on_error='skip', ")
DRAWS = GOOD.replace("map(str", "map(lambda x: str(__import__('random').random())")
DIES = GOOD.replace("map(str", "map(lambda x: __import__('os').kill(__import__('os').getpid(), 9)")


def dataflow(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dataflow", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "job.py"


def test_zero_and_one_line_of_json(script: Path, tmp_path: Path) -> None:
    script.write_text(GOOD)
    done = dataflow("run", "job.py", "-p", "out=out", "-p", "n=5", "--json", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["outputs"][0]["rows"] == 5
    assert "a script may print" in done.stderr
    assert sorted((tmp_path / "out").glob("part-*"))[0].read_text() == "0\n1\n2\n3\n4\n"


def test_one_when_the_users_code_fails(script: Path, tmp_path: Path) -> None:
    script.write_text(FAILS)
    done = dataflow("run", "job.py", "-p", "out=out", cwd=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "job.py:5" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_one_when_a_step_gives_something_else_in_a_second_run_of_its_task(script: Path, tmp_path: Path) -> None:
    script.write_text(DRAWS)
    done = dataflow("run", "job.py", "-p", "out=out", "--check-determinism", "0.01", "--json", cwd=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert json.loads(done.stdout)["error"] == "NotDeterministicError" and "text gave something else" in done.stderr
    assert dataflow("run", "job.py", "-p", "out=out", "--check-determinism", "1.5", cwd=tmp_path).returncode == 2
    assert dataflow("run", "job.py", "-p", "out=out", cwd=tmp_path).returncode == 0


def test_two_for_wrong_usage(script: Path, tmp_path: Path) -> None:
    script.write_text(GOOD)
    assert dataflow("run", "job.py", "--param", "out", cwd=tmp_path).returncode == 2
    missing = dataflow("run", "job.py", cwd=tmp_path)
    assert missing.returncode == 2 and "--param out=" in missing.stderr
    assert dataflow("run", "nowhere.py", cwd=tmp_path).returncode == 2


def test_three_when_records_were_skipped(script: Path, tmp_path: Path) -> None:
    script.write_text(SKIPS)
    done = dataflow("run", "job.py", "-p", "out=out", "--skipped-to", "aside", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    (entry,) = (tmp_path / "aside" / "skipped.jsonl").read_text().splitlines()
    assert "ZeroDivisionError" in json.loads(entry)["error"]


def test_four_when_workers_die(script: Path, tmp_path: Path) -> None:
    script.write_text(DIES)
    done = dataflow("run", "job.py", "-p", "out=out", "--mode", "processes", "--workers", "1", "--json", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["error"] == "WorkerCrashedError"


def test_explain_shows_the_plan_and_runs_nothing(script: Path, tmp_path: Path) -> None:
    script.write_text(GOOD)
    done = dataflow("explain", "job.py", "-p", "out=out", cwd=tmp_path)
    assert done.returncode == 0 and "== Stages" in done.stdout
    assert not (tmp_path / "out").exists()


def test_doctor_and_help(tmp_path: Path) -> None:
    done = dataflow("doctor", cwd=tmp_path)
    assert done.returncode == 0 and "a worker process counted words" in done.stdout
    assert "Exit codes" not in dataflow("--help", cwd=tmp_path).stderr


def test_sql_over_files(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("kind,n\na,1\nb,2\na,3\n")
    sums = "select kind, sum(n) s from t group by kind order by kind"
    done = dataflow("sql", sums, "-t", "t=t.csv", "--format", "csv", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines() == ["kind,s", "a,4", "b,2"], done.stderr
    assert dataflow("sql", sums, "-t", "t=t.csv", "-o", "out", cwd=tmp_path).returncode == 0
    there = dataflow("sql", sums, "-t", "t=t.csv", "-o", "out", cwd=tmp_path)
    assert there.returncode == 1 and "exists and holds data" in there.stderr
    done = dataflow("sql", "select 1 one", "-o", "out", "--mode", "overwrite", cwd=tmp_path)
    assert done.returncode == 0 and len(list((tmp_path / "out").glob("*.parquet"))) == 1
    done = dataflow("sql", "select 1 one", "--mode", "overwrite", cwd=tmp_path)
    assert done.returncode == 2 and "there is no --output" in done.stderr


def test_errors_of_sql_name_its_text_and_no_line_of_ours(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    done = dataflow("sql", "select b from t", "-t", "t=t.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "there is no column 'b'" in done.stderr and "line 1:" in done.stderr and "columns: a" in done.stderr
    assert "declared" not in done.stderr and "callback" not in done.stderr
