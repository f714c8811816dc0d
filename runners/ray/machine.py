"""A machine of the cluster, as this process knows it: its agent, and what is held there of its resources."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from dataflow.driving.pool import Death
from dataflow.errors import DataflowError
from dataflow.plan.steps import Resources
from runners.ray.holding import Holding, amounts, room
from runners.ray.link import Link

__all__ = ["Machine", "RemoteProcess"]

ANSWER = 5.0


@dataclass(eq=False)
class Machine:
    """A machine: its agent; the ``link`` through which Ray is asked; ``cores``, which are held there for workers, and what of its ``other``
    resources. ``place``: of its files; ``path``, ``cwd``: where its workers find modules and files; ``log``: what they print goes there.
    ``until``: when it goes, if that is known; how many runs have ``left`` it."""

    node: str
    agent: Any
    link: Link
    cores: Holding
    other: Holding
    address: str = ""
    place: str = ""
    folder: str = ""
    path: tuple[str, ...] = ()
    cwd: str = ""
    log: str = ""
    since: float = field(default_factory=time.monotonic)
    until: float = 0.0
    left: int = 0

    @property
    def stays(self) -> bool:
        """Whether the cluster has not said that it goes."""
        return not self.until

    @property
    def slots(self) -> int:
        """How many workers there are at most."""
        return int(self.cores.has.get("CPU", 0))

    @property
    def full(self) -> dict[str, float]:
        """What could be held of it if nobody else held any."""
        return {**self.cores.full, **self.other.full}

    def expected(self, since: float) -> dict[str, float]:
        """What is held, or will be soon: of a part of which others hold too much, and that is asked for longer than ``since``, nothing."""
        parts = [part.has or ({} if part.coming is not None and part.began < since else part.full) for part in (self.cores, self.other)]
        return {**parts[0], **parts[1]}

    def asks(self, asked: Resources | None) -> bool:
        """Whether something that a worker with these resources uses is asked for."""
        return any(part.coming is not None for part in self.parts(asked))

    def parts(self, asked: Resources | None) -> tuple[Holding, ...]:
        """What a worker with these resources uses."""
        return (self.cores, self.other) if amounts(asked).keys() - {"CPU"} else (self.cores,)

    def room(self, asked: Resources | None, taken: Mapping[Resources | None, int]) -> int:
        """For how many workers more there is room beside some."""
        left = {**self.cores.has, **self.other.has}
        for kind, count in taken.items():
            for name, amount in amounts(kind).items():
                left[name] = left.get(name, 0) - amount * count
        return room(asked, left)

    def call(self, method: str, *arguments: Any) -> Any:
        """A reference to what the agent answers. Raises DataflowError if this process has left the cluster."""
        self.link.check()
        return self.agent.call.remote(method, *arguments)

    def end(self, patience: float = 0.0) -> None:
        """Have the agent remove its folder, if it does within ``patience`` seconds, end it, and give back what is held; all of it ends
        with the connection."""
        if not self.link.connected():
            return
        if patience:
            ray.wait([self.call("close")], timeout=patience)
        with contextlib.suppress(ValueError):  # the connection is another by now
            ray.kill(self.agent)
        self.cores.give()
        self.other.give()


class RemoteProcess:
    """A worker process, through the agent of its machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name, self.place = machine, name, machine.place

    def kill(self) -> None:
        with contextlib.suppress(DataflowError):  # the connection is gone, and with it the agent and its workers
            self.machine.call("kill", self.name)

    def end(self, patience: float) -> None:
        if not patience:
            self.kill()

    def death(self) -> Death:
        raise NotImplementedError("the pool asks the agent, and goes on meanwhile")

    def stack(self) -> str:
        with contextlib.suppress(ray.exceptions.RayError):
            return str(ray.get(self.machine.call("stack", self.name), timeout=ANSWER))
        return ""
