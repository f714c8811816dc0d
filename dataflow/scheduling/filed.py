"""The files of a run between its phases: filed under the shuffle or kept name they belong to, in the order of tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
        self._ordered: dict[str, tuple[Any, int, tuple[RunFile, ...]]] = {}  # `kept` for many readers of one shuffle
        self._filings = 0

    def file(self, name: str, filed: Filed, file: RunFile | None) -> None:
        """Take in what a leaf of a task wrote, if it wrote anything."""
        files = self.files.setdefault(name, {})
        if file is not None:
            files[filed] = file
            self._filings += 1

    def kept(self, name: str) -> tuple[RunFile, ...]:
        """The files under a name, in order."""
        found = self.files.get(name, {})
        known = self._ordered.get(name)
        if known is None or known[0] is not found or known[1] != self._filings:
            known = self._ordered[name] = (found, self._filings, tuple(found[order] for order in sorted(found)))
        return known[2]

    def rows_of(self, name: str, order: tuple[int, ...]) -> int:
        """How many rows one task wrote under a name."""
        return sum(file.rows for (task, _), file in self.files.get(name, {}).items() if task == order)

    def current(self, given: TaskInput, phase: Phase) -> TaskInput:
        """A task's input with the files as they are now: one may have been made again since the task was planned."""
        if given.shuffle is not None and phase.shuffle:
            return replace(given, shuffle=replace(given.shuffle, files=self.kept(phase.shuffle)))
        if given.files:
            now = {file.producer: file for file in self.kept(phase.kept or phase.program.label)}
            return replace(given, files=tuple(now.get(file.producer, file) for file in given.files))
        return given

    def remove(self, name: str) -> None:
        """A shuffle that nobody reads any more leaves the disk."""
        for file in self.files.pop(name, {}).values():
            remove_file(file.place, file.path)

    def at(self, place: str) -> list[tuple[str, RunFile]]:
        """The files of a place, each with the name it is filed under."""
        return [(name, file) for name, files in self.files.items() for file in files.values() if file.place == place]
