"""A Ray cluster: places to run, memory, and machines that come and go; what runs when is decided by our scheduler.

    driver   Driver ─> Job ─> RayWorkers ─┬─ what is small: in this process
             (this process)               └─ the rest: ClusterPool ═══ a socket each ═══╗
    machine  Agent (an actor; others hold the cores, `taking`): starts workers ─> python -m dataflow.worker
             serves the machine's run files over Arrow Flight  <── workers of other machines, the driver

The life of an attempt: `RayWorkers.start` hands it to the pool, which gives it to an idle worker, best one on the machine that has
most of its input; the worker runs it (`execution.serving`), its result comes back at its socket, and the place of the machine is
stamped on the files it wrote. A worker that dies costs the attempt it ran: its agent says how it died and at which rows. A machine
that dies costs its attempts and files: the scheduler has them made again.

Nothing of Ray is imported before a run has something worth a cluster; then a thread finds or starts one, while this process does the
first of the work itself. Ray places the agents, brings them our code, and tells which machines come and go; attempts are not Ray's
tasks, which cost ten times as much to start and do not say at which row they died.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runners.ray.runner import RayRunner

__all__ = ["RayRunner"]


def __getattr__(name: str) -> Any:
    """The runner, when it is asked for: workers come here for the transport alone."""
    if name != "RayRunner":
        raise AttributeError(name)
    from runners.ray.runner import RayRunner

    return RayRunner
