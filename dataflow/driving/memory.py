"""How much memory this machine, or the control group we run in, has and has left."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["available_share", "machine_memory", "resident"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GROUP = "/sys/fs/cgroup"  # our control group's, in a container; of version 2, or of version 1
_FILES = {  # of a group its limit, what it uses, and what there is of files among that
    "": ("memory.max", "memory.current", ("active_file", "inactive_file")),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
}


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    limits = (_number(os.path.join(_GROUP, folder, limit)) for folder, (limit, _, _) in _FILES.items())
    return min([total, *(limit for limit in limits if limit)])


def available_share() -> float:
    """The share of memory that is free or can be freed at once."""
    share = 1.0
    try:
        text = Path("/proc/meminfo").read_text()
        total, free = (int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("MemTotal", "MemAvailable"))  # type: ignore[index]
        share = free / total
    except (OSError, TypeError):
        pass
    for folder, (limit_file, used_file, cached) in _FILES.items():
        limit, used = _number(os.path.join(_GROUP, folder, limit_file)), _number(os.path.join(_GROUP, folder, used_file))
        if limit and used:  # pages of files count as used until somebody needs the room: after a large shuffle they fill the group
            share = min(share, 1 - max(0, used - _cached(os.path.join(_GROUP, folder, "memory.stat"), cached)) / limit)
    return share


def _cached(path: str, names: tuple[str, ...]) -> int:
    """Bytes of a group's memory that hold pages of files."""
    try:
        lines = (line.split() for line in Path(path).read_text().splitlines())
        return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] in names)
    except (OSError, ValueError):
        return 0


def resident(pid: int) -> int:
    """Bytes of a process in memory; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
