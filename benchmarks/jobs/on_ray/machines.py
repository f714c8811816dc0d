"""Ray clusters of several machines, all on this one, whose processes can be told apart and killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from typing import Any

os.environ.update(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_worker_niceness="0")

__all__ = ["below", "kill_machine", "machines", "memory_of"]

MACHINE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}


@contextlib.contextmanager
def machines(count: int) -> Generator[Any]:
    """A cluster of machines of one core each, as Ray's own tests have it."""
    os.environ["RAY_TMPDIR"] = temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")  # the names of its sockets have few characters

    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**MACHINE, "include_dashboard": False, "no_monitor": True})
    try:
        for _ in range(count - 1):
            cluster.add_node(**MACHINE)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)


def below(ancestor: int) -> list[int]:
    """A process and all that came of it."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
            parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
    found = [ancestor]
    for process in found:
        found += [one for one, parent in parents.items() if parent == process]
    return found


def kill_machine(cluster: Any, node: Any) -> None:
    """A machine is gone at once, with all its processes."""
    theirs = below(node.all_processes["raylet"][0].process.pid)
    cluster.remove_node(node, allow_graceful=False)
    for process in theirs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def memory_of(process: int) -> int:
    """The bytes that a process holds."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")), 0)
    return 0
