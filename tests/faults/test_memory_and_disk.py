"""Too little memory, full and failing disks, too few file handles, changed bytes: the run ends well, or with a clear error."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dataflow import DataflowError, Pipeline
from dataflow.errors import InputError, MemoryLimitError, OutputError, PreflightError, ResourceError, ShardCorruptError
from dataflow.io.files import LocalFiles

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # real memory and disks
MODES = ["in_process", "processes"]


def here(tmp_path, mode="in_process", **more):
    return {
        "mode": mode,
        "workers": 2,
        "progress": False,
        "spill_folders": [str(tmp_path / "spill")],
        "skipped_to": str(tmp_path / "skipped"),
        **more,
    }


def leftovers(folder):
    """What a run should not leave: staging beside targets, files in spill folders."""
    return [
        str(path)
        for path in Path(folder).rglob("*")
        if ".dataflow-" in path.name or (path.parent.name.startswith("spill") and path.exists())
    ]


def lines_of(target):
    return sorted(json.loads(line) for path in Path(target).glob("*.jsonl") for line in path.read_text().splitlines())


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is such a place: forcing hundreds of files to a disk takes long and shows nothing here."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of four megabytes."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# -- 21: a task that needs too much memory


@pytest.mark.parametrize("mode", ["in_process", "processes"])
def test_fault_21_a_task_that_runs_out_of_memory_is_done_in_smaller_parts(tmp_path, mode):
    """Native code that cannot take many rows at once: a part of the rows it can."""

    def greedy(batch):
        if len(batch) > 1500:
            raise MemoryError
        return [n.as_py() + 1 for n in batch]

    p = Pipeline()
    p.create(range(8000)).map_batches(greedy).write_jsonl(str(tmp_path / "out"))
    p.run(**here(tmp_path, mode))
    assert lines_of(tmp_path / "out") == list(range(1, 8001))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("mode", MODES)
def test_fault_21_a_task_that_always_runs_out_of_memory_is_an_error_and_is_not_tried_for_ever(tmp_path, mode):
    tries = tmp_path / "tries"
    path = str(tries)

    def hungry(batch):
        with open(path, "a") as out:
            out.write(".")
        raise MemoryError

    p = Pipeline()
    p.create(range(1000)).map_batches(hungry, label="hungry").write_jsonl(str(tmp_path / "out"))
    with pytest.raises(MemoryLimitError) as caught:
        p.run(**here(tmp_path, mode))
    assert "ran out of memory" in str(caught.value) and "hungry" in str(caught.value) and "memory=" in str(caught.value)
    assert not (tmp_path / "out").exists() and leftovers(tmp_path) == []
    assert tries.stat().st_size <= 40


def test_fault_21_an_allocation_that_the_system_refuses_ends_its_task_and_not_the_driver(tmp_path):
    """RLIMIT_AS in the worker: NumPy's allocation fails."""

    def allocates(n):
        import resource

        import numpy as np

        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
        return int(np.ones(1 << 33, np.uint8)[0])

    with pytest.raises(MemoryLimitError, match="ran out of memory"):
        Pipeline().create([1]).map(allocates).collect(**here(tmp_path, "processes"))
    assert Pipeline().create([1]).collect(progress=False) == [1]


def test_fault_21_a_single_record_without_memory_is_set_aside_where_records_may_be_skipped(tmp_path):
    """Not in the step, which catches it, but in the shuffle below: the record is isolated as one that kills would be."""

    def key(n):
        if n == 300:
            raise MemoryError
        return -n

    p = Pipeline()
    p.create(range(512)).map(lambda n: n, on_error="skip").sort(key=key).write_jsonl(str(tmp_path / "out"))
    result = p.run(**here(tmp_path, "processes"))
    assert lines_of(tmp_path / "out") == [n for n in range(512) if n != 300] and result.skipped == 1


# -- 22: data ten times as large as the memory


def words(count):
    """Tens of megabytes of pairs; keys repeat about ten times."""
    rng = random.Random(22)
    return [(f"key {rng.randrange(count // 10):07d}", f"value {rng.random()} " + "x" * 100) for _ in range(count)]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """About ten megabytes in four files, and the pairs."""
    folder = tmp_path_factory.mktemp("large")
    pairs = words(60_000)
    for number in range(4):
        with open(folder / f"{number}.jsonl", "w") as out:
            out.writelines(json.dumps(pair) + "\n" for pair in pairs[number::4])
    yield str(folder), pairs
    shutil.rmtree(folder)


