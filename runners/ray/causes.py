"""What failed within a function that ran on the cluster: Ray says it in a text, as causes and tracebacks do not travel with exceptions.

RayTaskError ─> its text ─> a part for each exception of the chain, the first cause first ─> what it says, and where in the user's code
"""

from __future__ import annotations

import re

from ray.exceptions import RayError

from dataflow.frames import is_engine_file, is_library_file

__all__ = ["first_cause"]

_LINK = re.compile(r"^(?:The above exception was the direct cause|During handling of the above exception)\b.*$", re.MULTILINE)
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)(?:\n {4}(?P<text>\S.*))?', re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def first_cause(error: BaseException) -> tuple[str, tuple[str, ...]]:
    """What the user's code raised, with what that came of, and the last frame of it.

    >>> first_cause(RayError('ray::Map()\\n  File "/a/job.py", line 3, in parse\\n    int(text)\\nValueError: no number\\n'))
    ('ValueError: no number', ('job.py:3 in parse: int(text)',))
    """
    said, failed = [], []
    for part in _LINK.split(_COLOUR.sub("", str(error))):
        frames = list(_FRAME.finditer(part))
        lines = [line for line in part[frames[-1].end() :].splitlines() if line.strip()] if frames else []
        at = next((at for at, line in enumerate(lines) if not line.startswith(" ")), None)  # before it: marks under a line of code
        if at is not None:
            said.append(" ".join(line.strip() for line in lines[at:])[:300])
            failed += [_shown(frame) for frame in frames if _is_users(frame["file"])][-1:]
    if not said:
        return _last(error), ()
    return said[-1] if len(said) == 1 else f"{said[-1]}, caused by {said[0]}", tuple(failed[:1])


def _is_users(file: str) -> bool:
    return not (is_engine_file(file) or is_library_file(file))


def _shown(frame: re.Match[str]) -> str:
    where = f"{frame['file'].rpartition('/')[2]}:{frame['line']} in {frame['name']}"
    return f"{where}: {frame['text']}" if frame["text"] else where


def _last(error: BaseException) -> str:
    """The first line of the last exception of a chain that says anything."""
    chain: list[BaseException] = []
    found: object = error
    while isinstance(found, BaseException) and found not in chain:
        chain.append(found)
        found = getattr(found, "cause", None) or found.__cause__
    last = next((one for one in reversed(chain) if str(one).strip()), error)
    line = next((line.strip() for line in str(last).splitlines() if line.strip()), "")[:300]
    return line if line and isinstance(last, RayError) else f"{type(last).__name__}: {line}".removesuffix(": ")
