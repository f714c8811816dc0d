"""What a dead run left beside a target: finished if it was decided, removed if it was not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dataflow.errors import OutputError, Report
from dataflow.io.applying import apply
from dataflow.io.files import FileSystem, file_system, join
from dataflow.io.staging import STAGING, parent_of, read_small, write_small

__all__ = ["began", "recover", "runs_here"]

runs_here: set[str] = set()  # runs of this process that are not over


def recover(fs: FileSystem, target: str, options: Mapping[str, Any] | None = None, writing: bool = False) -> None:
    """Finish what a dead run decided on this target, and remove what it did not. Cheap where there is nothing to do.

    A run that lives is left alone; for a writer that is an error.
    """
    target = target.rstrip("/")
    folder, found = _stagings(fs, target)
    for staging in found:
        if not _in_progress(fs, staging, target, writing):
            with fs.alone(folder):
                if not _in_progress(fs, staging, target, writing):  # its owner may just have begun
                    _settle(fs, staging, options)


def claim(fs: FileSystem, target: str, staging: str, owner: bytes) -> None:
    """Make the staging folder of a run, with its owner, unless another process is at work on the target."""
    target = target.rstrip("/")
    folder = parent_of(target) if fs.can_move_directories else target
    fs.make_dir(folder)
    with fs.alone(folder):  # nobody sees the folder without its owner, and of two that come at once one sees the other's
        for other in _stagings(fs, target)[1]:
            _in_progress(fs, other, target, writing=True)
        if fs.can_move_directories:
            fs.make_dir(join(staging, "attempts"))
            write_small(fs, join(staging, "_OWNER"), owner)
        else:
            with fs.create(join(staging, "_OWNER")) as file:  # an object is there whole or not at all
                file.write(owner)


def _stagings(fs: FileSystem, target: str) -> tuple[str, list[str]]:
    """Where the staging folders of a target lie, and those that there are."""
    if not fs.can_move_directories:
        return target, [join(target, name) for name in fs.names(target) if name.startswith("_dataflow-")]
    folder, name = parent_of(target), target.rpartition("/")[2]
    return folder, [join(folder, n) for n in fs.names(folder) if (m := STAGING.match(n)) and m["name"] == name]


def _in_progress(fs: FileSystem, staging: str, target: str, writing: bool) -> bool:
    """Whether the run of a staging folder lives; for a writer that is an error, unless it is one of this process."""
    owner = _owner(fs, staging)
    if owner is None:
        return staging.rpartition("dataflow-")[2] in runs_here  # it is just being removed
    here = owner["pid"] == os.getpid() and owner.get("host") == os.uname().nodename  # containers all have a process 1
    if not _alive(owner) or (here and owner["run"] not in runs_here):
        return False
    if writing and not here:
        raise OutputError(
            Report(
                f"a run is in progress on this target, by pid {owner['pid']} on {owner['host']}",
                location=target,
                hint=f"wait for it, or stop it; if it is no more, remove {staging}",
            )
        )
    return True


def _settle(fs: FileSystem, staging: str, options: Mapping[str, Any] | None) -> None:
    """Roll a dead run's staging forward if it was decided, else remove it."""
    place, decision = fs, join(staging, "_COMMIT")
    if fs.exists(join(staging, "_PART")):
        part = json.loads(read_small(fs, join(staging, "_PART")))
        place, decision = _place(fs, part["scheme"], options), str(part["decision"])
    if not place.exists(decision):
        fs.remove(staging)
        return
    record = json.loads(read_small(place, decision))
    if record["version"] != 1:
        raise OutputError(Report("an interrupted commit was made by another version of the engine", location=decision, hint="upgrade"))
    place.sync(decision.rpartition("/")[0])  # it may have been seen only by a process that died, and not be on disk yet
    parts = [(_place(fs, p["scheme"], options), str(p["staging"]), str(p["target"]), str(p["mode"])) for p in record["targets"]]
    for where, part, into, mode in parts:
        apply(where, part, into, mode, str(record["run"]))
    for where, part, _, _ in reversed(parts):
        where.remove(part)


def _place(fs: FileSystem, scheme: str, options: Mapping[str, Any] | None) -> FileSystem:
    """The file system of a scheme, seen from one; there is one without a scheme only."""
    if not scheme and fs.can_move_directories:
        return fs
    return file_system(f"{scheme}://" if scheme else "/", options if scheme else None)[0]


def _owner(fs: FileSystem, staging: str) -> dict[str, Any] | None:
    try:
        found = json.loads(read_small(fs, join(staging, "_OWNER")))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def began(process: int) -> str:
    """When a process of this machine began, where that can be seen; "" if not."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{stat.read().rpartition(b')')[2].split()[19].decode()} {boot.read().strip()}"
    except (OSError, IndexError):
        return ""


def _alive(owner: Mapping[str, Any]) -> bool:
    if owner.get("host") != os.uname().nodename:
        return True  # it cannot be known: better to refuse than to destroy
    if owner.get("began") and began(int(owner["pid"])) not in ("", owner["began"]):
        return False  # another process has its number, as after a restart of the machine or the container
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
