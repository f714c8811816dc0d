"""The commit: all outputs of a run become visible together, or none does.

Every target has a staging folder of the run. On this machine's disks it stands beside the target, so that one rename
(or one exchange, where the target holds old data) makes all the target's files visible in one step:

    data/                       <- the target; a reader sees the old files until the step, the new ones after it
    data.dataflow-<run>/        <- hidden name: .data.dataflow-<run>
        _OWNER                  who is writing: pid, host
        attempts/               files as attempts left them
        ready/                  the winners under their final names, and an empty file _COMMITTED-<run>, which makes
                                the exchange known: whichever folder holds it is the new one
        _MANIFEST.json          what the new target holds; it ends beside the target, as .data.manifest.json, because
                                Polars refuses a folder with other files than data (empty ones it passes over)
        _COMMIT                 (first target only) the decision: a list of all targets. Its creation is the commit point.
        _PART                   (other targets) where the decision is to be found

The life of a commit, each step callable alone (a test stops between any two):

    1 `stage`    winners are moved to ready/ under final names, the manifest is written, all is forced to disk
    2 `decide`   the decision is created by rename and forced to disk: before it nothing counts, after it everything does
    3 `apply`    every target is brought to the new state; each step can be repeated
    4 `clean`    staging folders vanish, the one with the decision last

Step 2 stands before any target changes, so that a crash in step 3 is rolled forward, by whoever next reads or writes one
of the targets with the engine (`recover`); a crash before it leaves garbage, which the same function removes when its
owner is dead. Object stores have no rename: there step 3 copies the files in and then writes the manifest, which is what
readers of ours go by; a foreign reader may see some of the files for the moment that takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import OutputError, Report, SchemaError
from dataflow.io.files import FileSystem, file_system, join
from dataflow.io.schema import conform, unify
from dataflow.io.sink import FORMATS, FileSink, WrittenFile
from dataflow.io.written import tables_of

__all__ = ["Commit", "Staged", "recover", "staging_of"]

MANIFEST = "_MANIFEST.json"
MARK = "_COMMITTED-"
_runs_here: set[str] = set()  # runs of this process that are not over
_STAGING = re.compile(r"^\.(?P<name>.+)\.dataflow-(?P<run>[0-9a-z]+)$")


def staging_of(fs: FileSystem, target: str, run: str) -> str:
    """The staging folder of a target: a hidden sibling, or on object stores a hidden child."""
    folder, _, name = target.rstrip("/").rpartition("/")
    if fs.can_move_directories:
        return os.path.join(folder or ("/" if target.startswith("/") else "."), f".{name}.dataflow-{run}")
    return join(target, f"_dataflow-{run}")


@dataclass(slots=True)
class Staged:
    """One target of a run, and its files: per task in order, those of the winning attempt."""

    sink: FileSink
    fs: FileSystem
    target: str
    staging: str
    files: list[WrittenFile] = field(default_factory=list)

    @property
    def scheme(self) -> str:
        """What stands before the target's path to name its file system: empty for this machine's."""
        return "" if self.fs.can_move_directories else self.sink.path.partition("://")[0]


class Commit:
    """The commit of one run over all its targets."""

    def __init__(self, run: str, sinks: list[FileSink]) -> None:
        self.run = run
        self.decided = False
        self.staging: Staged | None = None  # the target at work, for the error that names its write
        self.targets: list[Staged] = []
        for sink in sinks:
            fs, target = sink.files()
            self.targets.append(Staged(sink, fs, target, staging_of(fs, target, run)))

    def begin(self) -> None:
        """Make the staging folders; whoever else is at work on a target is an error."""
        owner = json.dumps({"pid": os.getpid(), "host": os.uname().nodename, "run": self.run}).encode()
        _runs_here.add(self.run)
        for one in self.targets:
            recover(one.fs, one.target, one.sink.options, writing=True)
            one.fs.make_dir(join(one.staging, "attempts"))
            _write(one.fs, join(one.staging, "_OWNER"), owner)

    def stage(self) -> None:
        """Step 1: the winners under final names, the manifest beside them, all on disk."""
        for one in self.targets:
            ready = join(one.staging, "ready")
            one.fs.make_dir(ready)
            entries = []
            unique = f"-{self.run[:12]}" if one.sink.mode == "append" or not one.fs.can_move_directories else ""
            self.staging = one
            for index, file in enumerate(self._conformed(one)):
                name = f"part{unique}-{index:05d}{FORMATS[one.sink.format]}"
                if file.folder:
                    one.fs.make_dir(join(ready, file.folder))
                    name = f"{file.folder}/{name}"
                one.fs.move(file.path, join(ready, name))
                entries.append({"path": name, "rows": file.rows, "bytes": file.bytes, "crc32": file.crc})
            manifest = json.dumps({"version": 1, "run": self.run, "files": entries}, indent=1).encode()
            _write(one.fs, join(one.staging, MANIFEST), manifest)
            if one.fs.can_move_directories:
                one.fs.create(join(ready, MARK + self.run)).close()
            for folder in {file.folder for file in one.files if file.folder}:
                one.fs.sync(join(ready, folder))
            one.fs.sync(ready)

    def decide(self) -> None:
        """Step 2: the commit point."""
        record = [{"staging": t.staging, "target": t.target, "mode": t.sink.mode, "scheme": t.scheme} for t in self.targets]
        first = self.targets[0]
        for other in self.targets[1:]:
            part = {"decision": join(first.staging, "_COMMIT"), "scheme": first.scheme}
            _write(other.fs, join(other.staging, "_PART"), json.dumps(part).encode())
            other.fs.sync(other.staging)
        self.decided = True  # from here on nothing may be taken back, whatever is raised
        _write(first.fs, join(first.staging, "_COMMIT"), json.dumps({"version": 1, "run": self.run, "targets": record}).encode())
        first.fs.sync(first.staging)

    def apply(self) -> None:
        """Step 3: every target to its new state."""
        for one in self.targets:
            _apply(one.fs, one.staging, one.target, one.sink.mode, self.run)

    def clean(self) -> None:
        """Step 4: no trace but the data."""
        for one in reversed(self.targets):
            one.fs.remove(one.staging)
        _runs_here.discard(self.run)

    def commit(self) -> None:
        """All the steps."""
        if not self.targets:
            return
        self.stage()
        self.decide()
        for patience in (0.05, 0.2, None):  # decided: what fails now is tried again, not taken back
            try:
                self.apply()
                self.clean()
                return
            except (OSError, KeyboardInterrupt):
                if patience is None:
                    raise
                time.sleep(patience)

    def abort(self) -> None:
        """Leave nothing behind; the targets are as they were. Once the decision may exist, that is for `recover` to say."""
        _runs_here.discard(self.run)
        if self.decided and self.targets and self.targets[0].fs.exists(join(self.targets[0].staging, "_COMMIT")):
            return
        for one in reversed(self.targets):
            with contextlib.suppress(OSError):
                one.fs.remove(one.staging)

    @staticmethod
    def _conformed(one: Staged) -> list[WrittenFile]:
        """The files in one schema: those that are narrower are written again (an all-null split, ints beside floats)."""
        if not one.sink.typed or not one.files:
            return one.files
        named = [(f"task {file.path.rpartition('/')[2]}", file.schema) for file in one.files if file.schema is not None]
        schema = unify(named)
        if one.sink.mode == "append" and (before := _schema_of(one)) is not None:
            wide = unify([("the folder", before), ("the new rows", schema)])
            if not wide.equals(before):
                changed = next(
                    field.name for field in wide if before.get_field_index(field.name) < 0 or before.field(field.name).type != field.type
                )
                text = f"the rows to append do not have the columns of {one.sink.path}: {changed!r} differs"
                raise SchemaError(Report(text, hint='mode="overwrite" replaces the folder; or map the rows to its types'))
            schema = wide
        from dataclasses import replace

        from dataflow.io.sink import SinkWriter

        whole = []
        for file in one.files:
            if file.schema is None or file.schema.equals(schema) or (one.sink.partition_by and not len(file.schema)):
                whole.append(file)
                continue
            sink = replace(one.sink, rows_per_file=None, bytes_per_file=None, partition_by=())
            writer = SinkWriter(sink, join(one.staging, "attempts"), f"{file.path.rpartition('/')[2]}-conformed")
            writer.root = join(one.staging, "attempts")
            from dataflow.shard.batch import Records

            for table in tables_of(one.fs, file, one.sink):
                writer.push(Records(conform(table, schema)))
            whole.extend(replace(new, folder=file.folder) for new in writer.close())
        return whole


def _schema_of(one: Staged) -> Any:
    """The schema of what a target holds already, where its format has one."""
    found = one.fs.find(one.target) if one.fs.exists(one.target) else []
    if not found or one.sink.format not in ("parquet", "ipc"):
        return None
    with one.fs.open(found[0].path) as raw:
        if one.sink.format == "ipc":
            import pyarrow as pa

            return pa.ipc.open_file(raw).schema.remove_metadata()
        import pyarrow.parquet as pq

        return pq.read_schema(raw).remove_metadata()


def _apply(fs: FileSystem, staging: str, target: str, mode: str, run: str) -> None:
    """Bring one target to its new state. Every step may be repeated after a crash."""
    ready, manifest = join(staging, "ready"), join(staging, MANIFEST)
    if not fs.exists(manifest):
        return  # the last step was done before a crash
    if fs.can_move_directories and mode != "append":
        parent = target.rpartition("/")[0] or ("/" if target.startswith("/") else ".")
        if fs.exists(join(ready, MARK + run)):
            if fs.exists(target):
                fs.exchange(ready, target)
            else:
                fs.make_dir(parent)
                fs.move(ready, target)
            fs.sync(parent)
        fs.move(manifest, manifest_of(fs, target))
        fs.sync(parent)
        return
    new = json.loads(_read(fs, manifest))
    old = _manifest(fs, target) if mode == "append" else None
    kept = [entry for entry in (old or {"files": []})["files"] if not any(entry["path"] == e["path"] for e in new["files"])]
    fs.make_dir(target)
    for entry in new["files"]:
        source, final = join(ready, entry["path"]), join(target, entry["path"])
        if fs.exists(source):
            fs.make_dir(final.rpartition("/")[0])
            fs.move(source, final)
    fs.sync(target)
    if mode != "append":
        keep = {entry["path"] for entry in new["files"]}
        for info in fs.find(target):
            if info.path.removeprefix(target.rstrip("/")).lstrip("/") not in keep:
                fs.remove(info.path)
    _write(fs, manifest_of(fs, target), json.dumps({**new, "files": [*kept, *new["files"]]}, indent=1).encode())
    fs.remove(manifest)


def manifest_of(fs: FileSystem, target: str) -> str:
    """Where a target's manifest is: a hidden file beside it, or on object stores in it."""
    if not fs.can_move_directories:
        return join(target, MANIFEST)
    folder, _, name = target.rstrip("/").rpartition("/")
    return os.path.join(folder or ("/" if target.startswith("/") else "."), f".{name}.manifest.json")


