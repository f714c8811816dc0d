"""Where a commit keeps what is not visible yet, and the names it goes by: see the drawing in `dataflow.io.commit`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import field
from typing import Any

from dataflow.errors import Report
from dataflow.io.files import FileSystem, join
from dataflow.io.sink import FileSink, WrittenFile
from dataflow.record import record

__all__ = [
    "MANIFEST", "MARK", "STAGING", "Staged", "exists_already", "holds", "levels", "manifest", "manifest_of", "parent_of", "read_small",
    "staging_of", "write_small",
]  # fmt: skip

MANIFEST = "_MANIFEST.json"
MARK = "_COMMITTED-"
STAGING = re.compile(r"^\.(?P<name>.+)\.dataflow-(?P<run>[0-9a-z]+)$")


def parent_of(target: str) -> str:
    """The folder that holds a target of this machine's."""
    return target.rstrip("/").rpartition("/")[0] or ("/" if target.startswith("/") else ".")


def staging_of(fs: FileSystem, target: str, run: str) -> str:
    """The staging folder of a target: a hidden sibling, or on object stores a hidden child."""
    if fs.can_move_directories:
        return os.path.join(parent_of(target), f".{target.rstrip('/').rpartition('/')[2]}.dataflow-{run}")
    return join(target, f"_dataflow-{run}")


def manifest_of(fs: FileSystem, target: str) -> str:
    """Where a target's manifest is: a hidden file beside it, or on object stores in it."""
    if not fs.can_move_directories:
        return join(target, MANIFEST)
    return os.path.join(parent_of(target), f".{target.rstrip('/').rpartition('/')[2]}.manifest.json")


@record(frozen=False, eq=True)
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


def levels(root: str, folders: Iterable[str]) -> list[str]:
    """The folders below a root with all that lie between, deepest first, the root last: in this order they are forced to disk.

    >>> levels("/t", ["a=1/b=2", "a=1/b=3", ""])
    ['/t/a=1/b=2', '/t/a=1/b=3', '/t/a=1', '/t']
    """
    found = {root: 0}
    for folder in folders:
        parts = [part for part in folder.split("/") if part]
        for count in range(1, len(parts) + 1):
            found[join(root, "/".join(parts[:count]))] = count
    return sorted(found, key=lambda path: (-found[path], path))


def holds(fs: FileSystem, target: str) -> bool:
    """Whether there is anything at a target, hidden or not, that an empty output of ours would not have."""
    if not fs.can_move_directories:
        return fs.exists(target) and bool(fs.find(target))
    return fs.exists(target) and any(not name.startswith(MARK) for name in fs.names(target))


def exists_already(path: str) -> Report:
    """What is said of an output that must not be there, and is."""
    return Report(f"the output {path} exists and holds data", hint='mode="overwrite" replaces it whole, mode="append" adds to it')


def manifest(fs: FileSystem, target: str) -> dict[str, Any] | None:
    """What a target holds according to its manifest; None where there is none that can be read."""
    try:
        found = json.loads(read_small(fs, manifest_of(fs, target)))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_small(fs: FileSystem, path: str) -> bytes:
    with fs.open(path) as raw:
        return raw.read()


def write_small(fs: FileSystem, path: str, data: bytes, temporary: str = "") -> None:
    """A small file, whole or not at all; ``temporary`` is where it grows, beside it if nothing is said."""
    temporary = temporary or f"{path}.tmp"
    with fs.create(temporary) as raw:
        raw.write(data)
        raw.flush()
    fs.sync(temporary)
    fs.move(temporary, path)