SMALL = {"memory": "1MiB"}


def read_pairs(p, folder):
    return p.read_jsonl(folder).map(tuple)


@pytest.mark.parametrize("mode", MODES)
def test_fault_22_sorting_ten_times_the_memory(tmp_path, large, mode):
    folder, pairs = large
    p = Pipeline()
    read_pairs(p, folder).sort().write_jsonl(str(tmp_path / "out"))
    result = p.run(**here(tmp_path, mode, **SMALL))
    found = [tuple(json.loads(line)) for path in sorted((tmp_path / "out").glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert found == sorted(pairs)
    assert result.bytes_spilled > 5 * (1 << 20) and leftovers(tmp_path) == []


def test_fault_22_sorting_in_descending_order_ten_times_the_memory(tmp_path, large):
    folder, pairs = large
    found = read_pairs(Pipeline(), folder).as_table().keys().sort(descending=True).collect(**here(tmp_path, **SMALL))
    assert found == sorted((key for key, _ in pairs), reverse=True)


@pytest.mark.parametrize("mode", MODES)
def test_fault_22_grouping_ten_times_the_memory(tmp_path, large, mode):
    folder, pairs = large
    expected = {}
    for key, value in pairs:
        expected.setdefault(key, []).append(value)
    p = Pipeline()
    read_pairs(p, folder).as_table().group_by_key().map_groups(lambda k, values: sorted(values)).write_jsonl(str(tmp_path / "out"))
    result = p.run(**here(tmp_path, mode, **SMALL))
    assert lines_of(tmp_path / "out") == sorted([key, sorted(values)] for key, values in expected.items())
    assert result.bytes_spilled > 5 * (1 << 20) and leftovers(tmp_path) == []


def test_fault_22_joining_ten_times_the_memory(tmp_path, large):
    folder, pairs = large
    p = Pipeline()
    left = read_pairs(p, folder).as_table()
    keys = sorted({key for key, _ in pairs})[::3]
    right = p.create([(key, index) for index, key in enumerate(keys)]).as_table()
    found = left.join(right).collect(**here(tmp_path, **SMALL))
    number = {key: index for index, key in enumerate(keys)}
    assert sorted(found) == sorted((key, (value, number[key])) for key, value in pairs if key in number)
    assert leftovers(tmp_path) == []


def test_fault_22_one_key_with_all_the_values_is_read_from_disk(tmp_path, large):
    folder, pairs = large
    p = Pipeline()

    def measure(key, values):
        first = sum(map(len, values))
        return type(values).__name__, len(values), first == sum(map(len, values))  # twice: it may be iterated again

    found = (
        read_pairs(p, folder)
        .as_table()
        .values()
        .key_by(lambda value: 0)
        .group_by_key()
        .map_groups(measure)
        .collect(**here(tmp_path, **SMALL))
    )
    assert found == [(0, ("SpilledValues", len(pairs), True))]
    assert leftovers(tmp_path) == []


def test_fault_22_the_memory_of_a_worker_stays_near_its_budget(tmp_path):
    """80 MB through a grouping with 32 MiB: what Python and Arrow take by themselves comes on top, the data must not."""
    script = f"""
from dataflow import Pipeline
import json, sys
p = Pipeline()
lines = p.read_text({str(tmp_path / "in")!r})
lines.key_by(lambda line: line[:8]).group_by_key().map_groups(lambda k, v: sum(1 for _ in v)).write_jsonl({str(tmp_path / "out")!r})
result = p.run(mode="processes", workers=2, memory="32MiB", progress=False, spill_folders=[{str(tmp_path / "spill")!r}])
print(json.dumps([result.peak_memory, result.bytes_spilled]))
"""
    (tmp_path / "in").mkdir()
    rng = random.Random(1)
    with open(tmp_path / "in" / "a.txt", "w") as out:
        for _ in range(8):
            block = "".join(f"{rng.randrange(10**8):08d} {'y' * 190}\n" for _ in range(5000))
            for _ in range(10):
                out.write(block)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    peak, spilled = json.loads(done.stdout)
    assert spilled > 60 << 20
    assert peak < (32 << 20) + (220 << 20), f"{peak >> 20} MiB"
    assert sum(count for _, count in lines_of(tmp_path / "out")) == 8 * 50_000


# -- 23: one row larger than the budget


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["map", "group", "sort", "parquet"])
def test_fault_23_a_row_larger_than_the_budget_passes_whole(tmp_path, mode, how):
    big = 24 << 20
    rows = [("a", b"x" * 10), ("b", b"y" * big), ("c", b"z" * 10)]
    c = Pipeline().create(rows)
    options = here(tmp_path, mode, memory="4MiB")
    if how == "map":
        found = c.map(lambda row: (row[0], len(row[1]))).collect(**options)
    elif how == "group":
        found = c.as_table().group_by_key().map_groups(lambda k, v: sum(map(len, v))).collect(**options)
    elif how == "sort":
        found = [(key, len(value)) for key, value in c.sort(key=lambda row: row[0]).collect(**options)]
    else:
        p = Pipeline()
        p.create([{"k": key, "v": value} for key, value in rows]).write_parquet(str(tmp_path / "out"))
        p.run(**options)
        found = [(row["k"], len(row["v"])) for row in Pipeline().read_parquet(str(tmp_path / "out")).collect(**options)]
    assert sorted(found) == [("a", 10), ("b", big), ("c", 10)]
    assert leftovers(tmp_path) == []


# -- 25: the spill folder is full


def heavy(p, count=40_000):
    return p.create(range(count)).map(lambda n: (n % 1000, f"{n:0150d}")).as_table().group_by_key().map_groups(lambda k, v: len(list(v)))


@pytest.mark.parametrize("mode", MODES)
def test_fault_25_a_full_spill_folder_is_an_error_that_names_it(tmp_path, small_disk, mode):
    p = Pipeline()
    heavy(p).write_jsonl(str(tmp_path / "out"))
    with pytest.raises(ResourceError) as caught:
        p.run(**{**here(tmp_path, mode, memory="8MiB"), "spill_folders": [str(small_disk)]})
    assert "no space left" in str(caught.value) and "spill_folders" in str(caught.value)
    assert list(small_disk.iterdir()) == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", MODES)
def test_fault_25_the_error_of_a_full_spill_folder_says_where(tmp_path, small_disk, mode):
    with pytest.raises(ResourceError) as caught:
        heavy(Pipeline()).collect(**{**here(tmp_path, mode, memory="8MiB"), "spill_folders": [str(small_disk)]})
    assert str(small_disk) in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_fault_25_the_next_spill_folder_is_taken_when_one_is_full(tmp_path, small_disk, mode):
    p = Pipeline()
    heavy(p).write_jsonl(str(tmp_path / "out"))
    result = p.run(**{**here(tmp_path, mode, memory="8MiB"), "spill_folders": [str(small_disk), str(tmp_path / "spill")]})
    assert lines_of(tmp_path / "out") == [[k, 40] for k in range(1000)]
    assert result.retries > 0 and list(small_disk.iterdir()) == [] and leftovers(tmp_path) == []


@pytest.mark.parametrize("mode", ["in_process", "processes"])
def test_fault_25_a_spill_folder_that_is_full_from_the_start_is_passed_over(tmp_path, small_disk, mode):
    """Not a byte is free, not even for what the pool keeps there."""
    with open(small_disk / "filler", "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 4096)
    p = Pipeline()
    heavy(p, 20_000).write_jsonl(str(tmp_path / "out"))
    try:
        p.run(**{**here(tmp_path, mode, memory="8MiB"), "spill_folders": [str(small_disk), str(tmp_path / "spill")]})
    finally:
        os.unlink(small_disk / "filler")
    assert lines_of(tmp_path / "out") == [[k, 20] for k in range(1000)]


def test_fault_25_a_run_goes_well_after_space_was_freed(tmp_path, small_disk):
    (small_disk / "filler").write_bytes(b"x" * (3 << 20))
    options = {**here(tmp_path, memory="8MiB"), "spill_folders": [str(small_disk)]}
    p = Pipeline()
    heavy(p, 15_000).write_jsonl(str(tmp_path / "out"))
    with pytest.raises(ResourceError):
        p.run(**options)
    (small_disk / "filler").unlink()
    p.run(**options)
    assert lines_of(tmp_path / "out") == [[k, 15] for k in range(1000)]


# -- 26: the disk of the output is full


class Full:
    """A file that takes no more after so many bytes, over all files."""

    def __init__(self, raw, budget):
        self.raw, self.budget = raw, budget

    def write(self, data):
        self.budget[0] -= len(data)
        if self.budget[0] < 0:
            raise OSError(self.budget[1], os.strerror(self.budget[1]))
        return self.raw.write(data)

    def __getattr__(self, name):
        return getattr(self.raw, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fault_26_a_full_disk_at_any_byte_of_the_output_leaves_the_old_data(tmp_path, monkeypatch, number, form):
    target = tmp_path / "out"

    def write(values):
        p = Pipeline()
        c = p.create([{"n": n} for n in values])
        (c.write_jsonl if form == "jsonl" else c.write_parquet)(str(target), mode="overwrite")
        p.run(**here(tmp_path))

    def content():
        p = Pipeline()
        return sorted(row["n"] for row in (p.read_jsonl if form == "jsonl" else p.read_parquet)(str(target)).collect(**here(tmp_path)))

    old, new = list(range(100)), list(range(100, 400))
    create = LocalFiles.create
    endings = set()
    for at in [200, 400, 800, 1500, 2500, 3000, 3500, 4000, 5000, 10_000]:
        write(old)
        with monkeypatch.context() as patch:
            budget = [at, number]
            patch.setattr(LocalFiles, "create", lambda fs, path, budget=budget: Full(create(fs, path), budget))
            try:
                write(new)
                endings.add("well")
            except (ResourceError, OutputError) as error:
                endings.add("error")
                assert os.strerror(number) in str(error), at
                assert content() == old, at
            else:
                assert content() == new, at
        assert leftovers(tmp_path) == [], at
    assert endings == {"well", "error"}


@pytest.mark.parametrize("at", [0, 1, 50])
def test_fault_26_a_disk_that_is_full_from_the_start_is_a_clear_error(tmp_path, monkeypatch, at):
    create = LocalFiles.create
    budget = [at, errno.ENOSPC]
    monkeypatch.setattr(LocalFiles, "create", lambda fs, path: Full(create(fs, path), budget))
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / "out"))
    with pytest.raises((ResourceError, OutputError), match="No space left"):
        p.run(**here(tmp_path))


def test_fault_26_a_disk_that_is_full_once_costs_a_retry(tmp_path, monkeypatch):
    create = LocalFiles.create
    failures = iter([0])

    def failing(fs, path):
        return Full(create(fs, path), [next(failures, 1 << 30) if "attempts" in path else 1 << 30, errno.ENOSPC])

    monkeypatch.setattr(LocalFiles, "create", failing)
    p = Pipeline()
    p.create(range(100)).write_jsonl(str(tmp_path / "out"))
    assert p.run(**here(tmp_path)).retries == 1
    assert lines_of(tmp_path / "out") == list(range(100)) and leftovers(tmp_path) == []


def test_fault_26_a_small_disk_as_the_target(tmp_path, small_disk):
    p = Pipeline()
    p.create(range(100_000)).map(lambda n: f"{n:0100d}").write_text(str(small_disk / "out"))
    with pytest.raises(ResourceError, match="no space left"):
        p.run(**here(tmp_path, "processes"))
    assert list(small_disk.iterdir()) == []


# -- 27: read and write errors


def in_a_task():
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "run_task":
        frame = frame.f_back
    return frame is not None


def failing_reads(monkeypatch, times, of_tasks, number=errno.EIO):
    """The first reads of sources fail: those of tasks, or those of the driver, which looks at schemas and headers."""
    opened = LocalFiles.open
    left = [times]

    class Failing:
        def __init__(self, raw):
            self.raw = raw

        def read(self, *args):
            return self._do(self.raw.read, *args)

        def readinto(self, *args):
            return self._do(self.raw.readinto, *args)

        def _do(self, act, *args):
            if in_a_task() == of_tasks:
                left[0] -= 1
                if left[0] >= 0:
                    raise OSError(number, os.strerror(number), self.raw.name)
            return act(*args)

        def __getattr__(self, name):
            return getattr(self.raw, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.raw.close()

    monkeypatch.setattr(LocalFiles, "open", lambda fs, path: Failing(opened(fs, path)))
    return left


def inputs(tmp_path, form):
    p = Pipeline()
    c = p.create([{"n": n} for n in range(300)])
    getattr(c, f"write_{form}")(str(tmp_path / "in"))
    p.run(progress=False)
    return lambda: getattr(Pipeline(), f"read_{form}")(str(tmp_path / "in"))


READS = [(form, True) for form in ("jsonl", "csv", "parquet", "ipc")] + [(form, False) for form in ("csv", "parquet", "ipc")]


@pytest.mark.parametrize(("form", "of_tasks"), READS)
def test_fault_27_a_read_error_that_passes_is_tried_again(tmp_path, monkeypatch, form, of_tasks):
    read = inputs(tmp_path, form)
    failing_reads(monkeypatch, 1, of_tasks)
    assert sorted(row["n"] for row in read().collect(**here(tmp_path))) == list(range(300))


@pytest.mark.parametrize(("form", "of_tasks"), READS)
def test_fault_27_a_read_error_that_stays_is_an_error_with_file_and_number(tmp_path, monkeypatch, form, of_tasks):
    read = inputs(tmp_path, form)
    left = failing_reads(monkeypatch, 10**6, of_tasks)
    with pytest.raises(DataflowError) as caught:
        read().collect(**here(tmp_path))
    assert isinstance(caught.value, (InputError, PreflightError))
    text = str(caught.value)
    assert str(tmp_path / "in") in text and ("errno 5" in text or "Errno 5" in text or "EIO" in text)
    assert left[0] > 10**6 - 200, "it was tried without end"


def failing_writes(monkeypatch, times):
    """The first writes to the output fail."""
    create = LocalFiles.create
    left = [times]

    class Failing(Full):
        def write(self, data):
            left[0] -= 1
            if left[0] >= 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return self.raw.write(data)

    monkeypatch.setattr(LocalFiles, "create", lambda fs, path: Failing(create(fs, path), None) if "attempts" in path else create(fs, path))


def test_fault_27_a_write_error_that_passes_is_tried_again(tmp_path, monkeypatch):
    failing_writes(monkeypatch, 1)
    p = Pipeline()
    p.create(range(300)).write_jsonl(str(tmp_path / "out"))
    assert p.run(**here(tmp_path)).retries == 1
    assert lines_of(tmp_path / "out") == list(range(300))


def test_fault_27_a_write_error_that_stays_is_an_error_with_path_and_number(tmp_path, monkeypatch):
    failing_writes(monkeypatch, 10**6)
    p = Pipeline()
    p.create(range(300)).write_jsonl(str(tmp_path / "out"))
    with pytest.raises(DataflowError) as caught:
        p.run(**here(tmp_path))
    assert "errno 5, EIO" in str(caught.value)
    assert not (tmp_path / "out").exists() and leftovers(tmp_path) == []
    assert str(tmp_path / ".out") in str(caught.value) or str(tmp_path / "out") in str(caught.value), "the error does not say where"


@pytest.mark.parametrize("times", [1, 10**6])
def test_fault_27_read_errors_of_shuffle_files(tmp_path, monkeypatch, times):
    from dataflow.shard import places

    left = [times]

    class Os:
        def __getattr__(self, name):
            return getattr(os, name)

        def pread(self, *args):
            left[0] -= 1
            if left[0] >= 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.pread(*args)

    monkeypatch.setattr(places, "os", Os())
    c = Pipeline().create(range(300)).key_by(lambda n: n % 3).group_by_key().map_groups(lambda k, v: sum(v))
    if times == 1:
        assert sorted(c.collect(**here(tmp_path))) == [(k, sum(range(k, 300, 3))) for k in range(3)]
    else:
        with pytest.raises(DataflowError, match="errno 5, EIO"):
            c.collect(**here(tmp_path))


def test_fault_30_a_sync_that_fails_costs_the_attempt(tmp_path, monkeypatch):
    sync = LocalFiles.sync
    synced = []

    def failing(fs, path):
        synced.append(path)
        if len([one for one in synced if "attempts" in one]) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        sync(fs, path)

    p = Pipeline()
    p.create(range(300)).write_jsonl(str(tmp_path / "out"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "sync", lambda fs, path: failing(fs, path) if "/attempts/" in path else sync(fs, path))
        assert p.run(**here(tmp_path)).retries == 1
    assert lines_of(tmp_path / "out") == list(range(300))
    assert len(synced) == 2 and synced[0] != synced[1], "the file whose sync failed was synced again"


# -- 28: targets that cannot be


def refused(tmp_path, target, match):
    """The run ends before any record is touched, and nothing changes."""
    touched = tmp_path / "touched"
    path = str(touched)

    def touch(n):
        open(path, "w").close()
        return n

    p = Pipeline()
    p.create(range(10)).map(touch).write_jsonl(target)
    with pytest.raises(PreflightError, match=match):
        p.run(**here(tmp_path))
    assert not touched.exists(), "work was done before the error"


def test_fault_28_a_target_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("precious")
    refused(tmp_path, str(tmp_path / "out"), "is a file")
    assert (tmp_path / "out").read_text() == "precious"


def test_fault_28_a_target_below_a_file(tmp_path):
    (tmp_path / "file").write_text("precious")
    refused(tmp_path, str(tmp_path / "file" / "out"), "not a folder")
    refused(tmp_path, str(tmp_path / "file" / "deep" / "out"), "not a folder")


def test_fault_28_a_name_that_is_too_long(tmp_path):
    refused(tmp_path, str(tmp_path / ("n" * 250)), "too long")
    refused(tmp_path, str(tmp_path / ("n" * 250) / "out"), "too long")
    refused(tmp_path, str(tmp_path / ("ü" * 130)), "too long")


def test_fault_28_a_path_that_is_too_long_as_a_whole(tmp_path):
    refused(tmp_path, "/".join([str(tmp_path), *["n" * 100] * 45]), "too long")


def test_fault_28_a_name_that_is_long_but_possible_works(tmp_path):
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / ("n" * 190)))
    p.run(**here(tmp_path))
    assert lines_of(tmp_path / ("n" * 190)) == [1]


def test_fault_28_a_name_with_nul(tmp_path):
    refused(tmp_path, str(tmp_path) + "/a\0b", "not a path")


def test_fault_28_a_path_through_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path, str(tmp_path) + "/nowhere/../deep/out", "does not exist|not a folder")


