"""A Ray cluster of two cores on this machine. Needs Ray and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator

os.environ.update(RAY_worker_niceness="0", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0")  # Ray makes its workers give way to all else on the machine

import ray

__all__ = ["cluster"]


@contextlib.contextmanager
def cluster(store: int = 2 << 30) -> Generator[str]:
    """The address of a cluster whose two worker processes are up."""
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    made = ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=store, _temp_dir=temporary
    )

    @ray.remote
    def awake() -> None:
        time.sleep(0.2)

    ray.get([awake.remote() for _ in range(4)])
    try:
        yield made.address_info["gcs_address"]
    finally:
        ray.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)
