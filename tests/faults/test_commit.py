"""Crashes and errors at every step of the commit: a target holds the old data or the new, all targets agree, nothing is left.

Three sweeps. A child process that ends itself at the n-th change of the file system, for every n (the crash); the same for a
crash in the recovery from a crash; and a whole run whose n-th change fails with an error while the process lives on.
"""

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

from dataflow import DataflowError, Pipeline
from dataflow.errors import OutputError
from dataflow.io import commit as committing
from dataflow.io.commit import Commit, recover
from dataflow.io.files import LocalFiles, RemoteFiles, file_system
from dataflow.io.sink import FileSink, WrittenFile

pytestmark = pytest.mark.slow  # real processes, disks and crashes: with -m "not slow" the rest takes under a minute

OLD, NEW = ["old 0", "old 1", "old 2"], ["new 0", "new 1", "new 2"]
QUIET = {"mode": "in_process", "progress": False}
CRASH, DONE = 77, 0


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is such a place: the sweeps make and remove many small folders."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def quick_sync(monkeypatch):
    """Processes end here, not machines: forcing data to disk costs much and shows nothing. The steps are counted all the same."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Stepped(LocalFiles):
    """Counts every change of the file system, and calls ``at`` instead of the n-th. Removing a folder is many changes."""

    def __init__(self, n, at):
        self.left, self.at = n, at

    def _step(self):
        self.left -= 1
        if self.left < 0:
            self.at()

    def create(self, path):
        self._step()
        return super().create(path)

    def make_dir(self, path):
        self._step()
        super().make_dir(path)

    def move(self, source, target):
        self._step()
        super().move(source, target)

    def exchange(self, one, two):
        self._step()
        super().exchange(one, two)

    def sync(self, path):
        self._step()
        super().sync(path)

    def remove(self, path):
        if os.path.isdir(path) and not os.path.islink(path):
            for name in sorted(os.listdir(path)):
                self.remove(os.path.join(path, name))
            self._step()
            os.rmdir(path)
        elif os.path.lexists(path):
            self._step()
            os.unlink(path)


def in_child(act):
    """Run in a process of its own; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            act()
            code = DONE
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def crash():
    os._exit(CRASH)


def commit_of(run, targets, mode, fs=None):
    """A commit of three lines in two files to every target, as the tasks of a run leave them."""
    commit = Commit(run, [FileSink(str(target), "text", mode) for target in targets])
    for one in commit.targets:
        one.fs = fs or one.fs
    commit.begin()
    for one in commit.targets:
        for number, lines in enumerate([NEW[:2], NEW[2:]]):
            path = f"{one.staging}/attempts/task-{number}.txt"
            data = "".join(f"{line}\n" for line in lines).encode()
            with open(path, "wb") as out:
                out.write(data)
            one.files.append(WrittenFile(path, "", len(lines), len(data), zlib.crc32(data), None))
    return commit


def fill(target, how):
    """What a target holds before: nothing at all, a foreign folder, or what the engine wrote."""
    if how == "foreign":
        target.mkdir()
        (target / "part-00000.txt").write_text("old 0\n")
        (target / "other.txt").write_text("old 1\nold 2\n")
    elif how == "ours":
        p = Pipeline()
        p.create(OLD).write_text(str(target), rows_per_file=2)
        p.run(**QUIET)


def visible(target):
    """What any reader sees: the lines of all files that are not hidden."""
    if not target.exists():
        return []
    return sorted(line for path in target.rglob("*.txt") if not path.name.startswith(("_", ".")) for line in path.read_text().splitlines())


def staging(folder):
    return sorted(path.name for path in folder.iterdir() if ".dataflow-" in path.name)


def check_manifest(target):
    listed = json.loads((target.parent / f".{target.name}.manifest.json").read_text())["files"]
    assert sorted(entry["path"] for entry in listed) == sorted(path.name for path in target.iterdir() if not path.name.startswith("_"))
    for entry in listed:
        data = (target / entry["path"]).read_bytes()
        assert (len(data), zlib.crc32(data)) == (entry["bytes"], entry["crc32"])


def states(mode, before):
    old = OLD if before != "nothing" else []
    return sorted(old), sorted([*old, *NEW] if mode == "append" else NEW)


