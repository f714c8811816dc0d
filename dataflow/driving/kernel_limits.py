"""What the kernel library may take, told in the only way it listens to: environment variables, before it is loaded."""

from __future__ import annotations

import os
import sys

__all__ = ["for_workers", "limit_kernel"]

SHARE = 0.8  # of the memory; what the rest of the process holds is not the kernel's to count
LEAST = 64 << 20
# Milliseconds in which the kernel's allocator (jemalloc) gives pages back, half a second if it is not told. A task asks for as much
# again as the one before it gave: to clear and map those pages anew was a tenth of the work of a large grouping.
KEPT_PAGES = "dirty_decay_ms:10000,muzzy_decay_ms:10000"


def limit_kernel(memory: int, folder: str) -> None:
    """Let the kernel of this process spill what exceeds the memory; without effect where the kernel is loaded already."""
    if "polars" not in sys.modules:
        for name, value in _settings(memory, folder).items():
            os.environ.setdefault(name, value)


def for_workers(count: int) -> dict[str, str]:
    """The environment of worker processes: their share of this process's limits, and of the cores."""
    found = {"POLARS_MAX_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    if "_RJEM_MALLOC_CONF" not in os.environ:
        found["_RJEM_MALLOC_CONF"] = KEPT_PAGES
    limit = os.environ.get("POLARS_OOC_MEMORY_BUDGET_MB")
    if limit is not None and limit.isdigit():
        found["POLARS_OOC_MEMORY_BUDGET_MB"] = str(max(LEAST >> 20, int(limit) // count))
    return found


def _settings(memory: int, folder: str) -> dict[str, str]:
    return {
        "POLARS_OOC_MEMORY_BUDGET_MB": str(max(LEAST, int(memory * SHARE)) >> 20),
        "POLARS_OOC_SPILL_DIR": os.path.join(folder, "dataflow-kernel"),
    }
