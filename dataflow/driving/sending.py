"""What goes to a worker with an attempt: the blocks of its range, and where these lie in many files, an index of all, sent once.

    few files    attempt ─ the files, without blocks that lie outside of its range ─> worker
    many         worker has the index? ─no─> ("files", name, all files) ─> attempt ─ the index's name ─> worker puts the files in

A reader among thousands of a shuffle of thousands of files else costs the driver a tenth of a second: 2,000 times 2,000 are 4,000,000
entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow.physical.program import ShuffleInput, TaskInput
from dataflow.shard.runfile import RunFile
from dataflow.worker import KEPT

__all__ = ["MANY", "Indices", "narrowed"]

MANY = 64

Files = tuple[RunFile, ...]


class Indices:
    """The shuffles that are being read. ``located``: the files, with the places that a reader elsewhere needs."""

    def __init__(self, located: Callable[[Files], Files] = lambda files: files) -> None:
        self.located = located
        self.known: dict[str, tuple[Files, str, bytes]] = {}
        self._made = 0

    def of(self, phase: str, given: TaskInput) -> tuple[str, bytes]:
        """The name and the bytes of the index for an input; "" if it is sent without."""
        files = given.shuffle.files if given.shuffle is not None else ()
        if len(files) < MANY:
            return "", b""
        found = self.known.get(phase)
        if found is None or found[0] is not files:  # one of them may have been made again
            from dataflow.driving.by_value import dumps

            self._made += 1
            self.known.pop(phase, None)
            found = self.known[phase] = (files, f"{phase}:{self._made}", dumps(self.located(files)))
            while len(self.known) > KEPT:
                del self.known[next(iter(self.known))]
        return found[1:]


def narrowed(given: TaskInput) -> TaskInput:
    """An input without the blocks that lie outside its range, nor the files in which none is left; but shares of a key count the files."""
    if given.shuffle is None:
        return given
    files = tuple(_within(file, given.shuffle) for file in given.shuffle.files)
    if not given.shuffle.shares:
        files = tuple(file for file in files if file.blocks)
    return replace(given, shuffle=replace(given.shuffle, files=files))


def _within(file: RunFile, given: ShuffleInput) -> RunFile:
    blocks = tuple(
        block
        for block in file.blocks
        if (given.first is None or block.last >= given.first) and (given.last is None or block.first < given.last)
    )
    return file if len(blocks) == len(file.blocks) else replace(file, blocks=blocks)
