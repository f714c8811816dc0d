"""The keeper of a machine: one actor, without a core of its own, for all that a driver has there.

    folder   hand-0.mark hand-0.stack …   what the hands are at, and what they said when they died
             <run>/                       the files of a run, served to the other machines

The folder goes with the driver; if both are killed, the next keeper that starts there removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import socket
import tempfile
import threading
import time

from dataflow.execution.serving import Mark, ask_for_stack, last_stack, read_mark
from runners.ray.files import FileServer

__all__ = ["Keeper"]

PREFIX = "dataflow-ray"
LOCK = ".keeper"


class Keeper:
    """Keeps a folder on one machine. ``parent``: where folders may be; ``address``: at which the machine is reached."""

    def __init__(self, token: str, address: str, parent: str | None) -> None:
        parent = parent or tempfile.gettempdir()
        _clear(parent)
        os.makedirs(parent, exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}-", dir=parent)
        self.lock = open(os.path.join(self.folder, LOCK), "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.server = FileServer(address, token, [self.folder])
        threading.Thread(target=self.server.serve, daemon=True).start()

    def place(self) -> tuple[str, str, str]:
        """Where the files are served, their folder, and a name of the machine that no other has."""
        return self.server.place, self.folder, machine()

    def share(self, folders: list[str]) -> None:
        """Serve other folders too: the driver's, on the driver's machine."""
        self.server.folders += map(os.path.realpath, folders)

    def sees(self, path: str) -> bool:
        """Whether a path is to be seen from this machine."""
        return os.path.exists(path)

    def marks(self) -> list[Mark]:
        """Where the hands of this machine are."""
        found = []
        for name in os.listdir(self.folder):
            if name.endswith(".mark"):
                mark = read_mark(os.path.join(self.folder, name))
                if mark.attempt:
                    found.append(mark)
        return found

    def last_words(self, name: str) -> tuple[Mark | None, str]:
        """What a hand that has died was at, and the stack that its crash handler wrote."""
        try:
            mark = read_mark(f"{name}.mark")
        except OSError:
            return None, ""
        return mark, last_stack(f"{name}.stack")

    def stack(self, name: str, process: int) -> str:
        """Where a hand is now."""
        try:
            ask_for_stack(process)
        except OSError:
            return ""
        time.sleep(0.2)
        return last_stack(f"{name}.stack")

    def clear(self, run: str) -> None:
        """A run is over: its files go."""
        shutil.rmtree(os.path.join(self.folder, run), ignore_errors=True)

    def close(self) -> None:
        """The driver needs the machine no more: the folder goes."""
        shutil.rmtree(self.folder, ignore_errors=True)
        threading.Thread(target=self.server.shutdown, daemon=True).start()


def machine() -> str:
    """A name of this machine: processes with the same one see the same files."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}/{os.stat(tempfile.gettempdir()).st_dev}"


def _clear(parent: str) -> None:
    """Folders whose keeper is gone, with its driver or its machine, go now; a living keeper holds the lock of its folder."""
    for path in glob.glob(os.path.join(parent, f"{PREFIX}-*", LOCK)):
        with contextlib.suppress(OSError), open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
