"""A machine of the cluster, as this process knows it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from dataflow.plan.steps import Resources
from runners.ray.holding import Holding, amounts, room

__all__ = ["Machine"]


@dataclass(eq=False)
class Machine:
    """A machine: its agent, and what is held there of its resources. ``place``: of its files; ``path``, ``cwd``: where its workers find
    modules and files; ``log``: what they print goes there. ``until``: when it goes, if that is known; how many runs have ``left`` it.
    ``resting``: the runs that have no use for a part of what is held. ``name``: the node's, or another where the node has an agent
    already: for what others held when that came."""

    node: str
    has: dict[str, float]
    agent: Any
    held: Holding
    address: str = ""
    place: str = ""
    folder: str = ""
    path: tuple[str, ...] = ()
    cwd: str = ""
    log: str = ""
    since: float = field(default_factory=time.monotonic)
    until: float = 0.0
    left: int = 0
    name: str = ""
    resting: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def stays(self) -> bool:
        """Whether the cluster has not said that it goes."""
        return not self.until

    @property
    def slots(self) -> int:
        """How many workers there are at most."""
        return int(self.has["CPU"])

    def room(self, asked: Resources | None, taken: Mapping[Resources | None, int]) -> int:
        """For how many workers more there is room beside some."""
        left = dict(self.has)
        for kind, count in taken.items():
            for name, amount in amounts(kind).items():
                left[name] = left.get(name, 0) - amount * count
        return room(asked, left)

    def call(self, method: str, *arguments: Any) -> Any:
        """A reference to what the agent answers."""
        return self.agent.call.remote(method, *arguments)

    def end(self) -> None:
        """Without the agent nothing of a run is left there."""
        self.held.end()
        try:
            ray.kill(self.agent)
        except ValueError:
            pass  # the connection is another by now
