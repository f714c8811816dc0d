"""A Ray cluster: places to run, memory, and machines that come and go; what runs when is decided by our scheduler.

    driver   Driver ─> Job ─> RayWorkers ─┬─ what is small: in this process
             (this process)               └─ the rest: hands, each an actor of one core ──┐
    machine  Keeper (an actor without a core): serves the machine's run files over        │
             Arrow Flight, reads the marks of its hands, removes files          <─────────┘ hands read each other's files there

The life of an attempt: `RayWorkers.start` queues it; `_deal` gives it to the hand that has most of its input on its machine;
`Hand.attempt` runs it (`execution.serving`) and stamps the machine's place on the files it wrote; its reference is ready, and
`RayWorkers.wait` tells the scheduler. A hand that dies costs the attempt it ran: its keeper reads from the mark file which rows
that was at. A machine that dies costs its attempts and files: the scheduler has them made again.

Nothing here is imported before a run has something worth a cluster: `connecting` starts or finds one in a thread, while this
process does the first of the work itself.
"""

from runners.ray.runner import RayRunner

__all__ = ["RayRunner"]
