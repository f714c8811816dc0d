"""Listings: what a source's paths name, found once while a plan is made and run.

    with one_listing():    optimizer, preflight, planner, splits …   each asks a source for its files; the folders are walked once

A plan asks ten times for the files of a source, and a folder of 20,000 takes half a second each time. So within a run all hear of the files
that were there when the first asked; a file that is another one when it is read is an error, and one that came later is of the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.io.files import FileInfo

__all__ = ["RealPaths", "listed", "one_listing"]

Listings = dict[Any, "list[FileInfo]"]
_known: ContextVar[Listings | None] = ContextVar("listings", default=None)


@contextmanager
def one_listing(known: Listings | None = None) -> Generator[Listings]:
    """Within this context, and those within it, equal paths are listed once. What it gives can be given to another thread."""
    before = _known.get()
    if before is not None:
        yield before
        return
    known = known if known is not None else {}
    token = _known.set(known)
    try:
        yield known
    finally:
        try:
            _known.reset(token)
        except ValueError:  # a generator that another context ends
            pass


def listed(key: Any, find: Callable[[], list[FileInfo]]) -> list[FileInfo]:
    """What ``find`` gives, remembered where one listing is to do. Not to be changed."""
    known = _known.get()
    if known is None:
        return find()
    if key not in known:
        known[key] = find()
    return known[key]


MANY = 16  # files of a folder, from which on its links are looked for all at once


class RealPaths:
    """Local paths without links, as `os.path.realpath` finds them, which looks at every folder on the way for every file."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.links: dict[str, set[str]] = {}

    def of(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or self._is_link(path, folder, name):
            return os.path.realpath(path)
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder)
        return f"{self.folders[folder]}/{name}"

    def _is_link(self, path: str, folder: str, name: str) -> bool:
        if folder in self.links:
            return name in self.links[folder]
        self.asked[folder] = self.asked.get(folder, 0) + 1
        if self.asked[folder] > MANY:
            with os.scandir(folder or ".") as entries:
                self.links[folder] = {entry.name for entry in entries if entry.is_symlink()}
            return name in self.links[folder]
        return os.path.islink(path)
