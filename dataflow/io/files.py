"""Files wherever they are: this machine's by the operating system, all others by fsspec.

Two implementations of one small set of verbs. The local one is not fsspec's because a small job must not pay
its import (0.1 s), and because only the operating system can rename, exchange and force to disk.
"""

from __future__ import annotations

import contextlib
import errno
import glob as globbing
import os
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol, cast

from dataflow.record import record

__all__ = ["FileInfo", "FileSystem", "LocalFiles", "RemoteFiles", "file_system", "is_hidden", "is_remote", "join"]


@record(eq=True)
class FileInfo:
    """A file as it was when it was listed. ``version`` changes whenever its content does, as far as can be known."""

    path: str
    size: int
    version: str


class FileSystem(Protocol):
    """What sources, sinks and the commit need of a place for files."""

    def find(self, pattern: str) -> list[FileInfo]:
        """The files that a path, directory or glob names, sorted; hidden ones and markers left out."""
        ...

    def info(self, path: str) -> FileInfo: ...
    def exists(self, path: str) -> bool: ...
    def names(self, path: str) -> list[str]: ...
    def open(self, path: str) -> BinaryIO: ...
    def opened(self, path: str) -> tuple[BinaryIO, FileInfo]: ...
    def create(self, path: str) -> BinaryIO: ...
    def make_dir(self, path: str) -> None: ...
    def move(self, source: str, target: str) -> None: ...
    def exchange(self, one: str, two: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def sync(self, path: str) -> None: ...

    def alone(self, folder: str) -> AbstractContextManager[None]:
        """Within this context no other process of this machine is in one of the same folder, where that can be had."""
        ...

    @property
    def can_move_directories(self) -> bool: ...


def is_remote(path: str) -> bool:
    """Whether a path names a protocol other than this machine's files."""
    return "://" in path and not path.startswith(("file://", "local://"))


def file_system(path: str, options: Mapping[str, Any] | None = None) -> tuple[FileSystem, str]:
    """The file system of a path, and the path within it."""
    if is_remote(path):
        import fsspec

        fs, inner = fsspec.core.url_to_fs(path, **dict(options or {}))
        return RemoteFiles(fs), inner
    for scheme in ("file://", "local://"):
        path = path.removeprefix(scheme)
    return LocalFiles(), os.path.expanduser(path)


def join(folder: str, name: str) -> str:
    """A path below a folder, on any file system."""
    return f"{folder.rstrip('/')}/{name}"


def is_hidden(relative: str) -> bool:
    """Whether a name, or a folder on the way to it, marks it as not data (``_SUCCESS``, ``.crc``, staging)."""
    return any(part.startswith(("_", ".")) and "=" not in part for part in relative.split("/") if part)


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob with ``**`` as a regular expression."""
    text, at = "", 0
    while at < len(glob):
        if glob.startswith("**/", at):
            text, at = text + "(?:[^/]+/)*", at + 3
        elif glob.startswith("**", at):
            text, at = text + ".*", at + 2
        elif glob[at] == "*":
            text, at = text + "[^/]*", at + 1
        elif glob[at] == "?":
            text, at = text + "[^/]", at + 1
        elif glob[at] == "[" and "]" in glob[at + 2 :]:
            end = glob.index("]", at + 2)
            inner = glob[at + 1 : end].replace("\\", "\\\\")
            text, at = text + f"[{'^' + inner[1:] if inner[0] == '!' else inner}]", end + 1
        else:
            text, at = text + re.escape(glob[at]), at + 1
    return re.compile(text)


class LocalFiles:
    """This machine's files."""

    can_move_directories = True

    def find(self, pattern: str) -> list[FileInfo]:
        if os.path.isdir(pattern):
            found = list(self._walk(pattern))
        elif os.path.exists(pattern):
            found = [self.info(pattern)]
        elif not globbing.has_magic(pattern):
            return []
        elif "**" in pattern:  # our own walk, because glob's follows links in circles
            root = pattern[: pattern.index("**")]
            root = root[: root.rindex("/") + 1] if "/" in root else ""
            roots = sorted(globbing.glob(root)) if globbing.has_magic(root) else [root or "."]
            known = _pattern(pattern)
            walked = [info for one in roots if os.path.isdir(one) for info in self._walk(one)]
            found = [info for info in walked if known.fullmatch(info.path.removeprefix("./") if root == "" else info.path)]
        else:
            fixed = min(pattern.find(c) for c in "*?[" if c in pattern)
            base = pattern[:fixed].rpartition("/")[0]
            found = []
            for name in sorted(globbing.glob(pattern)):
                if is_hidden(name.removeprefix(base)):
                    continue
                found.extend(self._walk(name) if os.path.isdir(name) else [self.info(name)])
        return sorted({info.path: info for info in found}.values(), key=lambda info: info.path)

    def _walk(self, root: str) -> Iterator[FileInfo]:
        """The files below a folder, links to folders followed, each folder once."""
        seen: set[tuple[int, int]] = set()
        stack = [root]
        while stack:
            folder = stack.pop()
            here = os.stat(folder)
            if (here.st_dev, here.st_ino) in seen:
                continue
            seen.add((here.st_dev, here.st_ino))
            folders = []
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    path = os.path.join(folder, entry.name)
                    if entry.is_dir():
                        folders.append(path)
                    else:
                        yield _info(path, _target(entry))
            stack.extend(sorted(folders, reverse=True))

    def info(self, path: str) -> FileInfo:
        return _info(path, os.stat(path))

    def opened(self, path: str) -> tuple[BinaryIO, FileInfo]:
        """A file, and what it is: also if another one takes its name now."""
        file = self.open(path)
        return file, _info(path, os.fstat(file.fileno()))

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def open(self, path: str) -> BinaryIO:
        return open(path, "rb")

    def create(self, path: str) -> BinaryIO:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return open(path, "wb")

    def make_dir(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def move(self, source: str, target: str) -> None:
        os.rename(source, target)

    def exchange(self, one: str, two: str) -> None:
        """Swap two paths in one atomic step (Linux's renameat2); elsewhere two renames with a short gap."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(two), 2) == 0:
                return
            if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):  # a kernel or file system without it
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), two)
        aside = f"{one}.aside"
        os.rename(two, aside)
        os.rename(one, two)
        os.rename(aside, one)

    def remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def sync(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def alone(self, folder: str) -> Generator[None]:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _target(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError as error:
        if entry.is_symlink():
            raise OSError(errno.ENOENT, f"a link to {os.readlink(entry.path)}, which is not there", entry.path) from error
        raise


def _info(path: str, found: os.stat_result) -> FileInfo:
    return FileInfo(path, found.st_size, f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}")


class RemoteFiles:
    """Any fsspec file system. Objects cannot be renamed together, so a commit there copies, and readers of ours trust its manifest."""

    can_move_directories = False

    def __init__(self, fs: Any) -> None:
        self.fs = fs

    def find(self, pattern: str) -> list[FileInfo]:
        fs = self.fs
        fs.invalidate_cache()
        if globbing.has_magic(pattern):
            found: dict[str, Any] = {}
            for path, info in fs.glob(pattern, detail=True).items():
                found.update(fs.find(path, detail=True) if info["type"] == "directory" else {path: info})
            root = pattern[: min(pattern.find(c) for c in "*?[" if c in pattern)].rpartition("/")[0]
        else:
            found = fs.find(pattern, detail=True)
            root = pattern
        for path in [path for path, info in found.items() if info.get("size") is None and info.get("type") != "directory"]:
            found[path] = fs.info(path)  # of the web, a list says no sizes
            if found[path].get("size") is None:
                raise OSError(errno.EIO, "it is not said how large the file is", path)
        infos = [self._info(path, info) for path, info in sorted(found.items())]
        return [info for info in infos if not is_hidden(info.path.removeprefix(root.lstrip("/")).removeprefix(root))]

    @staticmethod
    def _info(path: str, info: dict[str, Any]) -> FileInfo:
        # "created" of fsspec's memory is a number here and a datetime there, so it is no version
        version = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or "")
        return FileInfo(path, int(info.get("size") or 0), f"{version}:{info.get('size')}")

    def info(self, path: str) -> FileInfo:
        return self._info(path, self.fs.info(path))

    def opened(self, path: str) -> tuple[BinaryIO, FileInfo]:
        found = self.info(path)
        return self.open(path), found

    def exists(self, path: str) -> bool:
        self.fs.invalidate_cache()
        return bool(self.fs.exists(path))

    def names(self, path: str) -> list[str]:
        self.fs.invalidate_cache()
        try:
            return sorted(name.rstrip("/").rpartition("/")[2] for name in self.fs.ls(path, detail=False))
        except FileNotFoundError:
            return []

    def open(self, path: str) -> BinaryIO:
        raw = self.fs.open(path, "rb")
        with contextlib.suppress(AttributeError):
            raw.of = self.fs  # that of an archive closes it when nobody holds it any more
        return cast(BinaryIO, raw)

    def create(self, path: str) -> BinaryIO:
        with contextlib.suppress(Exception):  # object stores have no folders
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        return cast(BinaryIO, self.fs.open(path, "wb"))

    def make_dir(self, path: str) -> None:
        with contextlib.suppress(Exception):
            self.fs.makedirs(path, exist_ok=True)

    def move(self, source: str, target: str) -> None:
        self.fs.copy(source, target)
        self.fs.rm(source)

    def exchange(self, one: str, two: str) -> None:
        raise NotImplementedError("object stores have no exchange")

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(path, recursive=True)

    def sync(self, path: str) -> None:
        """Objects are durable once written."""

    def alone(self, folder: str) -> AbstractContextManager[None]:
        """An object store has no locks; what is done to it can be done twice."""
        return contextlib.nullcontext()
