"""Stacks that `faulthandler` left behind, down to the user's own frames."""

from __future__ import annotations

import linecache
import re

from dataflow.frames import is_engine_file, is_library_file

__all__ = ["user_stack"]

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')


def user_stack(trace: str, hanging: bool = False) -> tuple[str, ...]:
    """The user's frames, outermost first, of the thread that crashed; or, if ``hanging``, of the main thread.

    >>> user_stack('Current thread 0x1 (most recent call first):\\n  File "/a/job.py", line 3 in step')
    ('job.py:3 in step',)
    """
    blocks = re.split(r"\n(?=(?:Current thread|Thread) )", trace)
    threads = [block for block in blocks if block.lstrip().startswith(("Current thread", "Thread "))] or blocks
    chosen = threads[-1] if hanging else next((b for b in threads if "Current thread" in b), threads[-1])
    frames = []
    for found in _FRAME.finditer(chosen):
        file = found["file"]
        if is_engine_file(file) or is_library_file(file):
            continue
        text = linecache.getline(file, int(found["line"])).strip()
        frames.append(f"{file.rpartition('/')[2]}:{found['line']} in {found['name']}" + (f": {text}" if text else ""))
    if not frames and not _FRAME.search(trace):  # no stack, but perhaps words
        return tuple(line.strip() for line in trace.splitlines() if line.strip())[:5]
    return tuple(reversed(frames))
