"""Step 3 of a commit for one target: what was decided becomes visible. Every step may be repeated after a crash.

The staged manifest is the sign that something is left to do, so it goes last, and only when all before it is on disk: a power failure
may bring back anything of a staging folder that was removed, but never the manifest of a target that is done.
"""

from __future__ import annotations

import json

from dataflow.io.files import FileSystem, join
from dataflow.io.staging import MANIFEST, MARK, levels, manifest, manifest_of, parent_of, read_small, write_small

__all__ = ["apply"]


def apply(fs: FileSystem, staging: str, target: str, mode: str, run: str) -> None:
    """Bring one target to its new state."""
    if not fs.exists(join(staging, MANIFEST)):  # the last step was done before a crash, and may be known to this machine's memory alone
        if fs.exists(staging):
            _sync(fs, parent_of(target), staging)
        return
    if fs.can_move_directories and mode != "append":
        _exchange(fs, staging, target, run)
    else:
        _move_files(fs, staging, target, mode)


def _exchange(fs: FileSystem, staging: str, target: str, run: str) -> None:
    """The whole folder in one step; the mark tells which of the two is the new one."""
    ready, parent = join(staging, "ready"), parent_of(target)
    if fs.exists(join(ready, MARK + run)):
        if fs.exists(target):
            fs.exchange(ready, target)
        else:
            fs.move(ready, target)
    fs.sync(parent)  # also of an exchange that a process did which then died
    fs.move(join(staging, MANIFEST), manifest_of(fs, target))
    fs.sync(parent)


def _move_files(fs: FileSystem, staging: str, target: str, mode: str) -> None:
    """File by file, beside those that are there; or, on object stores, instead of them."""
    ready = join(staging, "ready")
    new = json.loads(read_small(fs, join(staging, MANIFEST)))
    old = manifest(fs, target) if mode == "append" else None
    empty = new.pop("replaces", [])  # files without rows, which stand only where nothing else does
    gone = {*empty, *(entry["path"] for entry in new["files"])}
    kept = [entry for entry in (old or {"files": []})["files"] if entry["path"] not in gone]
    folders = levels(target, (entry["path"].rpartition("/")[0] for entry in new["files"]))
    for folder in reversed(folders):
        fs.make_dir(folder)
    _sync(fs, *folders, parent_of(target))  # a file must not be moved into a folder that may be lost
    for entry in new["files"]:
        source, final = join(ready, entry["path"]), join(target, entry["path"])
        if fs.exists(source):
            fs.move(source, final)
    _sync(fs, *folders)
    if mode != "append":
        keep = {entry["path"] for entry in new["files"]}
        for info in fs.find(target):
            if info.path.removeprefix(target.rstrip("/")).lstrip("/") not in keep:
                fs.remove(info.path)
    # it grows in the staging folder, where no crash leaves anything behind
    whole = json.dumps({**new, "files": [*kept, *new["files"]]}, indent=1).encode()
    write_small(fs, manifest_of(fs, target), whole, join(staging, "_WHOLE"))
    _sync(fs, parent_of(target))
    for path in empty:
        fs.remove(join(target, path))
    if empty:
        _sync(fs, target)
    fs.remove(join(staging, MANIFEST))
    _sync(fs, staging)


def _sync(fs: FileSystem, *folders: str) -> None:
    """Force the names in some folders to disk; an object store has no folders."""
    if fs.can_move_directories:
        for folder in folders:
            fs.sync(folder)
