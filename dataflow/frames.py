"""Whose code a frame is of: the engine's, a library's, the user's; and what the user's is called in a notebook.

file of a frame ─> below our folders? ─> below Python's? ─> the user's: a module, a script, or a cell, which the notebook has a number for
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["cells", "is_engine_file", "is_library_file", "notebook", "of_users", "written_here"]

_ROOT = Path(__file__).resolve().parent
_OURS = (str(_ROOT) + "/", str(_ROOT.parent / "runners") + "/", contextlib.__file__, "<frozen")


def is_engine_file(file: str) -> bool:
    """Whether a frame of that file is ours, or between two of ours, and not the user's."""
    return file.startswith(_OURS)


def is_library_file(file: str) -> bool:
    """Whether a frame of that file is an installed package's, or Python's own; those written in Cython name their sources alone."""
    return "site-packages" in file or "/lib/python3" in file or file.endswith((".pyx", ".pxi"))


def of_users(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame of the user's: the libraries above it were called by the engine, those below by the user."""
    frames: list[TracebackType] = []
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not is_engine_file(file) and (frames or not is_library_file(file)):
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def notebook() -> Any:
    """The shell of the notebook or the IPython that this process serves; None without (told without importing IPython)."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def cells() -> dict[str, str]:
    """What the files of a notebook's cells are called there, by their paths."""
    shell = notebook()
    if shell is None:
        return {}
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda name: None)
    return {file: " ".join(name) for file in list(linecache.cache) if (name := named(file)) is not None}


def written_here() -> dict[str, list[str]]:
    """The lines of the cells of this process's notebook, which no other process finds in a file."""
    return {file: linecache.getlines(file) for file in cells()}
