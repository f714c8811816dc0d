"""Workers that a run leaves for the next: only where that cannot be told from new ones, but by the time that it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col
from runners.local import kept
from tests.faults.test_workers import workers_now

pytestmark = pytest.mark.slow
OPTIONS: dict[str, Any] = {"mode": "processes", "placement": "partitioned", "workers": 2, "progress": False}


PATIENCE = kept.PATIENCE


@pytest.fixture(autouse=True)
def none_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kept, "PATIENCE", 20.0)  # on a busy machine a worker is ended that takes half a second to park
    kept.end_kept()
    yield
    kept.end_kept()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return written(tmp_path, 1)


def written(folder: Path, factor: int) -> Path:
    path = folder / f"numbers-{factor}.parquet"
    pq.write_table(pa.table({"k": [i % 7 for i in range(1000)], "v": [factor * i for i in range(1000)]}), path, row_group_size=100)
    return path


def sums(path: Path, **options: Any) -> Any:
    return Pipeline().read_parquet(str(path)).group_by("k").agg(s=col("v").sum()).sort("k").collect(**OPTIONS | options)


def expected(factor: int) -> list[dict[str, int]]:
    return [{"k": k, "s": factor * sum(i for i in range(1000) if i % 7 == k)} for k in range(7)]


def processes() -> set[int]:
    return {one.body.process.pid for one in kept._kept}


def test_a_run_takes_the_workers_of_the_last_one(table: Path) -> None:
    assert sums(table) == expected(1)
    first = processes()
    assert first and first <= set(workers_now())
    assert sums(table) == expected(1)
    assert processes() == first


def test_nothing_of_a_run_is_taken_for_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases of two runs have the same names, and so have the lists of the files between them."""
    monkeypatch.setattr("dataflow.driving.sending.MANY", 1)
    assert [sums(written(tmp_path, factor)) for factor in (1, 2, 3)] == [expected(1), expected(2), expected(3)]


def test_kept_workers_hold_no_file_of_their_run_but_two_small_ones(table: Path) -> None:
    sums(table)
    for process in processes():
        held = [os.readlink(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd")]
        assert {os.path.splitext(name)[1] for name in held if "dataflow-" in name} <= {".stack (deleted)", ".mark (deleted)"}


def named(table: Path, **options: Any) -> Any:
    return Pipeline().read_parquet(str(table)).map(json.dumps).collect(**OPTIONS | options)


def nested(table: Path, **options: Any) -> Any:
    return Pipeline().read_parquet(str(table)).map(lambda record: record["v"]).collect(**OPTIONS | options)


def over_columns(table: Path, **options: Any) -> Any:
    return (
        Pipeline().read_parquet(str(table)).map(lambda record: {"w": record["v"]}, columns=["v"]).select("w").collect(**OPTIONS | options)
    )


def of_a_class(table: Path, **options: Any) -> Any:
    class Weight(int):
        pass

    return Pipeline().create([Weight(n) for n in range(100)]).redistribute(4).collect(**OPTIONS | options)


@pytest.mark.parametrize("run", [named, nested, over_columns, of_a_class])
def test_workers_in_which_there_was_code_of_the_users_are_ended(table: Path, run: Any) -> None:
    run(table, workers=1)
    assert not processes() and not workers_now()


def test_workers_end_when_a_run_of_the_users_code_follows(table: Path) -> None:
    sums(table, workers=1)
    assert processes()
    nested(table, workers=1)
    assert not processes() and not workers_now()


@pytest.mark.parametrize("changed", ["environment", "folder", "path", "mask", "errors", "limit"])
def test_workers_of_other_surroundings_are_not_taken(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    sums(table)
    first = processes()
    assert first
    undo: Any = lambda: None  # noqa: E731
    match changed:
        case "environment":
            monkeypatch.setenv("TZ", "Asia/Tokyo")
        case "folder":
            monkeypatch.chdir(tmp_path)
        case "path":
            monkeypatch.syspath_prepend(str(tmp_path))
        case "mask":
            before = os.umask(0o077)
            undo = lambda: os.umask(before)  # noqa: E731
        case "errors":
            copy = os.dup(2)
            file = os.open(tmp_path / "errors", os.O_CREAT | os.O_WRONLY)
            os.dup2(file, 2)
            undo = lambda: (os.dup2(copy, 2), os.close(copy), os.close(file))  # noqa: E731
        case "limit":
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
            undo = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))  # noqa: E731
    try:
        assert sums(table) == expected(1)
        assert processes() and not processes() & first
        assert not set(workers_now()) & first, "those of before are still there"
    finally:
        undo()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_that_died_or_hang_meanwhile_are_replaced(table: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    sums(table)
    first = processes()
    monkeypatch.setattr(kept, "PATIENCE", PATIENCE)
    for process in first:
        os.kill(process, number)
    begun = time.monotonic()
    assert sums(table) == expected(1)
    assert time.monotonic() - begun < 2 * PATIENCE + 10
    monkeypatch.setattr(kept, "PATIENCE", 20.0)
    sums(table)
    assert processes() and not processes() & first and not set(workers_now()) & first


def test_a_worker_that_is_killed_in_the_next_run_costs_an_attempt(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums(table)
    first, killed = processes(), []

    def taken(*arguments: Any) -> Any:
        found = kept.take(*arguments)
        if found is not None and not killed:
            killed.append(found[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)
        return found

    monkeypatch.setattr("runners.local.pool.take", taken)
    assert sums(table) == expected(1)
    assert killed and killed[0] in first and killed[0] not in processes()


def test_workers_are_ended_when_no_run_comes(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "IDLE", 0.3)
    sums(table)
    until = time.monotonic() + 10
    while workers_now() and time.monotonic() < until:
        time.sleep(0.05)
    assert not processes() and not workers_now()


def test_large_workers_are_not_kept(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LARGEST", 1 << 20)
    sums(table)
    assert not processes() and not workers_now()


def test_a_thread_has_workers_of_its_own(table: Path) -> None:
    """The system ends them with the thread that started them."""
    sums(table)
    first = processes()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append((sums(table), processes())))
    thread.start()
    thread.join()
    assert found[0][0] == expected(1) and not found[0][1] & first
    assert sums(table) == expected(1)


SCRIPT = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.faults.test_kept_workers import expected, processes, sums
from tests.faults.test_workers import workers_now
from runners.local import kept
kept.PATIENCE = 20.0
table = Path({table!r})
for _ in range(5):  # on a busy machine the run may be over before a worker has come that could be kept
    sums(table)
    if first := processes():
        break
child = os.fork()
if not child:
    assert not processes()
    os._exit(0 if sums(table) == expected(1) and not processes() & first else 1)
assert os.waitpid(child, 0)[1] == 0
assert first <= set(workers_now()) and sums(table) == expected(1) and first <= processes()
print(*first)
"""


def test_a_child_of_a_fork_leaves_its_parents_workers_alone_and_all_end_with_their_process(table: Path) -> None:
    text = SCRIPT.format(path=[path for path in sys.path if path], table=str(table))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() and not any(os.path.exists(f"/proc/{process}") for process in done.stdout.split())
