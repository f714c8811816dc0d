"""Workers and machines of a cluster that die, crash, hang, stall: nothing is lost, nothing comes twice, or the error is the user's.

Functions are nested, so that they travel by value; what must happen once, or be counted, goes through files: the processes that do
it end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import DataflowError, DoFn, Pipeline, counter
from dataflow.errors import MemoryLimitError, TaskTimeoutError, WorkerCrashedError
from dataflow.scheduling.events import Policy
from tests.faults.test_workers import count_of, numbers, once, poisonous, tally
from tests.ray.conftest import until, whole

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]
LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def shown(error: BaseException) -> str:
    """The text of an error, after a look at whether it is one for the user."""
    text = str(error)
    assert len(text.splitlines()) <= 20, text
    for word in ("Traceback", "ray.exceptions", "RayActorError", "ActorDied", "_raylet", "runners/ray"):
        assert word not in text, text
    return text


@contextlib.contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Another thread that acts on the cluster while a run goes on, and is told when it is over."""
    over = threading.Event()
    thread = threading.Thread(target=act, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Noting(DoFn[Any, Any]):
    """Notes the process in a folder, and takes its time over every 25th number. ``together``: begins when so many have noted theirs."""

    def __init__(self, folder: Path, seconds: float, together: int = 1) -> None:
        self.folder, self.seconds, self.together = str(folder), seconds, together
        folder.mkdir(exist_ok=True)

    def start_bundle(self) -> None:
        import os
        import time

        open(f"{self.folder}/{os.getpid()}", "w").close()
        limit = time.monotonic() + 30
        while len(os.listdir(self.folder)) < self.together and time.monotonic() < limit:
            time.sleep(0.01)

    def process(self, n: int) -> Iterator[int]:
        import time

        if n % 25 == 0:
            time.sleep(self.seconds)
        yield n


def noted(folder: Path) -> list[int]:
    """The processes that noted themselves and live."""
    return [int(name) for name in os.listdir(folder) if os.path.exists(f"/proc/{name}")]


def kill(process: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


# -- 1, 2, 3: one worker dies


def test_fault_01_a_worker_killed_in_the_middle_of_a_map_costs_one_task(tmp_path: Path, options: Options) -> None:
    first, bundles = once(tmp_path / "killed"), tally(tmp_path / "bundles")

    class Double(DoFn[int, int]):
        def start_bundle(self) -> None:
            bundles()

        def process(self, n: int) -> Iterator[int]:
            import os
            import signal

            if n == 617 and first():
                os.kill(os.getpid(), signal.SIGKILL)
            yield 2 * n

    p = Pipeline()
    numbers(p, 1000, 8).parallel_do(Double()).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == [2 * n for n in range(1000)]
    assert result.retries == 1 and (tmp_path / "killed").exists()
    assert count_of(tmp_path / "bundles") == 8 + 1, "another task than the killed one ran again"


def test_fault_01_a_death_in_a_grouping_phase_loses_and_repeats_no_group(tmp_path: Path, options: Options) -> None:
    first = once(tmp_path / "killed")

    def total(key: int, values: Any) -> int:
        import os
        import signal

        if key == 7 and first():
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(values)

    p = Pipeline()
    p.create(range(5000)).key_by(lambda n: n % 50).group_by_key(partitions=4).map_groups(total).write_jsonl(str(tmp_path / "out"))
    assert p.run(**options).retries == 1
    assert whole(tmp_path / "out") == sorted([k, sum(range(k, 5000, 50))] for k in range(50))


def test_fault_01_counters_and_skips_are_counted_once_when_a_task_runs_again(tmp_path: Path, options: Options) -> None:
    first = once(tmp_path / "killed")

    def check(n: int) -> int:
        import os
        import signal

        counter("seen").inc()
        if n == 500 and first():
            os.kill(os.getpid(), signal.SIGKILL)
        if n % 100 == 99:
            raise ValueError("set aside")
        return n

    p = Pipeline()
    p.create(range(1000)).map(check, on_error="skip").write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert result.counters["seen"] == 1000 and result.skipped == 10 and len(list(result.skipped_records())) == 10
    assert whole(tmp_path / "out") == [n for n in range(1000) if n % 100 != 99]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_fault_02_a_worker_killed_around_the_end_of_writing_gives_one_attempts_files(tmp_path: Path, options: Options, moment: str) -> None:
    first = once(tmp_path / "killed")

    class Patching(DoFn[int, int]):
        def setup(self) -> None:
            import os
            import signal

            from dataflow.io.sink_writer import SinkWriter

            close = SinkWriter.close

            def closing(writer: Any) -> Any:
                files = close(writer) if moment == "after" else None
                if first():
                    os.kill(os.getpid(), signal.SIGKILL)
                return files or close(writer)

            SinkWriter.close = closing  # type: ignore[method-assign]

        def process(self, n: int) -> Iterator[int]:
            yield n

    p = Pipeline()
    numbers(p, 1000, 4).parallel_do(Patching()).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == list(range(1000)) and result.retries == 1 and (tmp_path / "killed").exists()


def test_fault_02_a_worker_killed_between_the_end_of_an_attempt_and_its_report(tmp_path: Path, options: Options) -> None:
    first = once(tmp_path / "killed")

    class Patching(DoFn[int, int]):
        def setup(self) -> None:
            import os
            import signal

            from __main__ import Channel  # type: ignore[attr-defined]  # the worker's own

            send = Channel.send

            def sending(channel: Any, *message: Any) -> None:
                if message[0] == "finished" and first():
                    os.kill(os.getpid(), signal.SIGKILL)
                send(channel, *message)

            Channel.send = sending

        def process(self, n: int) -> Iterator[int]:
            yield n

    p = Pipeline()
    numbers(p, 1000, 4).parallel_do(Patching()).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == list(range(1000)) and result.retries == 1 and (tmp_path / "killed").exists()


def test_fault_03_a_crash_in_native_code_that_happens_once_is_tried_again(tmp_path: Path, options: Options) -> None:
    crash = once(tmp_path / "crashed")

    def native(n: int) -> int:
        if n == 50 and crash():
            import ctypes

            ctypes.string_at(0)
        return n

    assert sorted(Pipeline().create(range(100)).map(native).collect(**options)) == list(range(100))
    assert (tmp_path / "crashed").exists()


def test_fault_03_a_crash_in_native_code_that_happens_always_is_an_error_with_row_and_stack(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "tries")

    def broken_native_call(n: int) -> int:
        if n == 50:
            note()
            import ctypes

            ctypes.string_at(0)
        return n

    with pytest.raises(WorkerCrashedError) as caught:
        Pipeline().create(range(100)).map(broken_native_call).collect(**options)
    text = shown(caught.value)
    assert "worker crashed" in text and "SIGSEGV" in text and "row 51\n" in text
    assert "broken_native_call" in text, "the stack of faulthandler is missing"
    assert "test_faults.py" in text, "the user's line is missing"
    assert count_of(tmp_path / "tries") <= 7 + 4


# -- 4: stopped


def test_fault_04_a_worker_that_is_stopped_loses_its_task_to_another_and_its_late_output_is_nobodys(
    tmp_path: Path, options: Options
) -> None:
    first = once(tmp_path / "stopped")
    path = str(tmp_path / "process")

    def stop(n: int) -> int:
        import os
        import signal

        if n == 100 and first():
            with open(path, "w") as out:
                out.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        return n

    p = Pipeline()
    numbers(p, 1000, 4).map(stop).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options, task_timeout=2)
    assert whole(tmp_path / "out") == list(range(1000)) and result.retries == 1
    stopped = int(Path(path).read_text())
    kill(stopped, signal.SIGCONT)
    assert until(lambda: not os.path.exists(f"/proc/{stopped}")), "the stopped worker is still there"
    assert whole(tmp_path / "out") == list(range(1000))


# -- 5, 6: many die


def test_fault_05_a_worker_killed_every_two_seconds_for_the_whole_job(tmp_path: Path, options: Options) -> None:
    killed: list[int] = []
    noting = Noting(tmp_path / "processes", 0.5)

    def killer(over: threading.Event) -> None:
        while not over.wait(2.0):
            for process in noted(tmp_path / "processes")[:1]:
                kill(process)
                killed.append(process)

    p = Pipeline()
    numbers(p, 1000, 40).parallel_do(noting).write_jsonl(str(tmp_path / "out"))
    with meanwhile(killer):
        p.run(**options)
    assert len(killed) >= 2
    assert whole(tmp_path / "out") == list(range(1000))


def test_fault_06_workers_that_all_die_at_once_are_replaced(tmp_path: Path, options: Options) -> None:
    killed: list[int] = []
    noting = Noting(tmp_path / "processes", 0.3, together=3)  # a machine may take longer to come than two take for all

    def killer(over: threading.Event) -> None:
        until(lambda: len(noted(tmp_path / "processes")) >= 3)
        for process in noted(tmp_path / "processes"):
            kill(process)
            killed.append(process)

    numbers(Pipeline(), 3, 3).collect(**options)  # the machines are there
    p = Pipeline()
    numbers(p, 500, 20).parallel_do(noting).write_jsonl(str(tmp_path / "out"))
    with meanwhile(killer):
        p.run(**options)
    assert len(killed) >= 3 and len(os.listdir(tmp_path / "processes")) >= 4
    assert whole(tmp_path / "out") == list(range(500))


def test_fault_06_workers_that_always_die_are_an_error_after_few_deaths(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "deaths")

    class Deadly(DoFn[int, int]):
        def setup(self) -> None:
            import os
            import signal

            note()
            os.kill(os.getpid(), signal.SIGKILL)

        def process(self, n: int) -> Iterator[int]:
            yield n

    with pytest.raises(WorkerCrashedError, match="worker crashed") as caught:
        numbers(Pipeline(), 100, 4).parallel_do(Deadly(), on_error="skip").collect(**options)
    shown(caught.value)
    assert 3 <= count_of(tmp_path / "deaths") <= 18


# -- 7: poison


def test_fault_07_a_record_that_kills_its_worker_is_set_aside(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "deaths")
    p = Pipeline()
    p.create(range(512)).map(poisonous(note, 300), on_error="skip", label="deadly").write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == [n for n in range(512) if n != 300]
    (record,) = result.skipped_records()
    assert record.step == "deadly" and record.declared.startswith("test_faults.py:") and record.record == "300"
    assert count_of(tmp_path / "deaths") <= 9 + 4


def test_fault_07_a_record_that_kills_its_worker_ends_the_run_where_nothing_may_be_skipped(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "deaths")
    p = Pipeline()
    p.create(range(64)).map(poisonous(note, 30), label="deadly").write_jsonl(str(tmp_path / "out"))
    with pytest.raises(WorkerCrashedError) as caught:
        p.run(**options)
    text = shown(caught.value)
    assert "record   30\n  from     the given values, row 31\n" in text and 'on_error="skip"' in text and "SIGKILL" in text
    assert not (tmp_path / "out").exists()


# -- errors of the user's own


def test_an_error_of_a_users_function_is_shown_as_the_local_runner_shows_it(tmp_path: Path, options: Options) -> None:
    def price(text: str) -> float:
        return float(text)

    def text(**options: Any) -> str:
        with pytest.raises(DataflowError) as caught:
            Pipeline().create(["1", "2", "three"]).map(price).collect(**options)
        return shown(caught.value)

    judged = text(mode="in_process", progress=False)
    found = text(**options)
    assert [line for line in found.splitlines() if "attempt" not in line] == [line for line in judged.splitlines() if "attempt" not in line]
    assert "record   'three'" in found and "in price" in found


# -- 11, 12: stragglers and skew


def test_fault_11_a_straggler_is_overtaken_by_a_backup_attempt(tmp_path: Path, options: Options) -> None:
    stall = once(tmp_path / "stalled")

    def work(n: int) -> int:
        if n == 111 and stall():
            import time

            time.sleep(100)
        return n

    p = Pipeline()
    numbers(p, 1200, 12).map(work).write_jsonl(str(tmp_path / "out"))
    begun = time.monotonic()
    result = p.run(**options, policy=Policy(backup_floor=0.3))
    assert time.monotonic() - begun < 60
    assert result.backups >= 1 and (tmp_path / "stalled").exists()
    assert whole(tmp_path / "out") == list(range(1200))


def test_fault_25_a_machine_whose_disk_is_full_does_not_end_the_run(tmp_path: Path, options: Options) -> None:
    """It fails at once and so is always idle; what failed there goes to another."""
    fills, full = once(tmp_path / "fills"), tmp_path / "full"

    def work(n: int) -> int:
        import errno
        import os
        import time

        if n == 10 and fills():
            full.write_text(str(os.getppid()))  # the agent of this machine
        if full.exists() and full.read_text() == str(os.getppid()):
            raise OSError(errno.ENOSPC, "No space left on device", "/spill/x")
        time.sleep(0.002)
        return n

    p = Pipeline()
    numbers(p, 1200, 24).map(work).write_jsonl(str(tmp_path / "out"))
    result = p.run(**options)
    assert whole(tmp_path / "out") == list(range(1200)) and result.retries >= 1


def test_fault_12_one_key_with_half_of_the_values(tmp_path: Path, options: Options) -> None:
    pairs = [(0 if n % 2 else n, n) for n in range(40_000)]
    grouped = Pipeline().create(pairs).redistribute(6).as_table().group_by_key(partitions=6).map_groups(lambda key, values: sum(values))
    result = dict(grouped.collect(**options))
    assert result[0] == sum(range(1, 40_000, 2)) and len(result) == 20_000


# -- 14: many tiny tasks


def test_fault_14_many_tiny_tasks_leave_no_open_files_and_take_little_memory(options: Options) -> None:
    """A hundred thousand are a benchmark (`ray_wide`)."""

    def look(n: int) -> tuple[int, int, int]:
        import os

        return n, os.getpid(), len(os.listdir("/proc/self/fd"))

    def run(tasks: int) -> list[tuple[int, int, int]]:
        return sorted(map(tuple, numbers(Pipeline(), tasks, tasks).map(look).collect(**options)))

    def here() -> tuple[int, int]:
        held = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return len(os.listdir("/proc/self/fd")), held

    run(10)
    files, held = here()
    found = run(800)
    assert [n for n, _, _ in found] == list(range(800))
    for process in {process for _, process, _ in found}:
        opened = [count for _, one, count in found if one == process]
        assert max(opened) - min(opened) <= 8, "a worker keeps files open"
    assert until(lambda: here()[0] <= files + 4), "the driver keeps files open"
    assert here()[1] < held + 100_000, "the driver's memory grows by more than 60 kB a task"


# -- 15: what cannot be loaded


def test_fault_15_a_dofn_whose_setup_fails_is_an_error_that_names_it(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "setups")

    class NoModel(DoFn[int, int]):
        def setup(self) -> None:
            note()
            raise FileNotFoundError("model.bin is not there")

        def process(self, n: int) -> Iterator[int]:
            yield n

    with pytest.raises(DataflowError, match="model.bin is not there") as caught:
        numbers(Pipeline(), 100, 4).parallel_do(NoModel()).collect(**options)
    shown(caught.value)
    assert count_of(tmp_path / "setups") <= 3


# -- 20: hangs


def test_fault_20_a_task_that_hangs_once_is_tried_again(tmp_path: Path, options: Options) -> None:
    stall = once(tmp_path / "stalled")

    def work(n: int) -> int:
        if n == 50 and stall():
            import threading

            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        return n

    assert sorted(Pipeline().create(range(100)).map(work).collect(**options, task_timeout=2)) == list(range(100))
    assert (tmp_path / "stalled").exists()


def test_fault_20_a_task_that_hangs_twice_is_an_error_that_shows_where(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "tries")

    def waits_for_ever(n: int) -> None:
        if n == 50:
            import threading

            note()
            threading.Event().wait()

    with pytest.raises(TaskTimeoutError) as caught:
        Pipeline().create(range(100)).map(waits_for_ever).collect(**options, task_timeout=2)
    text = shown(caught.value)
    assert "waits_for_ever" in text, "the stack does not show the user's function"
    assert "task_timeout" in text and count_of(tmp_path / "tries") == 2


# -- 21, 22: memory


def test_fault_21_an_allocation_that_the_system_refuses_is_tried_in_smaller_parts(tmp_path: Path, options: Options) -> None:
    """RLIMIT_AS in the worker: NumPy's allocation for many rows fails, for few it does not."""

    def greedy(batch: Any) -> Any:
        import resource

        import numpy as np

        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, before[1]))
        try:
            np.empty(len(batch) << 26, np.uint8)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        return [n.as_py() + 1 for n in batch]

    p = Pipeline()
    p.create(range(4000)).map_batches(greedy).write_jsonl(str(tmp_path / "out"))
    p.run(**options)
    assert whole(tmp_path / "out") == list(range(1, 4001))


def test_fault_21_a_task_that_always_runs_out_of_memory_is_an_error_that_names_the_step(tmp_path: Path, options: Options) -> None:
    note = tally(tmp_path / "tries")

    def hungry(batch: Any) -> Any:
        note()
        raise MemoryError

    with pytest.raises(MemoryLimitError) as caught:
        Pipeline().create(range(1000)).map_batches(hungry, label="hungry").collect(**options)
    text = shown(caught.value)
    assert "ran out of memory" in text and "hungry" in text and "memory=" in text
    assert count_of(tmp_path / "tries") <= 40


def test_fault_22_a_shuffle_of_ten_times_the_memory(tmp_path: Path, options: Options) -> None:
    texts = [f"{n % 5003:06d}" + "x" * 400 for n in range(60_000)]  # 24 MB
    grouped = (
        Pipeline()
        .create(texts)
        .redistribute(6)
        .key_by(lambda text: text[:6])
        .group_by_key()
        .map_groups(lambda key, values: len(list(values)))
    )
    found = dict(grouped.collect(**{**options, "memory": "4MiB"}))
    assert len(found) == 5003 and sum(found.values()) == 60_000