def test_fault_28_a_path_with_dots_writes_where_it_points_to(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for _ in range(2):
        p = Pipeline()
        p.create([1, 2]).write_jsonl(f"{tmp_path}/a/../b/out", mode="overwrite")
        p.run(**here(tmp_path))
    assert lines_of(tmp_path / "b" / "out") == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in "ab") == ["a", "b"] and leftovers(tmp_path) == []


def test_fault_28_two_spellings_of_a_name_are_two_targets_or_an_error(tmp_path):
    """é as one character and as two: this file system knows them apart."""
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / "caf\u00e9"))
    p.create([2]).write_jsonl(str(tmp_path / "cafe\u0301"))
    p.run(**here(tmp_path))
    assert lines_of(tmp_path / "caf\u00e9") == [1] and lines_of(tmp_path / "cafe\u0301") == [2]


def test_fault_28_one_target_twice_by_way_of_dots(tmp_path):
    p = Pipeline()
    p.create([1]).write_jsonl(f"{tmp_path}/out")
    p.create([2]).write_jsonl(f"{tmp_path}/x/../out/")
    with pytest.raises(PreflightError):
        p.run(**here(tmp_path))
    assert not (tmp_path / "out").exists()


def test_fault_28_a_target_on_a_disk_that_is_only_to_be_read(tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(tmp_path, str(small_disk / "out"), "cannot be written")
    refused(tmp_path, str(small_disk / "deep" / "out"), "cannot be written")


def test_fault_28_no_permission(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(tmp_path, str(tmp_path / "closed" / "out"), "no permission")


def test_fault_28_a_target_that_is_a_link_to_a_folder(tmp_path):
    """The folder that the link names gets the data, and the link stays; or it is refused before any work."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / "link"))
    try:
        p.run(**here(tmp_path))
    except PreflightError:
        return
    assert (tmp_path / "link").is_symlink() and lines_of(tmp_path / "real") == [1]


def test_fault_28_a_target_that_is_a_dangling_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / "link"))
    try:
        p.run(**here(tmp_path))
    except PreflightError:
        return
    assert lines_of(tmp_path / "link") == [1]


def test_fault_28_a_target_that_cannot_be_is_reported_with_all_the_others(tmp_path):
    (tmp_path / "file").write_text("")
    p = Pipeline()
    p.create([1]).write_jsonl(str(tmp_path / "file"))
    p.create([1]).write_jsonl(str(tmp_path / ("n" * 250)))
    with pytest.raises(PreflightError) as caught:
        p.run(**here(tmp_path))
    assert len(caught.value.problems) == 2


# -- 29: few file handles


@pytest.mark.parametrize("mode", [pytest.param("in_process", marks=pytest.mark.slow), "processes"])
def test_fault_29_sixty_four_file_handles_are_enough(tmp_path, mode):
    """A hundred input files, more sorted runs than handles, more Hive folders than writers."""
    (tmp_path / "in").mkdir()
    rng = random.Random(29)
    lines = [f"{rng.randrange(10**9):09d} {'x' * 320}" for _ in range(15_000)]
    for number in range(100):
        (tmp_path / "in" / f"{number:03d}.txt").write_text("".join(f"{line}\n" for line in lines[number::100]))
    script = f"""
import json
from dataflow import Pipeline
p = Pipeline()
lines = p.read_text({str(tmp_path / "in")!r})
lines.sort().write_text({str(tmp_path / "sorted")!r})
groups = lines.key_by(lambda line: line[6:9]).group_by_key(partitions=1)
groups.map_groups(lambda k, v: sorted(v)[0]).write_jsonl({str(tmp_path / "least")!r})
lines.map(lambda line: {{"part": int(line[7:9]) % 40, "line": line[:9]}}).write_parquet({str(tmp_path / "parts")!r}, partition_by=["part"])
result = p.run(mode={mode!r}, workers=2, memory="128KiB", progress=False, spill_folders=[{str(tmp_path / "spill")!r}])
print(result.bytes_spilled)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=110,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 2 * 64 * (1 << 16), "too few runs to need many handles"
    found = [line for path in sorted((tmp_path / "sorted").glob("*.txt")) for line in path.read_text().splitlines()]
    assert found == sorted(lines)
    least = {}
    for line in lines:
        least[line[6:9]] = min(line, least.get(line[6:9], line))
    assert lines_of(tmp_path / "least") == sorted([k, v] for k, v in least.items())
    parts = Pipeline().read_parquet(str(tmp_path / "parts")).map(lambda row: row["line"]).collect(**here(tmp_path))
    assert sorted(parts) == sorted(line[:9] for line in lines)
    assert leftovers(tmp_path) == []


# -- 34: bytes that change on the disk


def flip(folder, pattern, flag):
    """A function that, the first time it is called, changes one byte in the middle of every file of a pattern."""
    folder, flag = str(folder), str(flag)

    def corrupt():
        import glob
        import os

        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        found = glob.glob(f"{folder}/*/{pattern}")
        with open(flag, "w") as out:
            out.write("\n".join(found))
        for path in found:
            with open(path, "r+b") as file:
                at = os.path.getsize(path) // 2
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 0x20]))

    return corrupt


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["group", "sort", "deal"])
def test_fault_34_a_changed_byte_in_a_shuffle_file_is_made_again(tmp_path, mode, kind):
    corrupt = flip(tmp_path / "spill", "shuffle-*", tmp_path / "flipped")

    def hook(value):
        corrupt()
        return value

    c = Pipeline().create(range(6000)).map(lambda n: (n % 500, f"{n:050d}"))
    if kind == "group":
        # the first reduce task to run damages what the others will read
        found = (
            c.as_table().group_by_key(partitions=8).map(hook).map(lambda pair: (pair[0], sorted(pair[1]))).collect(**here(tmp_path, mode))
        )
        assert sorted(found) == [(k, [f"{n:050d}" for n in range(k, 6000, 500)]) for k in range(500)]
    elif kind == "sort":
        found = c.sort().map(hook).collect(**here(tmp_path, mode, memory="1MiB"))
        assert found == sorted((n % 500, f"{n:050d}") for n in range(6000))
    else:
        found = c.redistribute(8).map(hook).collect(**here(tmp_path, mode))
        assert sorted(found) == sorted((n % 500, f"{n:050d}") for n in range(6000))
    assert (tmp_path / "flipped").read_text(), "no file was damaged"
    assert leftovers(tmp_path) == []


