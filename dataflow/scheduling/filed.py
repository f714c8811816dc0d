"""The files of a run between its phases: filed under the shuffle or kept name they belong to, in the order of tasks."""

from __future__ import annotations

from dataclasses import replace

from dataflow.errors import Report, ShardLostError
from dataflow.physical.phases import Phase
from dataflow.physical.program import TaskInput
from dataflow.shard.places import remove_file
from dataflow.shard.runfile import RunFile

__all__ = ["Filed", "FiledFiles", "task_of"]

Filed = tuple[tuple[int, ...], int]  # the order of the task that wrote it, and which of the task's leaves


def task_of(file: RunFile) -> str:
    """The task that wrote a file, or of which a part did that stands for it.

    >>> task_of(RunFile("", "map. all/00012.1.0", ()))
    'map. all/00012'
    """
    phase, _, number = file.producer.rpartition("/")
    return f"{phase}/{number.partition('.')[0]}"


class FiledFiles:
    """What has been written so far. A task that is run again because its file went bad replaces it.

    ``gone``: places that are no more. A file there counts, as its size does, but it is `missing` until it is replaced.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[Filed, RunFile]] = {}
        self._ordered: dict[str, tuple[RunFile, ...]] = {}  # `kept` for many readers of one shuffle
        self._there: dict[str, dict[tuple[str, Filed], None]] = {}  # by place
        self._instead: dict[tuple[str, str], RunFile] = {}  # by place and path: what replaced a file
        self.gone: set[str] = set()
        self._missing: dict[str, dict[Filed, None]] = {}
        self._removed: dict[str, dict[Filed, RunFile]] = {}

    def file(self, name: str, filed: Filed, file: RunFile | None) -> bool:
        """Take in what a leaf of a task wrote, if it wrote anything. False where it wrote at a place that is gone by now."""
        if name in self._removed:  # the task was run again for another of its leaves
            if file is not None:
                remove_file(file.place, file.path)
            return True
        files = self.files.setdefault(name, {})
        before = files.get(filed)
        if file is None:
            if before is None:
                return True
            file = replace(before, blocks=(), place="")  # this time it wrote nothing
        self._ordered.pop(name, None)
        if before is not None:
            self._no_more(name, filed, before)
            self._instead[before.place, before.path] = file
        files[filed] = file
        if file.place:
            self._there.setdefault(file.place, {})[name, filed] = None
        if file.place not in self.gone:
            return True
        self._missing.setdefault(name, {})[filed] = None
        return False

    def differs(self, name: str, filed: Filed, file: RunFile | None) -> bool:
        """Whether what a task wrote is not, block by block, what it wrote before: the same rows, but in another order. Of a file that was
        removed that is not known."""
        before = self.files.get(name, {}).get(filed)
        if before is None:
            return False
        return not before.blocks or [block.crc for block in before.blocks] != [block.crc for block in (file.blocks if file else ())]

    def _no_more(self, name: str, filed: Filed, file: RunFile) -> None:
        """A file does not count any more."""
        self._there.get(file.place, {}).pop((name, filed), None)
        self._missing.get(name, {}).pop(filed, None)

    def kept(self, name: str) -> tuple[RunFile, ...]:
        """The files under a name, in order. To ask for what was removed is an error: that there is nothing would be a lie."""
        if name in self._removed:
            raise ShardLostError(Report(f"the files of {name} were removed, and something asks for them", hint="please report this"))
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
        if given.files and phase.shuffle:  # some files of a shuffle: those of the same tasks, or of what stands for them now
            tasks, side = {task_of(file) for file in given.files}, given.files[0].side
            return replace(given, files=tuple(file for file in self.kept(phase.shuffle) if file.side == side and task_of(file) in tasks))
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
            self._no_more(name, filed, file)

    def remove(self, name: str) -> None:
        """A shuffle that nobody reads any more leaves the disk. Who wrote it is remembered."""
        self._ordered.pop(name, None)
        files = self.files.pop(name, {})
        missing = self._missing.pop(name, {})
        self._removed[name] = {filed: replace(file, blocks=()) for filed, file in files.items()}
        for filed, file in files.items():
            self._there.get(file.place, {}).pop((name, filed), None)
            if filed not in missing:
                remove_file(file.place, file.path)

    # -- places

    def at(self, place: str) -> list[tuple[str, RunFile]]:
        """The files of a place, each with the name it is filed under."""
        return [(name, self.files[name][filed]) for name, filed in self._there.get(place, {})]

    def lose(self, place: str) -> None:
        """A place is gone, and its files are missing."""
        self.gone.add(place)
        for name, filed in self._there.get(place, {}):
            self._missing.setdefault(name, {})[filed] = None

    def move(self, place: str, where: dict[str, tuple[str, str]]) -> bool:
        """Files of a place are now at others. False where one of these is gone by now."""
        there = True
        for name, filed in list(self._there.get(place, {})):
            file = self.files[name][filed]
            if file.path in where:
                to, path = where[file.path]
                there &= self.file(name, filed, replace(file, place=to, path=path))
        return there

    def missing(self, name: str) -> list[str]:
        """The tasks whose files under a name are missing. Of a name that was removed all are, and from now on it takes in files again."""
        if name in self._removed:
            self.files[name] = self._removed.pop(name)
            self._missing[name] = dict.fromkeys(self.files[name])
        return [self.files[name][filed].producer for filed in self._missing.get(name, ())]

    def can_be_lost(self, name: str) -> bool:
        """Whether files under a name lie at places that may go."""
        return any(file.place for file in self.files.get(name, {}).values())