CASES = [
    ("overwrite", "nothing"),
    ("overwrite", "foreign"),
    ("overwrite", "ours"),
    ("append", "nothing"),
    ("append", "ours"),
    ("error", "nothing"),
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("mode", "before"), CASES)
def test_fault_58_a_crash_at_any_step_leaves_old_or_new_and_a_later_recovery_makes_all_targets_agree(tmp_path, mode, before, count):
    outcomes = set()
    for n in itertools.count():
        folder = tmp_path / str(n)
        folder.mkdir()
        targets = [folder / f"out{i}" for i in range(count)]
        for target in targets:
            fill(target, before)
        old, new = states(mode, before)
        code = in_child(lambda: commit_of("c0ffee00c0ffee00", targets, mode, Stepped(n, crash)).commit())
        assert code in (CRASH, DONE), n
        if mode != "append":  # files come one by one there, and readers of ours finish the commit first
            for target in targets:
                assert visible(target) in (old, new), f"a mixture after a crash at change {n}"
        if n % 2:  # from either target the other is found
            targets.reverse()
        for target in targets:
            recover(LocalFiles(), str(target))
        found = [visible(target) for target in targets]
        assert found in ([old] * count, [new] * count), f"targets disagree after a crash at change {n}"
        assert staging(folder) == [], n
        outcomes.add(found[0] == new)
        if found[0] == new:
            for target in targets:
                check_manifest(target)
        if code == DONE:
            assert found[0] == new
            break
        shutil.rmtree(folder)
    assert outcomes == {False, True} and n > 8


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_fault_58_a_crash_in_the_recovery_is_recovered_from(tmp_path, mode):
    """The commit crashes at change n, its recovery at change m, for every n after which there is something to do."""
    old, new = states(mode, "ours")
    template = tmp_path / "template"
    template.mkdir()
    for i in range(2):
        fill(template / f"out{i}", "ours")
    for n in range(12, 200, 3):
        folder, crashed = tmp_path / str(n), tmp_path / f"crashed-{n}"
        shutil.copytree(template, folder)
        targets = [folder / "out0", folder / "out1"]
        finished = in_child(lambda: commit_of("c0ffee00c0ffee00", targets, mode, Stepped(n, crash)).commit()) == DONE
        folder.rename(crashed)
        for m in itertools.count():
            shutil.copytree(crashed, folder)  # under the name that the commit knows
            code = in_child(lambda: recover(Stepped(m, crash), str(targets[m % 2])))
            assert code in (CRASH, DONE), (n, m)
            for target in targets:
                recover(LocalFiles(), str(target))
            found = [visible(target) for target in targets]
            assert found in ([old] * 2, [new] * 2), f"targets disagree after crashes at changes {n} and {m}"
            assert staging(folder) == [], (n, m)
            shutil.rmtree(folder)
            if code == DONE:
                break
        if finished:
            return
    raise AssertionError("the commit never came to its end")


@pytest.mark.parametrize("before", ["ours", "nothing"])
def test_fault_58_a_read_by_the_engine_sees_one_version_after_a_crash_at_any_step(tmp_path, before):
    """A pipeline that reads both targets sees the old data of both or the new of both."""
    old, new = states("overwrite", before)
    seen = set()
    for n in itertools.count():
        folder = tmp_path / str(n)
        folder.mkdir()
        targets = [folder / "out0", folder / "out1"]
        for target in targets:
            fill(target, before)
        code = in_child(lambda: commit_of("c0ffee00c0ffee00", targets, "overwrite", Stepped(n, crash)).commit())
        decided = any((folder / name / "_COMMIT").exists() for name in staging(folder)) or code == DONE
        if before == "nothing" and not decided:  # an input that is not there is an error, rightly
            shutil.rmtree(folder)
            continue
        p = Pipeline()
        found = sorted(p.read_text(str(targets[1])).flatten(p.read_text(str(targets[0]))).collect(**QUIET))
        assert found in (sorted(old * 2), sorted(new * 2)), n
        seen.add(found == sorted(new * 2))
        if code == DONE:
            break
        shutil.rmtree(folder)
    assert True in seen


