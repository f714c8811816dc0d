"""The first second of an agent: it travels by value, as nothing of ours need be where it arrives.

    versions ─> folders of the driver's modules ─> our packages, as the driver has them? ─no─> unpack those it sent ─> `agent.Agent`

Modules are looked for where the run's ``runtime_env`` put them, if it has one, and then where the driver looks; without one the
driver's folders come first, so that a machine that is like the driver's behaves like it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import os
import sys
import zipfile
from typing import Any

import ray

__all__ = ["VERSIONS", "actor_class", "bootstrap_with", "digest", "packages"]

PACKAGES = ("dataflow", "runners")
VERSIONS = {
    "python": "{}.{}".format(*sys.version_info),
    **{name: importlib.metadata.version(name) for name in ("pyarrow", "polars", "cloudpickle")},
}


def files(folder: str) -> dict[str, str]:
    """The files of a package, by their name in it; without what Python makes of them."""
    import os

    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        for name in sorted(names):
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = path
    return found


def digest(folders: list[str], files: Any = files) -> str:
    """What tells one state of packages from another."""
    import hashlib

    found = hashlib.sha256()
    for folder in folders:
        for name, path in files(folder).items():
            with open(path, "rb") as file:
                found.update(f"{name}\0".encode() + hashlib.sha256(file.read()).digest())
    return found.hexdigest()


@functools.cache
def packages() -> tuple[str, bytes]:
    """Our own packages: their digest, and a zip file of them."""
    import dataflow
    import runners

    folders = [str(next(iter(package.__path__))) for package in (dataflow, runners)]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name, folder in zip(PACKAGES, folders, strict=True):
            for inner, path in files(folder).items():
                out.write(path, os.path.join(name, inner))
    return digest(folders), made.getvalue()


def bootstrap_with(made: str) -> dict[str, Any]:
    """What an agent needs in order to see whether a machine has our packages, in the state of this digest."""
    return {"packages": PACKAGES, "digest": made, "digest_of": digest, "files": files}


def actor_class() -> Any:
    """The agent's class for Ray."""

    class Agent:
        def __init__(self, references: list[Any], given: dict[str, Any], arguments: tuple[Any, ...]) -> None:
            import importlib.metadata
            import os
            import sys

            host = os.uname().nodename
            versions, own = given["versions"], {"python": "{}.{}".format(*sys.version_info)}
            for name in versions:
                if name not in own:
                    try:
                        own[name] = importlib.metadata.version(name)
                    except importlib.metadata.PackageNotFoundError:
                        own[name] = ""
            if lacking := [f"{name}=={versions[name]}" for name in own if not own[name]]:
                raise RuntimeError(f"machine {host} lacks packages: pip install {' '.join(lacking)}")
            if own != versions:
                differ = ", ".join(f"{name} {versions[name]} here and {own[name]} there" for name in own if own[name] != versions[name])
                raise RuntimeError(f"versions differ: {differ} (on machine {host})")
            there = list(sys.path)
            first, second = (there, given["path"]) if given["environment"] else (given["path"], there)
            sys.path[:] = [*first, *(path for path in second if path not in first)]
            if given["cwd"] and os.path.isdir(given["cwd"]):
                os.chdir(given["cwd"])
            if arguments[2] is not None:
                self._use(arguments[2], host)
            self.unpacked = self._ours(references, given, arguments[2])
            try:
                from runners.ray.agent import Agent as Made
            except ModuleNotFoundError as error:
                raise RuntimeError(f"machine {host} lacks the package {error.name}: pip install {error.name}") from None
            self.made = Made(*arguments)

        @staticmethod
        def _use(folder: str, host: str) -> None:
            """See that there can be files in a folder."""
            import os
            import tempfile

            try:
                os.makedirs(folder, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise RuntimeError(f"machine {host} cannot use spill_folder {folder}: {error.strerror or error}") from None

        @staticmethod
        def _ours(references: list[Any], given: dict[str, Any], parent: str | None) -> Any:
            """See that our packages are those of the driver; the folder of those that were sent."""
            import fcntl
            import importlib.util
            import io
            import os
            import sys
            import tempfile
            import zipfile

            import ray

            specs = [importlib.util.find_spec(name) for name in given["packages"]]
            folders = [next(iter(spec.submodule_search_locations or [""])) if spec is not None else "" for spec in specs]
            if all(folders) and given["digest_of"](folders, given["files"]) == given["digest"]:
                return None
            os.makedirs(parent or tempfile.gettempdir(), exist_ok=True)
            unpacked = tempfile.TemporaryDirectory(prefix="dataflow-ray-code-", dir=parent)
            path = os.path.join(unpacked.name, ".lock")  # by which others see whether they may remove it, as `driving.folders` has it
            lock = open(f"{path}-", "w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(os.uname().nodename)
            lock.flush()
            os.rename(lock.name, path)
            with zipfile.ZipFile(io.BytesIO(ray.get(references[0]))) as sent:
                sent.extractall(unpacked.name)
            sys.path.insert(0, unpacked.name)
            for name in [name for name in sys.modules if name.partition(".")[0] in given["packages"]]:
                del sys.modules[name]
            return unpacked, lock

        def call(self, method: str, *arguments: Any) -> Any:
            found = getattr(self.made, method)(*arguments)
            if method == "close" and self.unpacked is not None:
                self.unpacked[0].cleanup()
            return found

    Agent.__module__ = "__main__"
    return ray.remote(Agent)


files.__module__ = digest.__module__ = "__main__"  # by value, too
