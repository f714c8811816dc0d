"""Where what a step asks for can be had; if nowhere now, what it waits for, which is said once, and after which time it is an error.

no machine with room for it ─┬─ another run of this process has the machines ──> said; it will end
                             ├─ one that goes is still at such attempts ────────> they may end there
                             ├─ one is there, its agent is being started ───────> said
                             ├─ one is there, and other jobs hold it ───────────> said
                             ├─ Ray's autoscaler starts machines ───────────────> said; an error after a quarter of an hour
                             └─ else ───────────────────────────────────────────> an error after a minute
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from dataflow.errors import DataflowError, Report
from dataflow.plan.steps import Resources
from runners.ray.autoscaling import launching
from runners.ray.holding import room

if TYPE_CHECKING:
    from runners.ray.pool import ClusterPool

__all__ = ["Homes"]

_log = logging.getLogger("dataflow")

PATIENCE = 60.0  # seconds for a machine that may come
LAUNCH = 900.0  # seconds for one that the autoscaler says it starts: clouds take minutes
SAY = 5.0  # seconds after which it is said what is waited for


class Homes:
    """What the steps of a run wait for. ``last_gone``: what Ray says of the machine that went last."""

    def __init__(self, pool: ClusterPool) -> None:
        self.pool = pool
        self.last_gone = ""
        self._since: dict[Resources | None, float] = {}
        self._asked: dict[Resources | None, float] = {}  # when it was wanted last
        self._said: set[str] = set()
        self._launching = 0.0  # when machines were last seen to be started

    def found(self, asked: Resources | None) -> None:
        """There is a machine for it."""
        self._since.pop(asked, None)

    def lacks(self, asked: Resources | None) -> None:
        """There is none now. Raises DataflowError when nothing is left to wait for."""
        now = time.monotonic()
        if now - self._asked.get(asked, now) > SAY:
            self.found(asked)  # it was not wanted for a while
        self._asked[asked] = now
        seconds = now - self._since.setdefault(asked, now)
        if seconds < SAY:
            return
        what, most = self._awaited(asked)
        if what and what not in self._said:
            self._said.add(what)
            _log.warning("waiting for the Ray cluster: %s", what)
        if seconds <= most:
            return
        text = f"no machine of the Ray cluster has, or has left, what a step asks for: {asked or '1 cpu'}"
        text += f"; of the last that went Ray says: {self.last_gone}" if self.last_gone else ""
        raise DataflowError(Report(text, hint="`ray status` tells what they have, and what other jobs hold of it"))

    def _awaited(self, asked: Resources | None) -> tuple[str, float]:
        """What there is to wait for, in words if it is to be said, and for how many seconds at most."""
        cluster, wanted = self.pool.cluster, asked or "1 cpu"
        forever = float("inf")
        if cluster.waits():
            return "another run of this process, with other settings, has the machines", forever
        if any(room(asked, one.full) for one in self.pool.left_at_work()):
            self.found(asked)
            return "", forever
        if coming := [one for one, _ in list(cluster.coming.values()) if room(asked, one.full)]:
            return f"its machine {coming[0].address} is not ready: what the run needs there is being set up", forever
        if cluster.could_hold(asked):
            return f"other jobs hold what a step asks for: {wanted}", forever
        if launching(cluster.link):
            self._launching = time.monotonic()
            return f"Ray's autoscaler starts machines, and a step asks for {wanted}", LAUNCH
        return "", max(0.0, self._launching - self._since[asked]) + PATIENCE  # a launch that failed is tried anew