def test_fault_58_the_next_run_over_the_targets_recovers_and_then_writes(tmp_path):
    for n in (0, 5, 9, 13, 17, 19, 21, 23, 25):
        folder = tmp_path / str(n)
        folder.mkdir()
        targets = [folder / "out0", folder / "out1"]
        for target in targets:
            fill(target, "ours")
        in_child(lambda: commit_of("c0ffee00c0ffee00", targets, "overwrite", Stepped(n, crash)).commit())
        p = Pipeline()
        for target in targets:
            p.create(["next"]).write_text(str(target), mode="overwrite")
        p.run(**QUIET)
        assert [visible(target) for target in targets] == [["next"], ["next"]], n
        assert staging(folder) == [], n


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fault_58_partitioned_parquet_survives_a_crash_at_any_step(tmp_path):
    """Hive folders below the target, and files that are written again for one schema."""
    import pyarrow.dataset as ds

    def write(path, value, mode):
        p = Pipeline()
        p.create([{"day": i % 2, "n": value} for i in range(6)]).write_parquet(path, partition_by=["day"], mode=mode)
        return p

    template = tmp_path / "template"
    write(str(template), 1, "error").run(**QUIET)
    reached = 0
    for n in itertools.count():
        target = tmp_path / "out"
        shutil.copytree(template, target)
        stopped = Dead.after(n)
        with pytest.MonkeyPatch.context() as patch:
            stopped.install(patch)
            try:
                write(str(target), 2, "overwrite").run(**QUIET)
                finished = True
            except Dead.Death:
                finished = False
        stopped.bury(tmp_path)
        recover(LocalFiles(), str(target))
        values = {row["n"] for row in ds.dataset(str(target), partitioning="hive").to_table().to_pylist()}
        assert values in ({1}, {2}), n
        assert staging(tmp_path) == [], n
        reached += values == {2}
        shutil.rmtree(target)
        if finished:
            break
    assert 0 < reached < n


class Dead:
    """A crash in the process of the test: after the n-th change of the file system nothing that the engine does has any effect."""

    class Death(BaseException):
        pass

    @classmethod
    def after(cls, n):
        dead = cls()
        dead.left = n
        return dead

    def install(self, patch):
        for name in ("create", "make_dir", "move", "exchange", "sync", "remove"):
            whole = getattr(LocalFiles, name)

            def stepped(fs, *args, whole=whole):
                self.left -= 1
                if self.left < 0:
                    raise Dead.Death
                return whole(fs, *args)

            patch.setattr(LocalFiles, name, stepped)

    def bury(self, folder):
        """The owner of what it left is no process any more."""
        gone = in_child_pid()
        for path in folder.rglob("_OWNER"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "pid": gone, "began": ""}))


def in_child_pid():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def failing_commit(patch, n, times=1):
    """The n-th change of the file system from the beginning of the commit on fails with EIO, ``times`` times; then all goes well."""
    counting = {"left": None, "failed": 0}
    begin = Commit.commit

    def commit(self):
        counting["left"] = n
        begin(self)

    patch.setattr(Commit, "commit", commit)
    for name in ("create", "make_dir", "move", "exchange", "sync", "remove"):
        whole = getattr(LocalFiles, name)

        def stepped(fs, *args, whole=whole):
            if counting["left"] is not None:
                counting["left"] -= 1
                if counting["left"] < 0 and counting["failed"] < times:
                    counting["failed"] += 1
                    raise OSError(errno.EIO, os.strerror(errno.EIO), args[0])
            return whole(fs, *args)

        patch.setattr(LocalFiles, name, stepped)
    return counting


@pytest.mark.parametrize("mode", ["overwrite", "append"])
@pytest.mark.parametrize("times", [1, 10**9])
def test_fault_58_an_error_at_any_step_of_the_commit_leaves_all_targets_old_or_all_new(tmp_path, mode, times):
    """The process lives on and sees the error: what it does then must not undo a commit that is decided."""
    old, new = states(mode, "ours")
    for n in itertools.count():
        folder = tmp_path / str(n)
        folder.mkdir()
        targets = [folder / "out0", folder / "out1"]
        for target in targets:
            fill(target, "ours")
        with pytest.MonkeyPatch.context() as patch:
            counting = failing_commit(patch, n, times)
            p = Pipeline()
            for target in targets:
                p.create(NEW).write_text(str(target), mode=mode, rows_per_file=2)
            try:
                p.run(**QUIET)
                error = None
            except DataflowError as caught:
                error = caught
        bury_all(folder)
        for target in targets:
            recover(LocalFiles(), str(target))
        found = [visible(target) for target in targets]
        assert found in ([old] * 2, [new] * 2), f"targets disagree after an error at change {n}: {found}"
        assert error is None or isinstance(error, OutputError), n
        if error is None:
            assert found == [new] * 2, n
        if not counting["failed"]:
            break
        shutil.rmtree(folder)
    assert n > 8


def bury_all(folder):
    Dead().bury(folder)


