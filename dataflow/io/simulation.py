"""A simulated disk that loses what was not forced to it: the real commit, run through power failures, in no time, from one seed.

    create, write, move, remove …  ──>  what a process sees  (the page cache: `data`, `entries`)
    sync(file), sync(folder)       ──>  what the disk holds  (`kept`)
    power_loss                     ──>  what the disk holds, and any part of what it was not yet told to hold

A machine that loses power keeps what was fsynced; of everything since then it keeps what it likes. The contents of a file that
was not synced are whole, cut off, or gone. A name in a folder (from a creation, a rename, a removal) that was not synced is there or
not, whether or not earlier changes are: journaling file systems keep the order, others do not, and both are drawn here. One change
is never torn, so a rename is done or not done, in both folders; syncing either folder keeps it.

`crash_after` sets the number of changes after which everything raises `PowerLoss`, wherever the process is just then;
`power_loss` then makes the disk what the next process finds.

>>> disk = SimulatedDisk()
>>> with disk.create("/d/a") as file: _ = file.write(b"lost")
>>> with disk.create("/d/b") as file: _ = file.write(b"kept")
>>> disk.sync("/d/b"); disk.sync("/d"); disk.sync("/")
>>> disk.power_loss(random.Random(3))
>>> disk.names("/d"), disk.open("/d/b").read()
(['a', 'b'], b'kept')
>>> disk.open("/d/a").read() == b"lost"
False
"""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from dataflow.io.files import FileInfo, is_hidden

__all__ = ["PowerLoss", "SimulatedDisk"]


class PowerLoss(BaseException):
    """The process is no more. Not an Exception: nothing in the engine may live on after it."""


@dataclass(eq=False)
class _File:
    data: bytes = b""
    kept: bytes = b""


@dataclass(eq=False)
class _Folder:
    entries: dict[str, _Node] = field(default_factory=dict)
    kept: dict[str, tuple[int, _Node | None]] = field(default_factory=dict)  # with the number of the change that made it so


_Node = _File | _Folder
_Edit = tuple[_Folder, str, "_Node | None"]


class SimulatedDisk:
    """A `FileSystem` in memory, with a page cache that can be lost."""

    can_move_directories = True

    def __init__(self) -> None:
        self.root = _Folder()
        self.pending: list[tuple[int, tuple[_Edit, ...]]] = []
        self.changes = 0
        self.left: int | None = None
        self._numbers = itertools.count(1)

    # -- losing power

    def crash_after(self, changes: int | None) -> None:
        """Lose power at the change after so many; None: never."""
        self.left = changes

    def power_loss(self, draw: random.Random) -> None:
        """Become what the next process finds: all that was synced, and some of what was not."""
        self.left = None
        share = draw.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        if draw.random() < 0.5:  # a journal: changes are kept in their order, up to some point
            survivors = self.pending[: round(share * len(self.pending))]
        else:
            survivors = [change for change in self.pending if draw.random() < share]
        for change in survivors:
            self._keep(change)
        self.pending = []
        seen: set[int] = set()
        self._found(self.root, draw, seen)

    def _found(self, node: _Node, draw: random.Random, seen: set[int]) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, _File):
            if node.data != node.kept:
                node.data = draw.choice((node.kept, b"", node.data[: draw.randrange(len(node.data) + 1)], node.data))
            node.kept = node.data
            return
        node.entries = {name: child for name, (_, child) in node.kept.items() if child is not None}
        for name in sorted(node.entries):
            self._found(node.entries[name], draw, seen)

    def _step(self) -> None:
        self.changes += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise PowerLoss

    def _change(self, *edits: _Edit) -> None:
        self._step()
        for folder, name, node in edits:
            if node is None:
                folder.entries.pop(name, None)
            else:
                folder.entries[name] = node
        self.pending.append((next(self._numbers), edits))

    @staticmethod
    def _keep(change: tuple[int, tuple[_Edit, ...]]) -> None:
        number, edits = change
        for folder, name, node in edits:
            if folder.kept.get(name, (0, None))[0] < number:  # a later change of this name may have been kept before
                folder.kept[name] = (number, node)

    # -- looking

    def _at(self, path: str) -> _Node | None:
        node: _Node | None = self.root
        for part in path.split("/"):
            if part:
                node = node.entries.get(part) if isinstance(node, _Folder) else None
        return node

    def _known(self, path: str) -> _Node:
        node = self._at(path)
        if node is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return node

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rstrip("/").rpartition("/")
        folder = self._known(parent)
        if not isinstance(folder, _Folder):
            raise NotADirectoryError(20, "Not a directory", parent)
        return folder, name

    def find(self, pattern: str) -> list[FileInfo]:
        """The files below a folder that are data; no globs here."""
        return sorted(self._walk(pattern.rstrip("/")), key=lambda info: info.path)

    def _walk(self, path: str) -> Iterator[FileInfo]:
        node = self._at(path)
        if isinstance(node, _File):
            yield FileInfo(path, len(node.data), str(id(node)))
        elif node is not None:
            for name in node.entries:
                if not is_hidden(name):
                    yield from self._walk(f"{path}/{name}")

    def info(self, path: str) -> FileInfo:
        node = self._known(path)
        return FileInfo(path, len(node.data) if isinstance(node, _File) else 0, str(id(node)))

    def exists(self, path: str) -> bool:
        return self._at(path) is not None

    def names(self, path: str) -> list[str]:
        node = self._at(path)
        return sorted(node.entries) if isinstance(node, _Folder) else []

    def open(self, path: str) -> BinaryIO:
        node = self._known(path)
        if not isinstance(node, _File):
            raise IsADirectoryError(21, "Is a directory", path)
        return io.BytesIO(node.data)

    # -- changing

    def create(self, path: str) -> BinaryIO:
        self.make_dir(path.rpartition("/")[0])
        folder, name = self._place(path)
        node = folder.entries.get(name)
        if isinstance(node, _File):
            self._step()
            node.data = b""
        else:
            node = _File()
            self._change((folder, name, node))
        return cast(BinaryIO, _Writing(self, node))

    def write(self, node: Any, data: bytes) -> None:
        """What an open file is given; it is in the page cache at once."""
        self._step()
        node.data += data

    def make_dir(self, path: str) -> None:
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts) + 1):
            one = "/" + "/".join(parts[:count])
            if self._at(one) is None:
                self._change((*self._place(one), _Folder()))

    def move(self, source: str, target: str) -> None:
        node = self._known(source)
        self._change((*self._place(source), None), (*self._place(target), node))

    def exchange(self, one: str, two: str) -> None:
        first, second = self._known(one), self._known(two)
        self._change((*self._place(one), second), (*self._place(two), first))

    def remove(self, path: str) -> None:
        node = self._at(path)
        if isinstance(node, _Folder):
            for name in sorted(node.entries):
                self.remove(f"{path}/{name}")
        if node is not None:
            self._change((*self._place(path), None))

    def sync(self, path: str) -> None:
        node = self._known(path)
        self._step()
        if isinstance(node, _File):
            node.kept = node.data
            return
        for change in self.pending:
            if any(folder is node for folder, _, _ in change[1]):
                self._keep(change)
        self.pending = [change for change in self.pending if not any(folder is node for folder, _, _ in change[1])]

    @contextmanager
    def alone(self, folder: str) -> Generator[None]:
        yield


class _Writing(io.RawIOBase):
    """A file open for writing."""

    def __init__(self, disk: SimulatedDisk, node: _File) -> None:
        self._disk, self._node = disk, node

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._disk.write(self._node, bytes(data))
        return len(data)