def test_fault_34_a_shuffle_file_that_vanished_is_made_again(tmp_path):
    flag, spill = tmp_path / "gone", str(tmp_path / "spill")

    def hook(pair):
        import glob
        import os

        if not flag.exists():
            flag.write_text("")
            for path in glob.glob(f"{spill}/*/shuffle-*"):
                os.unlink(path)
        return pair[0], sum(pair[1])

    found = Pipeline().create(range(6000)).key_by(lambda n: n % 50).group_by_key(partitions=4).map(hook).collect(**here(tmp_path))
    assert sorted(found) == [(k, sum(range(k, 6000, 50))) for k in range(50)] and flag.exists()


@pytest.mark.parametrize("mode", MODES)
def test_fault_34_a_changed_byte_in_a_file_of_a_later_shuffle_is_made_again(tmp_path, mode):
    """What its producer read is a shuffle itself, which must still be there, or be made again too."""
    script = f"""
import glob, json, os
from dataflow import Pipeline
def hook(pair):
    try:
        os.close(os.open({str(tmp_path / "flipped")!r}, os.O_CREAT | os.O_EXCL))
        for path in glob.glob({str(tmp_path / "spill" / "*" / "shuffle-*")!r}):
            data = bytearray(open(path, "rb").read())
            data[len(data) // 2] ^= 32
            open(path, "wb").write(data)
    except FileExistsError:
        pass
    return pair[0], sorted(pair[1])
sums = Pipeline().create(range(6000)).key_by(lambda n: n % 500).group_by_key().map_groups(lambda k, v: sum(v))
again = sums.map(lambda pair: (pair[0] % 10, pair[1])).as_table().group_by_key(partitions=4).map(hook)
print(json.dumps(sorted(again.collect(mode={mode!r}, workers=2, progress=False, spill_folders=[{str(tmp_path / "spill")!r}]))))
"""
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=8)
    except subprocess.TimeoutExpired:
        raise AssertionError("the run goes on for ever") from None
    assert done.returncode == 0, done.stderr[-2000:]
    expected = {}
    for k in range(500):
        expected.setdefault(k % 10, []).append(sum(range(k, 6000, 500)))
    assert json.loads(done.stdout) == sorted([k, sorted(v)] for k, v in expected.items())


