"""What the kernel library may take, told in the only way it listens to: environment variables, before it is loaded."""

from __future__ import annotations

import os
import sys

__all__ = ["for_workers", "limit_kernel"]

SHARE = 0.8  # of the memory; what the rest of the process holds is not the kernel's to count
LEAST = 64 << 20
# What a task asks for the one before it gave back: to clear and map those pages anew was a fifth of the work of a large grouping. So
# the kernel's allocator (jemalloc) keeps free pages for ten seconds, not half a second; and the C library's, which is NumPy's and by
# this Arrow's too, asks the system for each array of its own only above the most it can be told, and gives back only more than 128 MB.
ALLOCATORS = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000,muzzy_decay_ms:10000",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def limit_kernel(memory: int, folder: str) -> None:
    """Let the kernel of this process spill what exceeds the memory; without effect where the kernel is loaded already."""
    if "polars" not in sys.modules:
        for name, value in _settings(memory, folder).items():
            os.environ.setdefault(name, value)


def for_workers(count: int) -> dict[str, str]:
    """The environment of worker processes: their share of this process's limits, and of the cores."""
    found = {"POLARS_MAX_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    found.update((name, value) for name, value in ALLOCATORS.items() if name not in os.environ)
    limit = os.environ.get("POLARS_OOC_MEMORY_BUDGET_MB")
    if limit is not None and limit.isdigit():
        found["POLARS_OOC_MEMORY_BUDGET_MB"] = str(max(LEAST >> 20, int(limit) // count))
    return found


def _settings(memory: int, folder: str) -> dict[str, str]:
    return {
        "POLARS_OOC_MEMORY_BUDGET_MB": str(max(LEAST, int(memory * SHARE)) >> 20),
        "POLARS_OOC_SPILL_DIR": os.path.join(folder, "dataflow-kernel"),
    }
