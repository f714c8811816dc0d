"""The files of a run between its phases: filed under the shuffle or kept name they belong to, in the order of tasks."""

from __future__ import annotations

from dataclasses import replace

from dataflow.physical.phases import Phase
from dataflow.physical.program import TaskInput
from dataflow.shard.places import remove_file
from dataflow.shard.runfile import RunFile

__all__ = ["Filed", "FiledFiles"]

Filed = tuple[tuple[int, ...], int]  # the order of the task that wrote it, and which of the task's leaves


class FiledFiles:
    """What has been written so far. A task that is run again because its file went bad replaces it."""

    def __init__(self) -> None:
        self.files: dict[str, dict[Filed, RunFile]] = {}
        self._ordered: dict[str, tuple[RunFile, ...]] = {}  # `kept` for many readers of one shuffle
        self._there: dict[str, dict[tuple[str, Filed], None]] = {}  # by place
        self._instead: dict[tuple[str, str], RunFile] = {}  # by place and path: what replaced a file

    def file(self, name: str, filed: Filed, file: RunFile | None) -> None:
        """Take in what a leaf of a task wrote, if it wrote anything."""
        files = self.files.setdefault(name, {})
        if file is None:
            return
        self._ordered.pop(name, None)
        if (before := files.get(filed)) is not None:
            self._there.get(before.place, {}).pop((name, filed), None)
            self._instead[before.place, before.path] = file
        files[filed] = file
        if file.place:
            self._there.setdefault(file.place, {})[name, filed] = None

    def kept(self, name: str) -> tuple[RunFile, ...]:
        """The files under a name, in order."""
        if name not in self._ordered:
            found = self.files.get(name, {})
            self._ordered[name] = tuple(found[order] for order in sorted(found))
        return self._ordered[name]

    def rows(self, name: str, filed: Filed) -> int:
        """How many rows one leaf of a task wrote under a name."""
        file = self.files.get(name, {}).get(filed)
        return file.rows if file is not None else 0

    def current(self, given: TaskInput, phase: Phase) -> TaskInput:
        """A task's input with the files as they are now: one may have been made again since the task was planned."""
        if given.shuffle is not None and phase.shuffle:
            return replace(given, shuffle=replace(given.shuffle, files=self.kept(phase.shuffle)))
        if given.files and self._instead:
            return replace(given, files=tuple(self._newest(file) for file in given.files))
        return given

    def _newest(self, file: RunFile) -> RunFile:
        while (newer := self._instead.get((file.place, file.path), file)) is not file:
            file = newer
        return file

    def forget(self, name: str, filed: Filed) -> None:
        """What a leaf of a task wrote is not asked for any more."""
        file = self.files.get(name, {}).pop(filed, None)
        if file is not None:
            self._ordered.pop(name, None)
            self._there.get(file.place, {}).pop((name, filed), None)

    def remove(self, name: str) -> None:
        """A shuffle that nobody reads any more leaves the disk."""
        self._ordered.pop(name, None)
        for filed, file in self.files.pop(name, {}).items():
            self._there.get(file.place, {}).pop((name, filed), None)
            remove_file(file.place, file.path)

    def at(self, place: str) -> list[tuple[str, RunFile]]:
        """The files of a place, each with the name it is filed under."""
        return [(name, self.files[name][filed]) for name, filed in self._there.get(place, {})]
