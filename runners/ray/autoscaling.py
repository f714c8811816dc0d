"""Autoscaling: a run asks the cluster for what its remaining tasks can use, and gives it back.

    Scheduler ─expect(what is left)─> `Autoscaling` ─ bundles ─> ray.autoscaler.sdk.request_resources
                                          └─ a phase ends: less is asked for; the run ends: nothing

A core is worth asking for if there is work for half a minute left for it: a new machine takes about as long to come. How long a
task takes is measured by the scheduler, and guessed before the first has ended.

What Ray is asked for is a floor for the whole cluster, not an addition, and stands until it is changed, even when the process that
asked has died: it is given back on every way out that Python has, and replaced by the next run. Two drivers on one cluster
overwrite each other's. Ray removes a machine when it was idle for the cluster's own time-out.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import math
import time
import weakref
from collections.abc import Callable, Sequence

from dataflow.errors import DataflowError
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import Left
from dataflow.scheduling.work import Work
from runners.ray.holding import amounts
from runners.ray.link import Link

__all__ = ["Autoscaling", "bundles_for", "launching", "request_machines"]

Bundle = dict[str, float]

WORTH = 30.0  # seconds of work for a core; cloud machines come within half a minute to two
GUESS = 10.0  # seconds of a task before one has ended
MOST = 4096  # bundles: the autoscaler packs each in turn
PAUSE = 2.0  # seconds between requests; the autoscaler itself looks every five


def bundles_for(left: Sequence[tuple[Resources | None, int, float]]) -> list[Bundle]:
    """What tasks can use: of each group the resources of a task, how many are left, and the seconds that one takes.

    >>> bundles_for([(None, 8, 60.0), (None, 1000, 0.1), (Resources(gpus=1), 1, 0.0)])[-4:]
    [{'CPU': 1}, {'CPU': 1}, {'CPU': 1}, {'CPU': 1, 'GPU': 1}]
    >>> len(bundles_for([(None, 8, 60.0), (None, 1000, 0.1)]))
    12
    """
    found: list[Bundle] = []
    for asked, tasks, seconds in left:
        wanted = min(tasks, math.ceil(tasks * (seconds or GUESS) / WORTH))
        found += [amounts(asked)] * min(wanted, MOST - len(found))
    return found


def request_machines(bundles: list[Bundle]) -> None:
    """Tell Ray's autoscaler, if there is one, that all these should fit at once."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=bundles)


def launching(link: Link) -> bool:
    """Whether Ray's autoscaler, if there is one, says that machines are coming. It is asked at most every two seconds."""
    now = time.monotonic()
    if now - _looked.get(link, (-math.inf, False))[0] >= PAUSE:
        _looked[link] = (now, link.head_answers() and _launches(link.head))
    return _looked[link][1]


def _launches(head: str) -> bool:
    with contextlib.suppress(Exception):  # how its status is read is Ray's own affair, and this is a matter of patience
        from ray.autoscaler.v2.utils import is_autoscaler_v2

        if is_autoscaler_v2():
            from ray.autoscaler.v2.sdk import get_cluster_status

            found = get_cluster_status(head)
            return bool(found.pending_launches or found.pending_nodes)
        from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
        from ray.experimental.internal_kv import _internal_kv_get

        report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}").get("autoscaler_report") or {}
        return bool(report.get("pending_launches") or report.get("pending_nodes"))
    return False


_looked: weakref.WeakKeyDictionary[Link, tuple[float, bool]] = weakref.WeakKeyDictionary()


class Autoscaling:
    """What a run has asked for. ``away``: whether a work runs on the cluster, and not in this process. ``answers``: whether the cluster's
    head does: a request to one that is lost would hold the run, which then could not say so, until Ray ends this process."""

    def __init__(
        self, away: Callable[[Work], bool], answers: Callable[[], bool], request: Callable[[list[Bundle]], None] = request_machines
    ) -> None:
        self.away, self.answers, self.request = away, answers, request
        self.asked: list[Bundle] = []
        self._when = -math.inf
        atexit.register(self.close)

    def expect(self, left: Sequence[Left]) -> None:
        """Ask for what is left, if that has changed."""
        now = time.monotonic()
        if now - self._when >= PAUSE:
            self._when = now
            self._ask(bundles_for([(one.payload.program.resources, *one[1:]) for one in left if self.away(one.payload)]))

    def close(self) -> None:
        """Give everything back."""
        atexit.unregister(self.close)
        with contextlib.suppress(DataflowError):  # the head is lost, and with it what was asked for
            self._ask([])

    def _ask(self, bundles: list[Bundle]) -> None:
        if bundles == self.asked or not self.answers():
            return
        self.asked = bundles
        try:
            self.request(bundles)
        except Exception as error:  # the cluster then stays as it is, which is no reason for a run to fail
            logging.getLogger("dataflow").warning("Ray's autoscaler cannot be asked for machines: %s", error)
