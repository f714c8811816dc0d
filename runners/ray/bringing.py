"""The results of a run come to this process's folder before anybody reads them: a machine that goes then takes nothing along.

    files ─ by place, a thread each ─ block by block, each checked ─> a file here ─> `PlaceMoved`
                  │                        └─ one is bad, or not there though its machine is ─> `FileLost`: it is made again
                  └─ nobody answers ─> the pool finds out whether the machine is gone ─> `PlaceLost`, and what was there is made again

Where the disk here has no room for all, they stay, and are read where they are.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataflow.scheduling.events import FileLost, News, PlaceMoved
from dataflow.shard.places import is_shared, read_range
from dataflow.shard.runfile import RunFile

if TYPE_CHECKING:
    from runners.ray.machine import Machine
    from runners.ray.pool import ClusterPool

__all__ = ["bring"]

ROOM = 0.5  # of what is free on the disk here, as much may be taken
TRIES = 3  # of a file whose machine answers
LOOK = 0.25  # seconds between looks at the machines meanwhile
BEAT = 0.2


def bring(pool: ClusterPool, files: Sequence[RunFile]) -> list[News]:
    """Have files of other machines here; the news of the pool meanwhile, and what became of the files."""
    there: dict[str, list[RunFile]] = {}
    for file in files:
        if file.place in pool.known and file.place not in pool.cluster.transport.here and not is_shared(file.path):
            there.setdefault(file.place, []).append(file)
    if sum(file.stored for those in there.values() for file in those) > ROOM * shutil.disk_usage(pool.folders[0]).free:
        return []
    bringing = [_Bringing(pool, place, those) for place, those in there.items()]
    news: list[News] = []
    try:
        while any(one.goes_on() for one in bringing):
            news += pool.wait(LOOK)
    finally:
        for one in bringing:
            one.stop.set()
    moved: list[News] = [PlaceMoved(one.place, one.moved) for one in bringing if one.moved]
    return [*moved, *news, *(event for one in bringing for event in one.bad if one.place not in pool.gone)]


class _Bringing:
    """The files of one place, each copied once; a thread does it."""

    def __init__(self, pool: ClusterPool, place: str, files: list[RunFile]) -> None:
        self.pool, self.place, self.files = pool, place, files
        self.machine: Machine = pool.known[place]
        self.moved: dict[str, tuple[str, str]] = {}  # where each is now
        self.bad: list[FileLost] = []
        self.stop, self.ended = threading.Event(), threading.Event()
        self.silent = False  # the machine did not answer: is it gone?
        threading.Thread(target=self._run, name="bringing", daemon=True).start()

    def goes_on(self) -> bool:
        """Whether something may still come; while the machine does not answer, it is asked after."""
        if self.silent and self.machine not in self.pool.doubts:
            self.pool.doubts.about(self.machine)
        return not self.ended.is_set() and self.place not in self.pool.gone

    def _run(self) -> None:
        for file in self.files:
            if self.stop.is_set():
                return
            target = os.path.join(self.pool.folders[0], f"{self.machine.node[:8]}-{os.path.basename(file.path)}")
            if (why := self._copied(file, target)) is None:
                self.moved[file.path] = ("", target)
            elif why:
                self.bad.append(FileLost(file.producer, f"{self.place}{file.path}: {why}"))
        self.pool.mail.put(self.ended.set)  # wakes who waits

    def _copied(self, file: RunFile, target: str) -> str | None:
        """Copy a file; why it is to be made again, "" where that would not help."""
        why = ""
        for attempt in range(TRIES):
            try:
                with open(target, "wb") as out:
                    for block in file.blocks:
                        data = self._read(file.path, block.offset, block.length)
                        if not block.is_whole(data):
                            return "a block is not what was written"
                        out.seek(block.offset)
                        out.write(data)
                return None
            except FileNotFoundError as error:
                why = str(error)
            except OSError as error:
                if not isinstance(error, ConnectionError):
                    return ""  # of this disk
            self.stop.wait(BEAT * 2**attempt)
        return why

    def _read(self, path: str, offset: int, length: int) -> bytes | memoryview:
        """A block, for which a machine that does not answer is waited for until it is known to be gone."""
        while True:
            try:
                data = read_range(self.place, path, offset, length)
            except FileNotFoundError:
                self.silent = self.pool.cluster.transport.answer(self.place) != "here"
                if not self.silent or self.stop.is_set():
                    raise
                time.sleep(BEAT)
            else:
                self.silent = False
                return data
