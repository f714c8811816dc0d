"""Short attempts: a worker has its next one before it is done, and others get it back where it waits in vain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.driving import ahead
from dataflow.driving.ahead import Ahead
from tests.faults.test_workers import once
from tests.ray.conftest import whole
from tests.ray.test_faults import numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that a worker had as its next one; on a busy machine, too, where the first attempts take a second."""
    monkeypatch.setattr(ahead, "SHORT", 3.0)
    tasks: list[str] = []
    takes = Ahead.takes

    def noting(self: Any, worker: Any, queued: Any) -> None:
        tasks.append(queued.attempt.task)
        takes(self, worker, queued)

    monkeypatch.setattr(Ahead, "takes", noting)
    return tasks


def test_what_waits_behind_a_long_attempt_is_had_back_and_runs_elsewhere(tmp_path: Path, options: Options, taken: list[str]) -> None:
    """The long one ends only when all others are done."""
    (tmp_path / "done").mkdir()

    def work(n: int) -> int:
        import os
        import time

        limit = time.monotonic() + 60
        while n == 60 and len(os.listdir(tmp_path / "done")) < 119 and time.monotonic() < limit:
            time.sleep(0.01)
        open(tmp_path / "done" / str(n), "w").close()
        return n if n != 60 or time.monotonic() < limit else -1

    p = Pipeline()
    numbers(p, 120, 120).map(work).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == list(range(120)) and result.retries == 0
    assert len(taken) > 20


def test_what_waits_at_a_worker_that_dies_runs_elsewhere(tmp_path: Path, options: Options, taken: list[str]) -> None:
    first = once(tmp_path / "killed")

    def work(n: int) -> int:
        import os
        import signal
        import time

        time.sleep(0.01)
        if n == 60 and first():
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    p = Pipeline()
    numbers(p, 120, 120).map(work).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == list(range(120)) and result.retries == 1
    assert len(taken) > 20 and os.path.exists(tmp_path / "killed")
