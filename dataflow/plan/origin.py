"""Where the user wrote a step: file, line and the text of that line."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path

from dataflow.frames import is_engine_file
from dataflow.record import record

__all__ = ["Origin", "caller"]


@record(eq=True)
class Origin:
    """One place in the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        name = self.file if self.file.startswith("<") else Path(self.file).name
        return f"{name}:{self.line}"

    def text(self) -> str:
        """The source line itself, stripped; empty when the source is not at hand."""
        return linecache.getline(self.file, self.line).strip()


def caller() -> Origin:
    """The innermost frame outside the engine (about a microsecond)."""
    frame = sys._getframe(1)
    while frame is not None and is_engine_file(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
