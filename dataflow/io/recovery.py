"""What a dead run left beside a target: finished if it was decided, removed if it was not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dataflow.errors import OutputError, Report
from dataflow.io.applying import apply
from dataflow.io.files import FileSystem, file_system, join
from dataflow.io.staging import STAGING, parent_of, read_small

__all__ = ["recover", "runs_here"]

runs_here: set[str] = set()  # runs of this process that are not over


def recover(fs: FileSystem, target: str, options: Mapping[str, Any] | None = None, writing: bool = False) -> None:
    """Finish what a dead run decided on this target, and remove what it did not. Cheap where there is nothing to do.

    A run that lives is left alone; for a writer that is an error.
    """
    target = target.rstrip("/")
    name = target.rpartition("/")[2]
    if fs.can_move_directories:
        folder = parent_of(target)
        found = [n for n in fs.names(folder) if (m := STAGING.match(n)) and m["name"] == name]
    else:
        folder = target
        found = [n for n in fs.names(folder) if n.startswith("_dataflow-")]
    for staging in (join(folder, n) for n in found):
        owner = _owner(fs, staging)
        if owner is not None and _alive(owner) and not (owner["pid"] == os.getpid() and owner["run"] not in runs_here):
            if writing and not owner["pid"] == os.getpid():
                raise OutputError(
                    Report(
                        f"a run is in progress on this target, by pid {owner['pid']} on {owner['host']}",
                        location=target,
                        hint="wait for it, or stop it",
                    )
                )
            continue
        with fs.alone(folder):
            _settle(fs, staging, options)


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
