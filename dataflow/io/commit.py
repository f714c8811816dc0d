"""The commit: all outputs of a run become visible together, or none does.

Every target has a staging folder of the run. On this machine's disks it stands beside the target, so that one rename
(or one exchange, where the target holds old data) makes all the target's files visible in one step:

    data/                       <- the target; a reader sees the old files until the step, the new ones after it
    data.dataflow-<run>/        <- hidden name: .data.dataflow-<run>
        _OWNER                  who is writing: pid, host
        attempts/               files as attempts left them
        ready/                  the winners under their final names, and _MANIFEST.json
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
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import OutputError, Report
from dataflow.io.files import FileSystem, join
from dataflow.io.schema import conform, unify
from dataflow.io.sink import FORMATS, FileSink, WrittenFile

__all__ = ["Commit", "Staged", "recover", "staging_of"]

MANIFEST = "_MANIFEST.json"
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


class Commit:
    """The commit of one run over all its targets."""

    def __init__(self, run: str, sinks: list[FileSink]) -> None:
        self.run = run
        self.targets: list[Staged] = []
        for sink in sinks:
            fs, target = sink.files()
            self.targets.append(Staged(sink, fs, target, staging_of(fs, target, run)))

    def begin(self) -> None:
        """Make the staging folders; whoever else is at work on a target is an error."""
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "run": self.run}).encode()
        for one in self.targets:
            recover(one.fs, one.target)
            one.fs.make_dir(join(one.staging, "attempts"))
            _write(one.fs, join(one.staging, "_OWNER"), owner)

    def stage(self) -> None:
        """Step 1: the winners under final names, the manifest beside them, all on disk."""
        for one in self.targets:
            ready = join(one.staging, "ready")
            one.fs.make_dir(ready)
            entries = []
            unique = f"-{self.run[:12]}" if one.sink.mode == "append" or not one.fs.can_move_directories else ""
            for index, file in enumerate(self._conformed(one)):
                name = f"part{unique}-{index:05d}{FORMATS[one.sink.format]}"
                if file.folder:
                    one.fs.make_dir(join(ready, file.folder))
                    name = f"{file.folder}/{name}"
                one.fs.move(file.path, join(ready, name))
                entries.append({"path": name, "rows": file.rows, "bytes": file.bytes, "crc32": file.crc})
            _write(one.fs, join(ready, MANIFEST), json.dumps({"version": 1, "run": self.run, "files": entries}, indent=1).encode())
            one.fs.sync(ready)

    def decide(self) -> None:
        """Step 2: the commit point."""
        record = [{"staging": t.staging, "target": t.target, "mode": t.sink.mode} for t in self.targets]
        first = self.targets[0]
        for other in self.targets[1:]:
            _write(other.fs, join(other.staging, "_PART"), json.dumps({"decision": join(first.staging, "_COMMIT")}).encode())
            other.fs.sync(other.staging)
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

    def commit(self) -> None:
        """All the steps."""
        if self.targets:
            self.stage()
            self.decide()
            self.apply()
            self.clean()

    def abort(self) -> None:
        """Leave nothing behind; the targets are as they were."""
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

            for table in _tables(one.fs, file, one.sink):
                writer.push(Records(conform(table, schema)))
            whole.extend(replace(new, folder=file.folder) for new in writer.close())
        return whole


def _tables(fs: FileSystem, file: WrittenFile, sink: FileSink) -> Any:
    import pyarrow as pa

    with fs.open(file.path) as raw:
        match sink.format:
            case "parquet":
                import pyarrow.parquet as pq

                for batch in pq.ParquetFile(raw, page_checksum_verification=True).iter_batches():
                    yield pa.table(batch)
            case "ipc":
                reader = pa.ipc.open_file(raw)
                for index in range(reader.num_record_batches):
                    yield pa.table(reader.get_batch(index))
            case "csv":
                import pyarrow.csv as pacsv

                assert file.schema is not None
                types = {f.name: f.type for f in file.schema}
                yield pacsv.read_csv(
                    raw,
                    convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False),
                )
            case _:
                import fastavro

                yield pa.Table.from_pylist(list(fastavro.reader(raw)), schema=file.schema)


def _apply(fs: FileSystem, staging: str, target: str, mode: str, run: str) -> None:
    """Bring one target to its new state. Every step may be repeated after a crash."""
    ready = join(staging, "ready")
    if fs.exists(target) and _run_of(fs, target) == run:
        return  # done before a crash
    if fs.can_move_directories and mode != "append":
        if not fs.exists(ready):
            return
        if fs.exists(target):
            fs.exchange(ready, target)
        else:
            fs.make_dir(target.rpartition("/")[0] or ".")
            fs.move(ready, target)
        fs.sync(target.rpartition("/")[0] or ("/" if target.startswith("/") else "."))
        return
    new = json.loads(_read(fs, join(ready, MANIFEST)))
    old = _manifest(fs, target) if mode == "append" else None
    fs.make_dir(target)
    for entry in new["files"]:
        source, final = join(ready, entry["path"]), join(target, entry["path"])
        if fs.exists(source):
            fs.make_dir(final.rpartition("/")[0])
            fs.move(source, final)
    _write(fs, join(target, MANIFEST), json.dumps({**new, "files": [*(old or {"files": []})["files"], *new["files"]]}, indent=1).encode())
    fs.sync(target)
    if mode != "append":
        keep = {entry["path"] for entry in new["files"]}
        for info in fs.find(target):
            relative = info.path.removeprefix(target.rstrip("/")).lstrip("/")
            if relative not in keep:
                fs.remove(info.path)


def recover(fs: FileSystem, target: str) -> None:
    """Finish what a dead run decided on this target, and remove what it did not. Cheap where there is nothing to do."""
    target = target.rstrip("/")
    folder, _, name = target.rpartition("/")
    if fs.can_move_directories:
        folder = folder or ("/" if target.startswith("/") else ".")
        found = [n for n in fs.names(folder) if (m := _STAGING.match(n)) and m["name"] == name]
    else:
        folder = target
        found = [n for n in fs.names(folder) if n.startswith("_dataflow-")]
    for staging in (join(folder, n) for n in found):
        decision = join(staging, "_COMMIT")
        if fs.exists(join(staging, "_PART")):
            decision = str(json.loads(_read(fs, join(staging, "_PART")))["decision"])
        if fs.exists(decision):
            record = json.loads(_read(fs, decision))
            if record["version"] != 1:
                raise OutputError(
                    Report("an interrupted commit was made by another version of the engine", location=decision, hint="upgrade")
                )
            parts = [(str(p["staging"]), str(p["target"]), str(p["mode"])) for p in record["targets"]]
            for part in parts:
                _apply(fs, *part, record["run"])
            for part in reversed(parts):
                fs.remove(part[0])
        elif (owner := _owner(fs, staging)) and _alive(owner):
            if owner["pid"] != os.getpid():
                raise OutputError(
                    Report(
                        f"a run is in progress on this target, by pid {owner['pid']} on {owner['host']}",
                        location=target,
                        hint="wait for it, or stop it",
                    )
                )
        else:
            fs.remove(staging)


def _owner(fs: FileSystem, staging: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_read(fs, join(staging, "_OWNER")))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _alive(owner: Mapping[str, Any]) -> bool:
    if owner.get("host") != socket.gethostname():
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
        found = json.loads(_read(fs, join(target, MANIFEST)))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _run_of(fs: FileSystem, target: str) -> str | None:
    found = _manifest(fs, target)
    return found["run"] if found else None


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