def test_fault_58_ctrl_c_in_the_middle_of_the_commit_leaves_all_targets_old_or_all_new(tmp_path):
    old, new = states("overwrite", "ours")
    for n in range(90):
        folder = tmp_path / str(n)
        folder.mkdir()
        targets = [folder / "out0", folder / "out1"]
        for target in targets:
            fill(target, "ours")
        with pytest.MonkeyPatch.context() as patch:
            left = [None]
            begin = Commit.commit
            patch.setattr(Commit, "commit", lambda self: (left.__setitem__(0, n), begin(self)))
            for name in ("create", "make_dir", "move", "exchange", "sync"):
                whole = getattr(LocalFiles, name)

                def stepped(fs, *args, whole=whole):
                    if left[0] is not None:
                        left[0] -= 1
                        if left[0] == -1:
                            raise KeyboardInterrupt
                    return whole(fs, *args)

                patch.setattr(LocalFiles, name, stepped)
            p = Pipeline()
            for target in targets:
                p.create(NEW).write_text(str(target), mode="overwrite")
            try:
                p.run(**QUIET)
            except KeyboardInterrupt:
                pass
        bury_all(folder)
        for target in targets:
            recover(LocalFiles(), str(target))
        found = [visible(target) for target in targets]
        assert found in ([old] * 2, [new] * 2), f"targets disagree after Ctrl-C at change {n}: {found}"
        if left[0] is not None and left[0] >= 0:
            return
    raise AssertionError("the commit never came to its end")


def test_fault_58_a_reader_does_not_carry_out_the_commit_of_a_run_that_lives(tmp_path):
    """Two processes that both exchange old and new data leave the old."""
    target = tmp_path / "out"
    fill(target, "ours")
    commit = commit_of("c0ffee00c0ffee00", [target], "overwrite")
    owner = tmp_path / ".out.dataflow-c0ffee00c0ffee00" / "_OWNER"
    owner.write_text(
        json.dumps({**json.loads(owner.read_text()), "pid": os.getppid(), "began": ""})
    )  # a run of another process, which lives
    commit.stage()
    commit.decide()

    class Slow(LocalFiles):
        def exchange(self, one, two):
            commit.apply()  # the owner comes first by a moment
            super().exchange(one, two)

    try:
        recover(Slow(), str(target))
    except OutputError:
        pass  # "a run is in progress" is as good an answer
    commit.apply()
    commit.clean()
    assert visible(target) == sorted(NEW)


def test_fault_58_a_reader_may_read_while_another_run_writes(tmp_path):
    """The old data stay readable until the commit of the other run."""
    target = tmp_path / "out"
    fill(target, "ours")
    commit_of("c0ffee00c0ffee00", [target], "overwrite")
    owner = tmp_path / ".out.dataflow-c0ffee00c0ffee00" / "_OWNER"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "pid": os.getppid(), "began": ""}))
    assert sorted(Pipeline().read_text(str(target)).collect(**QUIET)) == sorted(OLD)
    assert owner.exists()


def test_fault_10_a_second_run_on_a_target_is_told_who_writes_it(tmp_path):
    target = tmp_path / "out"
    fill(target, "ours")
    commit_of("c0ffee00c0ffee00", [target], "overwrite")
    owner = tmp_path / ".out.dataflow-c0ffee00c0ffee00" / "_OWNER"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "pid": os.getppid(), "began": ""}))
    p = Pipeline()
    p.create(NEW).write_text(str(target), mode="overwrite")
    with pytest.raises(OutputError, match=f"pid {os.getppid()}"):
        p.run(**QUIET)
    assert visible(target) == sorted(OLD) and staging(tmp_path) == [".out.dataflow-c0ffee00c0ffee00"]


def test_fault_59_a_job_that_fails_leaves_the_old_data_of_every_target(tmp_path):
    def bad(line):
        if line == "new 2":
            raise ValueError("no")
        return line

    for mode in ("overwrite", "append"):
        for execution in ("in_process", "processes"):
            folder = tmp_path / mode / execution
            folder.mkdir(parents=True)
            targets = [folder / "out0", folder / "out1"]
            for target in targets:
                fill(target, "ours")
            p = Pipeline()
            p.create(NEW).write_text(str(targets[0]), mode=mode)
            p.create(NEW).map(bad).write_text(str(targets[1]), mode=mode)
            with pytest.raises(DataflowError, match="no"):
                p.run(mode=execution, workers=1, progress=False)
            assert [visible(target) for target in targets] == [sorted(OLD)] * 2
            assert staging(folder) == []
            for target in targets:
                check_manifest(target)