def recover(fs: FileSystem, target: str, options: Mapping[str, Any] | None = None, writing: bool = False) -> None:
    """Finish what a dead run decided on this target, and remove what it did not. Cheap where there is nothing to do.

    A run that lives is left alone; for a writer that is an error.
    """
    target = target.rstrip("/")
    folder, _, name = target.rpartition("/")
    if fs.can_move_directories:
        folder = folder or ("/" if target.startswith("/") else ".")
        found = [n for n in fs.names(folder) if (m := _STAGING.match(n)) and m["name"] == name]
    else:
        folder = target
        found = [n for n in fs.names(folder) if n.startswith("_dataflow-")]
    for staging in (join(folder, n) for n in found):
        owner = _owner(fs, staging)
        if owner is not None and _alive(owner) and not (owner["pid"] == os.getpid() and owner["run"] not in _runs_here):
            if writing and not owner["pid"] == os.getpid():
                raise OutputError(
                    Report(
                        f"a run is in progress on this target, by pid {owner['pid']} on {owner['host']}",
                        location=target,
                        hint="wait for it, or stop it",
                    )
                )
            continue
        with _only_one(fs, staging):
            _settle(fs, staging, options)


def _settle(fs: FileSystem, staging: str, options: Mapping[str, Any] | None) -> None:
    """Roll a dead run's staging forward if it was decided, else remove it."""
    place, decision = fs, join(staging, "_COMMIT")
    if fs.exists(join(staging, "_PART")):
        part = json.loads(_read(fs, join(staging, "_PART")))
        place, decision = _place(part["scheme"], options), str(part["decision"])
    if not place.exists(decision):
        fs.remove(staging)
        return
    record = json.loads(_read(place, decision))
    if record["version"] != 1:
        raise OutputError(Report("an interrupted commit was made by another version of the engine", location=decision, hint="upgrade"))
    parts = [(_place(p["scheme"], options), str(p["staging"]), str(p["target"]), str(p["mode"])) for p in record["targets"]]
    for where, part, into, mode in parts:
        _apply(where, part, into, mode, str(record["run"]))
    for where, part, _, _ in reversed(parts):
        where.remove(part)


def _place(scheme: str, options: Mapping[str, Any] | None) -> FileSystem:
    return file_system(f"{scheme}://" if scheme else "/", options if scheme else None)[0]


@contextlib.contextmanager
def _only_one(fs: FileSystem, staging: str) -> Generator[None]:
    """Two processes that recover the same dead run take turns (on this machine; an object store's steps can be repeated)."""
    if not fs.can_move_directories:
        yield
        return
    import fcntl

    handle = os.open(os.path.dirname(staging), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _owner(fs: FileSystem, staging: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_read(fs, join(staging, "_OWNER")))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _alive(owner: Mapping[str, Any]) -> bool:
    if owner.get("host") != os.uname().nodename:
        return True  # it cannot be known: better to refuse than to destroy
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _manifest(fs: FileSystem, target: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_read(fs, manifest_of(fs, target)))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _read(fs: FileSystem, path: str) -> bytes:
    with fs.open(path) as raw:
        return raw.read()


def _write(fs: FileSystem, path: str, data: bytes) -> None:
    """A small file, whole or not at all."""
    temporary = f"{path}.tmp"
    with fs.create(temporary) as raw:
        raw.write(data)
        raw.flush()
    fs.sync(temporary)
    fs.move(temporary, path)
