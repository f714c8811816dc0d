"""Temporary folders that go with the process that made them, also when it is killed.

    Folder ─> made, with `.lock` in it, which this process holds ─ close ─> gone
                              └─ the process is killed: nobody holds it ─> gone, when another process makes a folder beside it

The lock comes to its name when it is held, so that nobody finds it free in between. The name of the machine is in it: where folders are
shared, another machine may not see that it is held.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from typing import IO

__all__ = ["LOCK", "PREFIX", "Folder", "remove_dead"]

PREFIX = "dataflow-"
LOCK = ".lock"

_looked: set[str] = set()


class Folder:
    """A new folder in another one, called ``dataflow-<name>-…``."""

    def __init__(self, name: str, parent: str | None = None) -> None:
        parent = parent or tempfile.gettempdir()
        os.makedirs(parent, exist_ok=True)
        if parent not in _looked:  # once a process
            _looked.add(parent)
            remove_dead(parent)
        self.path = tempfile.mkdtemp(prefix=f"{PREFIX}{name}-", dir=parent)
        self._lock = _locked(os.path.join(self.path, LOCK))

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _locked(path: str) -> IO[str] | None:
    """A file that this process holds; None where the file system knows no locks: who comes later cannot tell, and removes nothing."""
    with suppress(OSError):
        file = open(f"{path}-", "w", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(os.uname().nodename)
            file.flush()
            os.rename(f"{path}-", path)
            return file
        except OSError:
            file.close()
    return None


def remove_dead(parent: str) -> None:
    """Remove the folders whose process is gone."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        _remove_if_dead(entry.path)


def _remove_if_dead(folder: str) -> None:
    with open(os.path.join(folder, LOCK), encoding="utf-8") as lock:
        if lock.read() == os.uname().nodename:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
