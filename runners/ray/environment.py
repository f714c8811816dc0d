"""Ray's ``runtime_env`` for agents: what it names on this machine is brought to the cluster.

Ray does that itself for a whole process, once, in `ray.init`; an environment of some actors may only name what is there already. Agents
have their own, so that each run of a process may have another.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from typing import Any

import ray

from dataflow.errors import DataflowError, Report, nearest

__all__ = ["Environment", "check_names"]

_MODULES = ("working_dir", "py_modules", "pip", "uv", "conda", "py_executable", "container", "image_uri")  # what brings some
KEPT = 300.0  # seconds; Ray forgets what was brought after 600, if nobody uses it


class Environment:
    """A ``runtime_env``, and that of the whole process. ``path`` and ``cwd``: whether modules and files come with it."""

    def __init__(self, given: dict[str, Any]) -> None:
        check_names(given)
        whole = {**dict(ray.get_runtime_context().runtime_env or {}), **given}
        self.given = given
        self.path = any(
            whole.get(name) for name in ("working_dir", "py_modules", "pip", "uv", "conda", "py_executable", "container", "image_uri")
        )
        self.cwd = bool(whole.get("working_dir"))
        self._brought: dict[str, Any] = {}
        self._since = 0.0

    def brought(self) -> dict[str, Any] | None:
        """The environment by which an agent can be started; None: that of the process. Raises DataflowError for what Ray refuses."""
        if not self.given:
            return None
        if not self._brought or time.monotonic() - self._since > KEPT:
            try:
                self._brought = _bring(self.given)
            except (ValueError, TypeError, OSError, RuntimeError) as error:
                text = f"runtime_env cannot be used: {' '.join(str(error).split())[:300]}"
                raise DataflowError(Report(text, hint="what it may contain: docs.ray.io, Environment Dependencies")) from error
            self._since = time.monotonic()
        return self._brought


def check_names(given: dict[str, Any]) -> None:
    """Refuse what is in no environment: Ray ignores it. With plugins of Ray's, whose names only their machines know, all may be."""
    from ray.runtime_env import RuntimeEnv

    asked = {name for name, one in inspect.signature(RuntimeEnv).parameters.items() if one.kind is one.KEYWORD_ONLY}
    known = asked | RuntimeEnv.known_fields
    odd = next((name for name in given if name not in known), None)
    if odd is None or os.environ.get("RAY_RUNTIME_ENV_PLUGINS"):
        return
    named = sorted(name for name in known if not name.startswith("_"))
    close = nearest(str(odd), named)
    hint = f"did you mean {close!r}?" if close else f"it may contain {', '.join(named)}"
    raise DataflowError(Report(f"runtime_env has no {odd!r}", hint=hint))


def _bring(given: dict[str, Any]) -> dict[str, Any]:
    from ray._private.runtime_env.py_modules import upload_py_modules_if_needed
    from ray._private.runtime_env.working_dir import upload_working_dir_if_needed
    from ray._private.worker import global_worker
    from ray.runtime_env import RuntimeEnv

    found: Any = RuntimeEnv(**given)  # which checks it
    options: dict[str, Any] = {
        "include_gitignore": os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1",
        "scratch_dir": global_worker.node.get_runtime_env_dir_path(),
        "logger": logging.getLogger("ray"),
    }
    found = upload_working_dir_if_needed(upload_py_modules_if_needed(found, **options), **options)
    found.pop("excludes", None)
    return dict(found)
