"""How much memory this machine, or the control group we run in, has and has left."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["available_share", "machine_memory", "resident"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    limits = [_number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
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
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if limit and used:
        share = min(share, 1 - used / limit)
    return share


def resident(pid: int) -> int:
    """Bytes of a process in memory; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