def test_fault_34_a_disk_that_always_changes_bytes_is_an_error(tmp_path):
    """In a process of its own, which can be ended if it goes on for ever."""
    script = f"""
from dataflow import Pipeline
from dataflow.errors import ShardCorruptError
from dataflow.shard import runfile
import zlib
class Wrong:
    def __getattr__(self, name): return getattr(zlib, name)
    def crc32(self, data): return zlib.crc32(data) ^ 1
write = runfile.RunWriter.write
def wrong(self, *args):
    runfile.zlib = Wrong()
    try: write(self, *args)
    finally: runfile.zlib = zlib
runfile.RunWriter.write = wrong
try:
    Pipeline().create(range(100)).key_by(lambda n: n % 3).group_by_key().map_groups(lambda k, v: sum(v)).collect(
        mode="in_process", progress=False, spill_folders=[{str(tmp_path / "spill")!r}])
except ShardCorruptError as error:
    print("corrupt:", error)
"""
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=6)
    except subprocess.TimeoutExpired:
        raise AssertionError("the run goes on for ever") from None
    assert done.stdout.startswith("corrupt:"), done.stderr
    assert "written by task" in done.stdout


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_fault_34_any_changed_byte_of_a_block_is_noticed_before_arrow_sees_it(tmp_path, at):
    import pyarrow as pa

    from dataflow.shard.runfile import RunWriter, read_block

    writer = RunWriter(str(tmp_path / "a.run"), "map/00007")
    batch = pa.record_batch({"k": list(range(1000)), "v": ["text"] * 1000})
    writer.write(batch)
    writer.write(batch)
    file = writer.close()
    assert read_block(file, file.blocks[1]).equals(batch)
    data = bytearray((tmp_path / "a.run").read_bytes())
    block = file.blocks[1]
    position = {"first": block.offset, "middle": block.offset + block.length // 2, "last": block.offset + block.length - 1}[at]
    for bit in range(8):
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        (tmp_path / "a.run").write_bytes(changed)
        with pytest.raises(ShardCorruptError, match="map/00007"):
            read_block(file, block)
        assert read_block(file, file.blocks[0]).equals(batch)
    (tmp_path / "a.run").write_bytes(data[:-1])
    with pytest.raises(ShardCorruptError, match="of .* bytes read"):
        read_block(file, block)


def test_nothing_grows_with_the_number_of_runs(tmp_path):
    """File handles and threads after twenty runs are those after two."""

    def held():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    def some(count):
        for _ in range(count):
            Pipeline().create(range(100)).key_by(lambda n: n % 3).group_by_key().collect(**here(tmp_path))
        Pipeline().create(range(100)).map(lambda n: n).collect(**here(tmp_path, "processes"))
        time.sleep(0.1)
        return held()

    before = some(2)
    after = some(20)
    assert after[0] <= before[0] + 2 and after[1] <= before[1] + 1
