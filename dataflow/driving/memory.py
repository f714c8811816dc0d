"""How much memory this machine, or the control group we run in, has and has left."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["available_share", "machine_memory", "parse_size", "resident"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "KB": 10**3, "MB": 10**6, "GB": 10**9,
          "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}  # fmt: skip


def parse_size(text: str | int) -> int:
    """Bytes of a size as people write it.

    >>> parse_size("512MiB")
    536870912
    """
    if isinstance(text, int):
        return text
    found = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", text)
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"not a size: {text!r}; write it as 512MiB or 8GB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


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