def test_fault_59_a_new_target_of_a_job_that_fails_does_not_appear(tmp_path):
    p = Pipeline()
    p.create([1, 2, 0]).map(lambda n: 1 / n).write_jsonl(str(tmp_path / "out"))
    with pytest.raises(DataflowError):
        p.run(**QUIET)
    assert list(tmp_path.iterdir()) == []


def test_fault_58_targets_on_different_file_systems_agree_after_a_crash_at_any_step(tmp_path):
    """One target on this machine's disk, one in fsspec's memory: each looks for the decision where it is."""
    import fsspec

    memory = fsspec.filesystem("memory")

    def lines(where):
        if not where.startswith("memory://"):
            return visible(tmp_path / where)
        inner = where.removeprefix("memory://")
        return sorted(line for f in memory.find(inner) if "/_" not in f for line in memory.cat(f).decode().splitlines())

    for order in (0, 1):
        for n in itertools.count():
            here, there = str(tmp_path / f"o{order}-{n}"), f"memory://mixed-{order}-{n}"
            targets = [here, there] if order else [there, here]

            def plan(values, targets=targets):
                p = Pipeline()
                for target in targets:
                    p.create(values).write_text(target, mode="overwrite")
                return p

            plan(OLD).run(**QUIET)
            dead = Dead.after(n)
            with pytest.MonkeyPatch.context() as patch:
                dead.install(patch)
                for name in ("create", "move", "remove"):
                    whole = getattr(RemoteFiles, name)

                    def stepped(fs, *args, whole=whole, dead=dead):
                        dead.left -= 1
                        if dead.left < 0:
                            raise Dead.Death
                        return whole(fs, *args)

                    patch.setattr(RemoteFiles, name, stepped)
                try:
                    plan(NEW).run(**QUIET)
                    finished = True
                except Dead.Death:
                    finished = False
            gone = in_child_pid()
            for path in tmp_path.rglob("_OWNER"):
                path.write_text(json.dumps({**json.loads(path.read_text()), "pid": gone, "began": ""}))
            for path in memory.find("/"):
                if path.endswith("_OWNER"):
                    memory.pipe_file(path, json.dumps({**json.loads(memory.cat(path)), "pid": gone, "began": ""}).encode())
            for target in targets:
                recover(*file_system(target))
            found = [*lines(targets[0].removeprefix(f"{tmp_path}/")), *lines(targets[1].removeprefix(f"{tmp_path}/"))]
            assert sorted(found) in (sorted(OLD * 2), sorted(NEW * 2)), f"targets disagree after a crash at change {n}"
            if finished:
                assert sorted(found) == sorted(NEW * 2)
                break


def test_a_folder_with_foreign_files_keeps_them_when_appended_to(tmp_path):
    target = tmp_path / "out"
    fill(target, "foreign")
    p = Pipeline()
    p.create(NEW).write_text(str(target), mode="append")
    p.run(**QUIET)
    assert visible(target) == sorted([*OLD, *NEW])
    assert sorted(Pipeline().read_text(str(target)).collect(**QUIET)) == sorted([*OLD, *NEW])


def test_fault_58_what_a_crash_leaves_is_named_by_its_run_and_hidden():
    assert committing.staging_of(LocalFiles(), "/data/out", "abc") == "/data/.out.dataflow-abc"


def test_what_was_written_to_fsspecs_memory_can_be_read(tmp_path):
    p = Pipeline()
    p.create(OLD).write_text(f"memory://{tmp_path.name}/out")
    p.run(**QUIET)
    assert sorted(Pipeline().read_text(f"memory://{tmp_path.name}/out").collect(**QUIET)) == sorted(OLD)


def test_fault_59_a_failed_parquet_write_says_nothing_besides_its_error(tmp_path):
    """What pyarrow says when a writer is collected whose file is closed already ends up on the user's screen."""
    script = f"""
from dataflow import DataflowError, Pipeline
p = Pipeline()
p.create([{{"n": 1}}] * 20000 + [{{"n": 0}}]).map(lambda r: {{"n": 1 / r["n"]}}).write_parquet({str(tmp_path / "out")!r})
try:
    p.run(mode="in_process", progress=False)
except DataflowError as error:
    print("failed:", type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "failed: StepError\n"
    assert done.stderr == ""
